"""On whose behalf a call is made: said by a header of the application."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tidegate_testing.configs import config, consumer, pool, provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig, ConsumerIdentity, Mode, OnMissing


def asking_for(simulator: Simulator, identity: ConsumerIdentity | None) -> CompiledConfig:
    return config(pool(provider("only", f"{simulator.url}/v1")), consumer=identity)


async def test_the_header_names_the_consumer(simulator: Simulator) -> None:
    async with running_sidecar(asking_for(simulator, consumer())) as sidecar:
        assert (await sidecar.chat(headers={"X-User-Id": "  alice  "})).status == 200
        assert sidecar.records.last.consumer == "alice"
    assert "x-user-id" not in simulator.requests[-1].headers


async def test_without_an_identity_calls_share_one_name(simulator: Simulator) -> None:
    async with running_sidecar(asking_for(simulator, None)) as sidecar:
        await sidecar.chat(headers={"x-user-id": "alice"})
        assert sidecar.records.last.consumer == "anonymous"
    assert simulator.requests[-1].headers["x-user-id"] == "alice"


@pytest.mark.parametrize("value", ["", "   ", "x" * 257])
async def test_a_call_that_does_not_say_is_refused_where_it_must(simulator: Simulator, value: str) -> None:
    async with running_sidecar(asking_for(simulator, consumer())) as sidecar:
        answer = await sidecar.chat(headers={"x-user-id": value})
        assert (answer.status, answer.code) == (400, "invalid_request")
        details = answer.json["error"]["tidegate"]
        assert (details["param"], details["object"]) == ("x-user-id", "AIPolicy team-a/chat")
        assert sidecar.records.last.rule == "identity"
    assert simulator.requests == ()


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff", b"a\tb"])
async def test_a_name_that_is_no_text_is_refused(simulator: Simulator, value: bytes) -> None:
    async with (
        running_sidecar(asking_for(simulator, consumer())) as sidecar,
        await sidecar.connect() as app,
    ):
        data = b'{"model":"gpt-test"}'
        await app.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-user-id: "
            + value
            + f"\r\ncontent-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        assert (await app.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def test_a_call_that_does_not_say_is_anonymous_where_it_may_be(simulator: Simulator) -> None:
    identity = consumer(on_missing=OnMissing.ANONYMOUS)
    async with running_sidecar(asking_for(simulator, identity)) as sidecar:
        assert (await sidecar.chat()).status == 200
        assert sidecar.records.last.consumer == "anonymous"
        assert (await sidecar.chat(headers={"x-user-id": "x" * 300})).status == 400


async def test_a_shadow_refuses_nobody_and_is_written_down(simulator: Simulator) -> None:
    identity = replace(consumer(), mode=Mode.SHADOW)
    async with running_sidecar(asking_for(simulator, identity)) as sidecar:
        assert (await sidecar.chat()).status == 200
        record = sidecar.records.last
        assert record.consumer == "anonymous"
        assert [(it.rule, it.code) for it in record.would_refuse] == [("identity", "invalid_request")]


@pytest.mark.parametrize("on_missing", OnMissing)
@pytest.mark.parametrize("second", ["mallory", "alice", ""])
async def test_a_name_that_is_said_twice_is_refused_whatever_it_is(
    simulator: Simulator, second: str, on_missing: OnMissing
) -> None:
    """An application that passes a header of its own callers on must not be fooled about who they are."""
    async with (
        running_sidecar(asking_for(simulator, consumer(on_missing=on_missing))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(), head=f"x-user-id: alice\r\nX-User-Id: {second}\r\nconnection: close\r\n")
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"is given more than once" in answer
        assert b"x-should-retry: false" in answer
        record = sidecar.records.last
        assert (record.code, record.rule, record.consumer) == ("invalid_request", "identity", "anonymous")
    assert simulator.requests == ()


async def test_a_name_that_is_said_twice_is_anonymous_to_a_shadow(simulator: Simulator) -> None:
    identity = replace(consumer(), mode=Mode.SHADOW)
    async with (
        running_sidecar(asking_for(simulator, identity)) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(), head="x-user-id: alice\r\nx-user-id: bob\r\nconnection: close\r\n")
        assert (await app.rest()).startswith(b"HTTP/1.1 200 ")
        record = sidecar.records.last
        assert (record.consumer, [it.rule for it in record.would_refuse]) == ("anonymous", ["identity"])
    assert "x-user-id" not in simulator.requests[-1].headers


async def test_a_name_in_utf8_is_kept(simulator: Simulator) -> None:
    async with (
        running_sidecar(asking_for(simulator, consumer())) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(), head="x-user-id: zo\u00eb\r\n")
        await app.read_until(b"\r\n\r\n")
        await sidecar.records.wait(1)
        assert sidecar.records.last.consumer == "zo\u00eb"
