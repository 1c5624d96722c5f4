"""An application that reads slowly slows its provider down; what is held in between stays small."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import TIMEOUTS, config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import Connection, ask

from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.model import ProviderType
from tidegate_sidecar.telemetry.records import Ending

EVENT = delta("x" * 16_000)
LONG = replace(TIMEOUTS, first_token_ms=10**8, stream_idle_ms=10**8, request_ms=10**8, stream_ms=10**8)

HELD_BYTES = 16 * 2**20
"""Buffers of two sockets on either side, which the kernel lets grow, and a few pieces of ours."""


class Flood:
    """Events as fast as they are taken, until it is told to come to an end."""

    def __init__(self) -> None:
        self.sent = 0
        self.is_over = False

    async def answer(self, call: ProviderCall) -> None:
        await call.begin_stream()
        while not self.is_over:
            self.sent += 1
            await call.event(EVENT)
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()


async def test_a_slow_application_slows_the_provider_down() -> None:
    flood = Flood()
    async with (
        raw_provider(flood.answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        address = sidecar.listening.app[0]
        async with await Connection.open(address.host, address.port, receive_buffer=64 * 1024) as app:
            await app.post(ask(stream=True), head="connection: close\r\n")
            await sidecar.stood_still(lambda: flood.sent)
            assert 0 < flood.sent * len(EVENT) < HELD_BYTES
            flood.is_over = True
            received = await app.rest()
            assert received.endswith(DONE + b"\r\n0\r\n\r\n")
            assert received.count(b"data: ") == flood.sent + 2
            await sidecar.records.wait(1)
            assert sidecar.records.last.ending is Ending.SERVED


async def test_an_application_that_reads_nothing_is_cut_off() -> None:
    """It would hold its provider's connection, and a place among the calls in flight, for ever."""
    over = asyncio.Event()

    async def flood(call: ProviderCall) -> None:
        await call.begin_stream()
        try:
            while True:
                await call.event(EVENT)
        finally:
            over.set()

    async with (
        raw_provider(flood) as raw,
        running_sidecar(config(pool(provider("only", raw.url))), app_stall_ms=100) as sidecar,
    ):
        address = sidecar.listening.app[0]
        async with await Connection.open(address.host, address.port, receive_buffer=64 * 1024) as app:
            await app.post(ask(stream=True))
            await sidecar.records.wait(1)
            async with asyncio.timeout(30):
                await over.wait()
        record = sidecar.records.last
        assert record.ending is Ending.CLIENT_GONE
        assert record.reason == "the application took nothing of its answer for 100 ms"


async def test_a_large_whole_answer_may_be_read_slowly() -> None:
    """Slow is not stalled: as long as some of it is taken, the answer goes on."""
    body = {**COMPLETION, "padding": "x" * 8 * 2**20}

    async def answer(call: ProviderCall) -> None:
        await call.answer(body)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url))), app_stall_ms=60_000) as sidecar,
    ):
        address = sidecar.listening.app[0]
        async with await Connection.open(address.host, address.port, receive_buffer=64 * 1024) as app:
            await app.post(ask())
            await app.read_until(b"\r\n\r\n")
            await app.reader.readexactly(len(json.dumps(body)))
            await sidecar.records.wait(1)
            assert sidecar.records.last.ending is Ending.SERVED


@pytest.mark.parametrize("how", ["held", "relayed as it comes", "a stream"])
async def test_a_slow_but_steady_reader_is_never_cut(how: str) -> None:
    """Whoever takes something now and then is there, however long all of it takes."""
    clock = FakeClock()
    body = json.dumps({**COMPLETION, "padding": "x" * 6 * 2**20}).encode()

    async def answer(call: ProviderCall) -> None:
        if how != "a stream":
            await call.answer(body)
            return
        await call.begin_stream()
        for _ in range(400):
            await call.event(EVENT)
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()

    limit = 2**20 if how == "relayed as it comes" else 32 * 2**20
    async with (
        raw_provider(answer) as raw,
        running_sidecar(
            config(pool(provider("only", raw.url), timeouts=LONG)),
            clock=clock.clock,
            app_stall_ms=1_000,
            max_response_bytes=limit,
        ) as sidecar,
    ):
        address = sidecar.listening.app[0]
        async with await Connection.open(address.host, address.port, receive_buffer=64 * 1024) as app:
            await app.post(ask(stream=how == "a stream"), head="connection: close\r\n")
            await app.read_until(b"\r\n\r\n")
            for _ in range(32):  # in steps smaller than what a full socket waits for before it asks for more
                await app.reader.readexactly(2**17)
                clock.advance(ms=400)
                await sidecar.looked()
            await app.rest()
            await sidecar.records.wait(1)
            assert sidecar.records.last.ending is Ending.SERVED


@pytest.mark.parametrize("governed", [True, False], ids=["under rules", "let through"])
async def test_a_provider_that_is_held_back_is_not_late(*, governed: bool) -> None:
    """Events that the application does not take yet are no silence of the provider."""
    clock, flood = FakeClock(), Flood()
    async with raw_provider(flood.answer) as raw:
        served = pass_through({ProviderType.OPENAI: raw.url}).config
        if governed:
            served = config(pool(provider("only", raw.url), timeouts=replace(LONG, stream_idle_ms=120_000)))
        async with running_sidecar(served, clock=clock.clock, app_stall_ms=10**9) as sidecar:
            address = sidecar.listening.app[0]
            async with await Connection.open(address.host, address.port, receive_buffer=64 * 1024) as app:
                key = "authorization: Bearer sk-0123456789abcdefghij\r\n"
                await app.post(ask(stream=True), head=f"connection: close\r\n{key}")
                await sidecar.stood_still(lambda: flood.sent)
                clock.advance(ms=150_000)
                await sidecar.looked()
                flood.is_over = True
                assert (await app.rest()).endswith(DONE + b"\r\n0\r\n\r\n")
                await sidecar.records.wait(1)
                assert sidecar.records.last.ending is Ending.SERVED
