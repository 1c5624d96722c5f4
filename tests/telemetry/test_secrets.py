"""A provider key is sent to its provider and shown nowhere else, whatever a provider or an application does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from tidegate_testing.configs import RETRY, anthropic, config, pool, provider
from tidegate_testing.provider import DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, CredentialRef, Header, ObjectRef
from tidegate_sidecar.admin import is_loopback
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.settings import read
from tidegate_sidecar.telemetry.rendering import Renderer

CANARY = "sk-canary-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
PLACEHOLDER = "sk-placeholder-of-the-application"
KEY = CredentialRef(
    source=ObjectRef(kind="ProviderCredential", namespace="team-a", name="prod"),
    environment_variable="OPENAI_API_KEY",
)


def keyed(raw: RawProvider, make: Callable[..., object] = provider) -> CompiledConfig:
    provided = make(
        "only", raw.url, credentials=(KEY,), headers=(Header(name="x-constant", value="constant-value"),)
    )
    return config(pool(provided, retry=replace(RETRY, max_attempts=1)))


async def quote_whole(call: ProviderCall) -> None:
    """As a debug endpoint does: the request itself is the answer."""
    await call.answer(
        {"headers": call.headers, "text": f"you sent {CANARY}{CANARY}"}, headers={"x-debug": CANARY}
    )


def quote_error(status: int) -> Callable[[ProviderCall], object]:
    async def quote(call: ProviderCall) -> None:
        body = {"error": {"message": f"Incorrect API key provided: {CANARY}.", "code": CANARY}}
        await call.answer(body, status=status, headers={"x-key": f"key={CANARY}", "www-authenticate": CANARY})

    return quote


async def quote_in_pieces(call: ProviderCall) -> None:
    """The key lies across the boundary of two reads, whichever boundary that is."""
    body = json.dumps({"text": f"{CANARY} {CANARY[:-1]} {CANARY}"}).encode()
    await call.send(
        f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    )
    for at in range(len(body)):
        await call.send(body[at : at + 1])
    call.close()


async def quote_in_stream(call: ProviderCall) -> None:
    await call.begin_stream(headers={"x-debug": CANARY})
    await call.event(delta(f"your key is {CANARY}"))
    event = delta(f"once more: {CANARY}")
    await call.event(event[:70])
    await call.event(event[70:])
    await call.event(delta("", "stop") + DONE)
    await call.end_stream()


async def quote_at_start_of_stream(call: ProviderCall) -> None:
    await call.begin_stream()
    await call.event(b'data: {"error":{"message":"x","code":"bad key ' + CANARY.encode() + b'"}}\n\n')
    await call.end_stream()


async def quote_within_stream(call: ProviderCall) -> None:
    await call.begin_stream()
    await call.event(delta("beginning"))
    await call.event(b'data: {"error":{"message":"x","code":"bad key ' + CANARY.encode() + b'"}}\n\n')
    await call.end_stream()


async def no_http(call: ProviderCall) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nbad header " + CANARY.encode() + b"\r\n\r\n")
    call.close()


async def cut_after_quoting(call: ProviderCall) -> None:
    await call.begin_stream()
    await call.event(delta("beginning"))
    await call.event(b'data: {"key": "' + CANARY.encode())
    call.cut()


SCRIPTS = {
    "a whole answer": (quote_whole, False),
    "an error of ours": (quote_error(401), False),
    "a caller's error": (quote_error(400), False),
    "a refusal": (quote_error(403), False),
    "an overload": (quote_error(503), False),
    "pieces": (quote_in_pieces, False),
    "a stream": (quote_in_stream, True),
    "a stream's first event": (quote_at_start_of_stream, True),
    "an error within a stream": (quote_within_stream, True),
    "what is no HTTP": (no_http, False),
    "a stream that is cut": (cut_after_quoting, True),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_provider_that_quotes_the_key_is_not_believed(
    caplog: pytest.LogCaptureFixture, name: str, dialect: str
) -> None:
    caplog.set_level(logging.DEBUG)
    script, stream = SCRIPTS[name]
    make = provider if dialect == "openai" else anthropic
    async with (
        raw_provider(script) as raw,
        running_sidecar(keyed(raw, make), environment={"OPENAI_API_KEY": f"{CANARY}\n"}) as sidecar,
    ):
        ask = sidecar.chat if dialect == "openai" else sidecar.messages
        answer = await ask(
            stream=stream, headers={"authorization": f"Bearer {PLACEHOLDER}", "x-api-key": PLACEHOLDER}
        )
        sent = raw.calls[0].headers
        assert sent.get("authorization") == (f"Bearer {CANARY}" if dialect == "openai" else None)
        assert sent.get("x-api-key") == (CANARY if dialect == "anthropic" else None)
        assert PLACEHOLDER not in str(raw.calls[0].header_list)

        outputs = {
            "body": answer.text,
            "headers": str(answer.headers),
            "record": b"".join(map(Renderer().render, sidecar.records.all)).decode(),
            "record's repr": repr(sidecar.records.all),
        }
        for path in ("/config", "/metrics", "/healthz", "/readyz"):
            outputs[path] = (await sidecar.admin(path)).text
        outputs["pipeline's repr"] = repr(sidecar.pipeline)
    outputs["log"] = "\n".join(f"{entry.getMessage()} {entry.exc_text}" for entry in caplog.records)
    for where, text in outputs.items():
        assert CANARY not in text, where
        assert PLACEHOLDER not in text, where


AWKWARD = "ab/c+d=<e>&'f`g\"h\\\\i"
"""With every sign that some encoder of JSON writes in another way."""


@pytest.mark.parametrize(
    "spelled",
    [
        json.dumps(AWKWARD)[1:-1],
        json.dumps(AWKWARD)[1:-1].replace("/", "\\/"),
        # Go's encoding/json
        json.dumps(AWKWARD)[1:-1].replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        # .NET's System.Text.Json
        "ab/c\\u002Bd=\\u003Ce\\u003E\\u0026\\u0027f\\u0060g\\u0022h\\\\\\\\i",
    ],
    ids=["plain", "PHP", "Go", ".NET"],
)
@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_a_key_that_json_spells_in_another_way_is_taken_out_as_well(spelled: str, size: int) -> None:
    body = f'{{"text":"{spelled} and {spelled[:-1]}","n":1}}'.encode()
    assert AWKWARD in json.loads(body)["text"]

    async def quote(call: ProviderCall) -> None:
        await call.send(
            f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        )
        for at in range(0, len(body), size):
            await call.send(body[at : at + size])
        call.close()

    async with (
        raw_provider(quote) as raw,
        running_sidecar(keyed(raw), environment={"OPENAI_API_KEY": AWKWARD}) as sidecar,
    ):
        answer = await sidecar.chat()
        assert answer.text == f'{{"text":"[redacted] and {spelled[:-1]}","n":1}}'


async def test_what_only_looks_like_the_key_arrives_unchanged() -> None:
    body = json.dumps({"text": f"{CANARY[:-1]} sk-canary s sk-ca", "n": 1}).encode()

    async def almost(call: ProviderCall) -> None:
        await call.send(
            f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        )
        for at in range(len(body)):
            await call.send(body[at : at + 1])
        call.close()

    async with (
        raw_provider(almost) as raw,
        running_sidecar(keyed(raw), environment={"OPENAI_API_KEY": CANARY}) as sidecar,
    ):
        assert (await sidecar.chat()).body == body


async def test_the_configuration_is_shown_without_what_may_be_secret() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(keyed(raw), environment={"OPENAI_API_KEY": CANARY}) as sidecar,
    ):
        shown = (await sidecar.admin("/config")).json
        only = shown["config"]["pools"][0]["providers"][0]
        assert only["headers"] == [{"name": "x-constant", "value": "redacted"}]
        assert only["credentials"][0]["environment_variable"] == "OPENAI_API_KEY"
        assert shown["identity"]["workload_name"] == "chat"
        assert shown["digest"] == wire.digest(sidecar.pipeline.config)
        assert "constant-value" not in json.dumps(shown)


def test_objects_that_hold_a_key_do_not_show_it() -> None:
    ring = Keyring({"OPENAI_API_KEY": CANARY})
    key = ring.find(provider("only", "https://x", credentials=(KEY,)))
    assert key is not None
    assert key.reveal() == CANARY
    settings = read({"OPENAI_API_KEY": CANARY})
    for shown in (repr(key), str(key), f"{key}", repr(ring), repr(settings)):
        assert CANARY not in shown


@pytest.mark.parametrize("remote", ["10.0.0.7", "2001:db8::1", "::ffff:10.0.0.7", "", None, "unix"])
def test_the_configuration_is_not_shown_to_other_machines(remote: str | None) -> None:
    assert not is_loopback(remote)


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.0.0.53", "::1", "::ffff:127.0.0.1"])
def test_the_configuration_is_shown_to_this_machine(remote: str) -> None:
    assert is_loopback(remote)
