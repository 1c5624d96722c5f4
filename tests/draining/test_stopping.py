"""SIGTERM: take no more, finish what is in flight, say so meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from tidegate_testing.configs import config, limit, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, delta, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_cli.simulator.server import Simulator
from tidegate_sidecar.telemetry.records import Ending


async def draining(sidecar: Sidecar) -> None:
    """Stop, and wait until the sidecar has noticed."""
    sidecar.stop.set()
    await until(lambda: sidecar.listening.in_flight.draining)


async def test_streams_in_flight_are_finished_and_readiness_is_taken_back() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=True))
        call = await raw.next()
        await call.begin_stream()
        await call.event(delta("before"))
        await app.read_until(delta("before"))
        assert (await sidecar.admin("/readyz")).status == 200

        await draining(sidecar)
        ready = await sidecar.admin("/readyz")
        assert (ready.status, ready.json["status"], ready.json["calls_in_flight"]) == (503, "draining", 1)
        assert (await sidecar.admin("/healthz")).status == 200, "a process that drains is not to be killed"
        with pytest.raises(ConnectionRefusedError):
            await sidecar.connect()

        await call.event(delta("after"))
        await app.read_until(delta("after"))
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()
        assert (await app.rest()).endswith(DONE + b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)
        assert sidecar.records.last.ending is Ending.SERVED


async def test_an_idle_connection_is_closed_at_once_while_others_are_finished() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as idle,
        asyncio.TaskGroup() as tasks,
    ):
        await idle.post(b"{}")
        head = await idle.read_until(b"\r\n\r\n")
        assert b"connection: close" not in head.lower()
        holding = tasks.create_task(sidecar.chat())
        call = await raw.next()
        await draining(sidecar)
        assert b"HTTP/1.1" not in await idle.rest()
        await call.answer(COMPLETION)
        assert (await holding).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", ask()), ("/v1/chat/completions", b"{}"), ("/v1/nothing", b"{}")],
    ids=["served", "refused", "unknown"],
)
async def test_a_call_that_has_been_sent_gets_its_answer_and_is_told_to_send_no_more(
    path: str, body: object
) -> None:
    """Who goes on talking on an open connection must not keep the process from ending, nor be left without an answer."""
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
        asyncio.TaskGroup() as tasks,
    ):
        await app.post(b"{}")
        await app.read_until(b"\r\n\r\n")
        holding = tasks.create_task(sidecar.chat())
        held = await raw.next()
        await app.post(body, path=path)
        await draining(sidecar)
        if body == ask():
            await (await raw.next()).answer(COMPLETION)
        answer = await app.rest()
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in answer
        await held.answer(COMPLETION)
        assert (await holding).headers["connection"] == "close"
    assert len(sidecar.records.all) == 3


async def test_calls_that_take_longer_than_the_grace_are_cut_and_recorded() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(
            config(pool(provider("only", raw.url)), rate_limits=(limit(burst=9),)), grace_ms=50
        ) as sidecar,
        await sidecar.connect() as streaming,
        await sidecar.connect() as waiting,
    ):
        await streaming.post(ask(stream=True))
        first = await raw.next()
        await first.begin_stream()
        await first.event(delta("half"))
        await streaming.read_until(delta("half"))
        await waiting.post(ask())
        second = await raw.next()

        sidecar.stop.set()
        rest = await streaming.rest()
        assert not rest.endswith(b"0\r\n\r\n"), "a proper end would pass half an answer for a whole one"
        assert await waiting.rest() == b""
        await first.gone()
        await second.gone()
        for record in await sidecar.records.wait(2):
            assert record.ending is Ending.FAILED
            assert record.reason == "the sidecar stopped before the call was over"
        assert {record.status for record in sidecar.records.all} == {0, 200}


async def test_with_nothing_in_flight_it_ends_at_once(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")))
    async with running_sidecar(cfg, grace_ms=60_000) as sidecar:
        assert (await sidecar.chat()).status == 200
        async with await sidecar.connect() as idle:
            await idle.post(b"{}")
            await idle.read_until(b"\r\n\r\n")
            async with asyncio.timeout(1.8):  # a connection that is taken for busy is waited for longer
                sidecar.stop.set()
                await idle.rest()
