"""What a provider is sent: the application's own bytes, unless a rule changes them."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import pytest
from tidegate_testing.configs import config, model, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig


@pytest.fixture
def one(simulator: Simulator) -> CompiledConfig:
    return config(pool(provider("only", f"{simulator.provider_url('only')}/v1")))


@pytest.fixture
def renaming(simulator: Simulator) -> CompiledConfig:
    models = (model("gpt-test", "gpt-test-2026-01-01", "small", "mini"),)
    return config(pool(provider("only", f"{simulator.provider_url('only')}/v1", models=models)))


ODD = b'{ "model":"gpt-test",\n\t"messages" : [{"role":"user","content":"caf\xc3\xa9 \\n \\u2028 1.0"}],"temperature":1.50 }'


async def test_the_bytes_of_a_body_are_sent_on_unchanged(one: CompiledConfig, simulator: Simulator) -> None:
    async with running_sidecar(one) as sidecar:
        assert (await sidecar.send(ODD)).status == 200
    assert simulator.requests[-1].body == ODD


@pytest.mark.parametrize("size", [100, 65_536, 3_000_000])
async def test_a_body_of_any_size_arrives_as_it_was_sent(
    one: CompiledConfig, simulator: Simulator, size: int
) -> None:
    body = json.dumps({"model": "gpt-test", "messages": [{"role": "user", "content": "x" * size}]}).encode()
    async with running_sidecar(one) as sidecar:
        assert (await sidecar.send(body)).status == 200
    assert simulator.requests[-1].body == body


async def test_a_body_in_chunks_arrives_whole(one: CompiledConfig, simulator: Simulator) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(ODD), 7):
            yield ODD[at : at + 7]
            await asyncio.sleep(0)

    async with running_sidecar(one) as sidecar:
        assert (await sidecar.send(pieces())).status == 200
    assert simulator.requests[-1].body == ODD


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [("gzip", gzip.compress(ODD)), ("deflate", zlib.compress(ODD)), ("GZIP", gzip.compress(ODD))],
)
async def test_a_compressed_body_is_understood_and_sent_on_plain(
    one: CompiledConfig, simulator: Simulator, encoding: str, encoded: bytes
) -> None:
    async with running_sidecar(one) as sidecar:
        assert (await sidecar.send(encoded, headers={"content-encoding": encoding})).status == 200
    request = simulator.requests[-1]
    assert request.body == ODD
    assert "content-encoding" not in request.headers


async def test_a_client_that_waits_to_be_invited_is_told_to_send_its_body(
    one: CompiledConfig, simulator: Simulator
) -> None:
    """curl waits a second before it sends a large body uninvited, and some clients wait for ever."""
    async with running_sidecar(one) as sidecar, await sidecar.connect() as app:
        await app.send(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
            + f"content-length: {len(ODD)}\r\n\r\n".encode()
        )
        assert await app.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await app.send(ODD)
        assert (await app.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        await sidecar.records.wait(1)
    assert simulator.requests[-1].body == ODD


async def test_the_query_string_is_kept_as_it_was_written() -> None:
    async def answer(call: ProviderCall) -> None:
        await call.answer(COMPLETION)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        await sidecar.chat(path="/openai/v1/chat/completions?api-version=1&x=a%2Fb%20c&x=%C3%A9&empty=")
        assert raw.calls[-1].target == "/v1/chat/completions?api-version=1&x=a%2Fb%20c&x=%C3%A9&empty="


@pytest.mark.parametrize("asked", ["gpt-test", "small", "mini"])
async def test_a_provider_is_asked_by_its_own_name_of_the_model(
    renaming: CompiledConfig, simulator: Simulator, asked: str
) -> None:
    async with running_sidecar(renaming) as sidecar:
        answer = await sidecar.chat(asked, temperature=0.5)
        assert answer.headers["x-tidegate-model"] == "gpt-test"
        assert sidecar.records.last.model == "gpt-test"
        assert sidecar.records.last.requested_model == asked
    sent = simulator.requests[-1].json()
    assert sent == {
        "model": "gpt-test-2026-01-01",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b'{"model":"forbidden","messages":[],"model":"gpt-test"}', "model"),
        (b'{"mod\\u0065l":"forbidden","messages":[],"model":"gpt-test"}', "model"),
        (b'{"model":"forbidden","messages":[],"\\u006dodel":"gpt-test"}', "model"),
        (b'{"model":"gpt-test","stream":true,"messages":[],"stream":false}', "stream"),
        (b'{"model":"gpt-test","messages":[],"tools":[1],"tools":[2]}', "tools"),
    ],
    ids=["twice", "first escaped", "second escaped", "stream", "nothing that decides"],
)
async def test_a_member_that_is_given_twice_is_refused(
    one: CompiledConfig, simulator: Simulator, body: bytes, member: str
) -> None:
    """A provider that takes the first of two must not see another model, or another tool, than the rules did."""
    async with running_sidecar(one) as sidecar:
        answer = await sidecar.send(body)
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert answer.json["error"]["param"] == member
        assert f"{member!r} twice" in answer.json["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
    assert simulator.requests == ()


async def test_the_original_body_is_sent_anew_with_each_attempt(simulator: Simulator) -> None:
    models = (model("gpt-test", "other-name"),)
    two = config(
        pool(
            provider("first", f"{simulator.provider_url('first')}/v1", models=models),
            provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
        )
    )
    async with running_sidecar(two) as sidecar:
        answer = await sidecar.send(ODD, headers={"x-simulate-status": "503", "x-simulate-only": "first"})
        assert answer.headers["x-tidegate-provider"] == "second"
    assert simulator.requests_to("first")[0].json()["model"] == "other-name"
    assert simulator.requests_to("second")[0].body == ODD
