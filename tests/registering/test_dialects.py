"""A dialect that nobody built in is served on its paths, sends its kind of key, reads its streams and speaks its errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from made_up.dialect import DIALECTS, TYPE
from tidegate_testing.configs import POLICY, config, model, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar

from tidegate_policy.model import CompiledConfig, CredentialRef, Provider, ProviderType
from tidegate_sidecar.config.registry import DEFAULT
from tidegate_sidecar.dialects.registry import Dialects
from tidegate_sidecar.telemetry.records import Ending

REGISTRY = replace(DEFAULT, dialects=DIALECTS)
WIRE = "/telegraph/2/wire"
OWN_KEY = "the-application's-own-key"
REPLY = {"said": "hello", "toll": {"in": 3, "out": 1}}


def telegraph(name: str, url: str, **changes: Any) -> Provider:
    return replace(
        provider(name, url, type=cast("ProviderType", TYPE), models=(model("morse", "morse-7"),)), **changes
    )


def served(url: str, **changes: Any) -> CompiledConfig:
    return config(pool(telegraph("station", url, **changes), provider("gpt", url)))


async def wire(sidecar: Sidecar, mode: str = "letter", path: str = WIRE, **headers: str) -> Any:
    body = json.dumps({"model": "morse", "mode": mode}).encode()
    return await sidecar.send(body, path=path, headers={"telegraph-key": f"K {OWN_KEY}", **headers})


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def reply(call: ProviderCall) -> None:
    await call.answer(REPLY)


async def test_a_call_goes_where_it_says_with_a_key_as_it_says() -> None:
    credential = CredentialRef(source=POLICY, environment_variable="STATION_KEY")
    async with (
        raw_provider(reply) as raw,
        running_sidecar(
            served(raw.url, credentials=(credential,)),
            registry=REGISTRY,
            environment={"STATION_KEY": "the-key-of-the-platform"},
        ) as sidecar,
    ):
        assert (await wire(sidecar)).status == 200
        (call,) = raw.calls
        assert (call.target, call.headers["telegraph-key"]) == ("/v1/wire", "K the-key-of-the-platform")


async def test_usage_and_model_are_read_as_it_says() -> None:
    async with raw_provider(reply) as raw, running_sidecar(served(raw.url), registry=REGISTRY) as sidecar:
        answer = await wire(sidecar)
        assert (answer.status, answer.json) == (200, REPLY)
        record = sidecar.records.last
        assert (record.dialect, record.model, record.ending) == ("Telegraph", "morse", Ending.SERVED)
        assert (record.input_tokens, record.output_tokens) == (3, 1)
        (call,) = raw.calls
        assert call.json == {"model": "morse-7", "mode": "letter"}


async def test_the_application_s_key_of_its_kind_is_not_sent_on() -> None:
    async with raw_provider(reply) as raw, running_sidecar(served(raw.url), registry=REGISTRY) as sidecar:
        await wire(sidecar)
        assert OWN_KEY not in str(raw.calls[0].header_list)
        await sidecar.chat(headers={"telegraph-key": OWN_KEY})
        assert OWN_KEY not in str(raw.calls[1].header_list)


async def test_where_it_is_sent_on_it_is_taken_out_of_what_comes_back() -> None:
    async def echo(call: ProviderCall) -> None:
        await call.answer(
            {"said": call.headers["telegraph-key"]}, headers={"x-echo": call.headers["telegraph-key"]}
        )

    async with (
        raw_provider(echo) as raw,
        running_sidecar(served(raw.url, caller_credential=True), registry=REGISTRY) as sidecar,
    ):
        answer = await wire(sidecar)
        assert answer.status == 200
        assert OWN_KEY in str(raw.calls[0].header_list)
        assert OWN_KEY not in answer.text + str(answer.headers)


async def test_a_stream_is_passed_on_and_ends_where_it_says() -> None:
    sent = event("tick", {}) + event("word", "hello") + event("toll", {"in": 3, "out": 1}) + event("stop", {})

    async def serve(call: ProviderCall) -> None:
        await call.begin_stream()
        await call.event(sent)
        await call.end_stream()

    async with raw_provider(serve) as raw, running_sidecar(served(raw.url), registry=REGISTRY) as sidecar:
        answer = await wire(sidecar, "ticker")
        assert answer.body == sent
        record = sidecar.records.last
        assert (record.ending, record.stream, record.output_tokens) == (Ending.SERVED, True, 1)


async def test_a_stream_that_is_cut_ends_with_its_kind_of_error() -> None:
    async def serve(call: ProviderCall) -> None:
        await call.begin_stream()
        await call.event(event("word", "half"))
        await call.end_stream()

    async with raw_provider(serve) as raw, running_sidecar(served(raw.url), registry=REGISTRY) as sidecar:
        answer = await wire(sidecar, "ticker")
        assert answer.body.startswith(
            event("word", "half") + b'event: lost\ndata: {"returned": "provider_unreachable"'
        )
        assert sidecar.records.last.ending is Ending.FAILED


async def test_a_failure_is_judged_as_it_says() -> None:
    async def serve(call: ProviderCall) -> None:
        if call.target.startswith("/first"):
            await call.answer({}, status=402)
        else:
            await call.answer(REPLY)

    async with raw_provider(serve) as raw:
        both = config(
            pool(
                telegraph("first", raw.url.replace("/v1", "/first")),
                telegraph("second", raw.url, priority=1),
            )
        )
        async with running_sidecar(both, registry=REGISTRY) as sidecar:
            assert (await wire(sidecar)).status == 200
            attempts = [(it.provider, it.result) for it in sidecar.records.last.attempts]
            assert attempts == [("first", "AccountExhausted"), ("second", "ok")]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [(WIRE, 404, "model_not_found"), ("/telegraph/2/post", 404, "invalid_request")],
)
async def test_refusals_have_its_shape(path: str, status: int, code: str) -> None:
    async with running_sidecar(
        config(pool(provider("gpt", "http://127.0.0.1:1/v1"))), registry=REGISTRY
    ) as sidecar:
        answer = await wire(sidecar, path=path)
        assert (answer.status, answer.json["returned"]) == (status, code)


async def test_a_request_that_is_no_http_is_refused_in_it() -> None:
    async with running_sidecar(registry=REGISTRY) as sidecar, await sidecar.connect() as app:
        await app.send(b"POST /telegraph/2/wire HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n")
        assert b'"returned"' in await app.rest()


async def test_a_dialect_whose_paths_another_one_has_is_refused() -> None:
    with pytest.raises(ValueError, match="two dialects have the"):
        Dialects((*DIALECTS.all, DIALECTS.by_name("Telegraph")), {})


async def test_a_call_that_is_let_through_goes_to_who_speaks_it() -> None:
    async with raw_provider(reply) as raw:
        through = replace(served(raw.url, caller_credential=True, models=()), pass_through=True)
        async with running_sidecar(through, registry=REGISTRY) as sidecar:
            answer = await wire(sidecar, path="/telegraph/2/post/office?open=now")
            assert answer.status == 200
            (call,) = raw.calls
            assert call.target == "/v1/post/office?open=now"
            assert call.headers["telegraph-key"] == f"K {OWN_KEY}"


async def test_the_others_are_served_as_before() -> None:
    async with (
        raw_provider(lambda call: call.answer(COMPLETION)) as raw,
        running_sidecar(served(raw.url), registry=REGISTRY) as sidecar,
    ):
        assert (await sidecar.chat()).status == 200
