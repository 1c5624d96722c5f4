"""A provider that fails is left alone, and asked again by one call after a while; /metrics shows it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, TIMEOUTS, config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import ask

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig

FIRST = 'tidegate_breaker_state{model="gpt-test",pool="team-a/main",provider="first"}'
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


def two(simulator: Simulator) -> CompiledConfig:
    return config(
        pool(
            provider("first", f"{simulator.provider_url('first')}/v1"),
            provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
        )
    )


async def providers(sidecar: Sidecar, calls: int) -> list[str]:
    return [(await sidecar.chat()).headers["x-tidegate-provider"] for _ in range(calls)]


def transitions(to: str) -> str:
    labels = f'model="gpt-test",pool="team-a/main",provider="first",to="{to}"'
    return f"tidegate_breaker_transitions_total{{{labels}}}"


def attempts(provider: str, result: str) -> str:
    return f'tidegate_attempts_total{{pool="team-a/main",provider="{provider}",result="{result}"}}'


async def test_traffic_moves_away_after_five_failures_in_a_row_and_back_after_a_good_probe(
    simulator: Simulator,
) -> None:
    clock = FakeClock()
    simulator.set_behaviour("first", Behaviour(status=500))
    async with running_sidecar(two(simulator), clock=clock.clock) as sidecar:
        assert await sidecar.metric(FIRST) == CLOSED
        assert await providers(sidecar, 5) == ["second"] * 5
        assert len(simulator.requests_to("first")) == 5
        metrics = await sidecar.metrics()
        assert metrics[FIRST] == OPEN
        assert metrics[transitions("Open")] == 1
        assert metrics[attempts("first", "ServerError")] == 5
        assert metrics[attempts("second", "ok")] == 5

        assert await providers(sidecar, 10) == ["second"] * 10
        assert len(simulator.requests_to("first")) == 5, "an open breaker lets no call through"
        assert len(sidecar.records.last.attempts) == 1

        clock.advance(ms=59_999)
        assert await providers(sidecar, 1) == ["second"]
        assert len(simulator.requests_to("first")) == 5

        simulator.set_behaviour("first", Behaviour())
        clock.advance(ms=1)
        assert await sidecar.metric(FIRST) == HALF_OPEN
        assert await providers(sidecar, 3) == ["first"] * 3
        metrics = await sidecar.metrics()
        assert metrics[FIRST] == CLOSED
        assert metrics[transitions("HalfOpen")] == 1
        assert metrics[transitions("Closed")] == 1
        assert metrics[attempts("first", "ok")] == 3


async def test_a_bad_probe_doubles_the_time(simulator: Simulator) -> None:
    clock = FakeClock()
    simulator.set_behaviour("first", Behaviour(status=500))
    async with running_sidecar(two(simulator), clock=clock.clock) as sidecar:
        await providers(sidecar, 5)
        clock.advance(ms=60_000)
        assert await providers(sidecar, 2) == ["second", "second"]
        assert len(simulator.requests_to("first")) == 6, "one probe"
        clock.advance(ms=119_999)
        await providers(sidecar, 1)
        assert len(simulator.requests_to("first")) == 6
        clock.advance(ms=1)
        await providers(sidecar, 1)
        assert len(simulator.requests_to("first")) == 7


async def test_one_call_alone_is_the_probe(simulator: Simulator) -> None:
    clock = FakeClock()
    async with raw_provider() as first:
        cfg = config(
            pool(
                provider("first", first.url),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            )
        )
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            await _open(sidecar, first)
            clock.advance(ms=60_000)
            async with asyncio.TaskGroup() as tasks:
                probing = tasks.create_task(sidecar.chat())
                probe = await first.next()
                assert await providers(sidecar, 3) == ["second"] * 3
                await probe.answer(COMPLETION)
                assert (await probing).headers["x-tidegate-provider"] == "first"
            assert await sidecar.metric(FIRST) == CLOSED


async def test_a_probe_whose_application_hangs_up_leaves_room_for_the_next() -> None:
    clock = FakeClock()
    async with (
        raw_provider() as first,
        running_sidecar(config(pool(provider("first", first.url))), clock=clock.clock) as sidecar,
    ):
        await _open(sidecar, first)
        clock.advance(ms=60_000)
        before = len(sidecar.records.all)
        async with await sidecar.connect() as app:
            await app.post(ask())
            probe = await first.next()
            app.abort()
            await probe.gone()
        await sidecar.records.wait(before + 1)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(sidecar.chat())
            await (await first.next()).answer(COMPLETION)
            assert (await asking).status == 200
        assert await sidecar.metric(FIRST) == CLOSED


async def test_a_streaming_probe_has_answered_with_its_first_event() -> None:
    """Its end may be minutes away, and others wait."""
    clock = FakeClock()
    async with (
        raw_provider() as first,
        running_sidecar(config(pool(provider("first", first.url))), clock=clock.clock) as sidecar,
    ):
        await _open(sidecar, first)
        clock.advance(ms=60_000)
        async with asyncio.TaskGroup() as tasks, await sidecar.connect() as app:
            await app.post(ask(stream=True))
            probe = await first.next()
            await probe.begin_stream()
            await probe.event(delta("first"))
            await app.read_until(delta("first"))
            assert await sidecar.metric(FIRST) == CLOSED
            other = tasks.create_task(sidecar.chat())
            await (await first.next()).answer(COMPLETION)
            assert (await other).status == 200
            await probe.event(delta("", "stop") + DONE)
            await probe.end_stream()
            await app.read_until(b"\r\n0\r\n\r\n")


async def test_streams_that_are_cut_open_the_breaker_too(simulator: Simulator) -> None:
    async with running_sidecar(two(simulator)) as sidecar:
        for _ in range(5):
            await sidecar.chat(stream=True, headers={"x-simulate-cut-after": "2", "x-simulate-only": "first"})
        assert await sidecar.metric(FIRST) == OPEN


@pytest.mark.parametrize("status", [400, 404, 429])
async def test_what_is_no_fault_of_the_provider_opens_nothing(simulator: Simulator, status: int) -> None:
    async with running_sidecar(two(simulator)) as sidecar:
        for _ in range(6):
            await sidecar.chat(headers={"x-simulate-status": str(status), "x-simulate-only": "first"})
        assert await sidecar.metric(FIRST) == CLOSED


async def test_slow_streams_open_the_breaker() -> None:
    clock = FakeClock()

    async def slow(call: ProviderCall) -> None:
        await call.begin_stream()
        clock.advance(ms=BREAKER.slow_first_token_ms + 1)
        await call.event(delta("at last", "stop") + DONE)
        await call.end_stream()

    breaker = replace(BREAKER, minimum_requests=3, window_ms=600_000)
    patient = replace(TIMEOUTS, first_token_ms=600_000, request_ms=600_000, stream_ms=600_000)
    async with (
        raw_provider(slow) as raw,
        running_sidecar(
            config(pool(provider("first", raw.url), breaker=breaker, timeouts=patient)), clock=clock.clock
        ) as sidecar,
    ):
        for _ in range(3):
            await sidecar.chat(stream=True)
        await sidecar.records.wait(3)
        assert await sidecar.metric(FIRST) == OPEN


async def test_when_all_are_out_the_refusal_says_which_why_and_how_long(simulator: Simulator) -> None:
    clock = FakeClock()
    async with running_sidecar(two(simulator), clock=clock.clock) as sidecar:
        for _ in range(5):
            await sidecar.chat(headers={"x-simulate-status": "500"})
        asked = len(simulator.requests)
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (503, "provider_unavailable")
        assert answer.headers["retry-after"] == "60"
        for name in ("first", "second"):
            reason = answer.json["error"]["tidegate"]["providers"][name]
            assert reason == "its circuit breaker is open (5 failures in a row)"
        assert len(simulator.requests) == asked
        record = sidecar.records.last
        assert (record.ending, record.attempts) == ("failed", ())


async def _open(sidecar: Sidecar, only: RawProvider) -> None:
    async def fail(call: ProviderCall) -> None:
        await call.answer(b"", status=500)

    only.script = fail
    while await sidecar.metric(FIRST) != OPEN:
        await sidecar.chat()
    only.script = None
