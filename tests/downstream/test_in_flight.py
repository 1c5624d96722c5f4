"""A shutdown waits for the last call, for as long as it may, and cuts what is left. It never crashes."""

from __future__ import annotations

import asyncio

import pytest

from tidegate_sidecar.downstream.in_flight import InFlight


class Call:
    """Ends as soon as it is cut, or when it is told to."""

    def __init__(self, flight: InFlight) -> None:
        self.flight = flight
        self.is_cut = False
        flight.begin(self)

    def cut(self) -> None:
        self.is_cut = True
        self.end()

    def end(self) -> None:
        self.flight.end(self)


async def test_with_no_call_it_is_over_at_once() -> None:
    flight = InFlight()
    assert await flight.wait_idle(60_000) == 0
    assert (flight.draining, flight.cutting, flight.count) == (True, False, 0)


async def test_it_waits_for_the_last_call() -> None:
    flight = InFlight()
    calls = [Call(flight) for _ in range(3)]
    assert flight.count == 3
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(flight.wait_idle(60_000))
        for call in calls:
            await asyncio.sleep(0)
            assert not waiting.done()
            call.end()
            call.end()
    assert waiting.result() == 0
    assert not any(call.is_cut for call in calls)


async def test_calls_that_take_longer_than_the_grace_are_cut_and_counted() -> None:
    flight = InFlight()
    calls = [Call(flight) for _ in range(3)]
    calls[0].end()
    assert await flight.wait_idle(1) == 2
    assert [call.is_cut for call in calls] == [False, True, True]
    assert (flight.cutting, flight.count) == (True, 0)


async def test_the_last_call_may_end_in_the_turn_in_which_the_grace_is_over() -> None:
    """On a busy machine both become due together: the timer has fired, and the call ends before anybody looks."""
    flight = InFlight()
    call = Call(flight)
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.02
    loop.call_at(until - 0.0001, call.end)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(flight.wait_idle(20))
        await asyncio.sleep(0)
        while loop.time() < until + 0.01:
            pass
    assert waiting.result() in {0, 1}
    assert flight.count == 0


@pytest.mark.parametrize("grace_ms", [0, 1])
async def test_a_call_that_ends_when_another_is_cut_is_no_obstacle(grace_ms: int) -> None:
    flight = InFlight()
    other = Call(flight)

    class Taking(Call):
        def cut(self) -> None:
            super().cut()
            other.end()

    Taking(flight)
    assert await flight.wait_idle(grace_ms) == 2
    assert flight.count == 0


async def test_a_call_that_cannot_be_cut_does_not_save_the_others(caplog: pytest.LogCaptureFixture) -> None:
    flight = InFlight()

    class Failing(Call):
        def cut(self) -> None:
            self.end()
            raise ValueError

    Failing(flight)
    call = Call(flight)
    assert await flight.wait_idle(0) == 2
    assert call.is_cut
    assert [record.getMessage() for record in caplog.records] == ["a call could not be cut"]


async def test_calls_that_begin_while_it_waits_are_waited_for() -> None:
    flight = InFlight()
    first = Call(flight)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(flight.wait_idle(60_000))
        await asyncio.sleep(0)
        first.end()
        second = Call(flight)  # on a connection that is open, in the same turn
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done()
        second.end()
    assert waiting.result() == 0
    assert not second.is_cut
