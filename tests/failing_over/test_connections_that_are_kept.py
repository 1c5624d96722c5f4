"""Connections to a provider are kept for the next call, which never gets what was meant for another one.

A provider may close such a connection at any time. That is no failure of it: the request is sent once more on a new
connection, as long as the provider can hardly have begun to work on it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, RETRY, config, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, RawProvider, Script, raw_provider
from tidegate_testing.scripts import asked, in_turn, serving
from tidegate_testing.sidecar import Sidecar, running_sidecar

from tidegate_policy.model import CompiledConfig

SOMEBODY_ELSES = json.dumps({**COMPLETION, "id": "somebody-elses"}).encode()
STRAY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(SOMEBODY_ELSES),
    SOMEBODY_ELSES,
)
BREAKER_STATE = 'tidegate_breaker_state{model="gpt-test",pool="team-a/main",provider="only"}'


def strict(only: RawProvider) -> CompiledConfig:
    """Whatever counts as a failure or as a retry ends the call, and opens the breaker."""
    return config(
        pool(
            provider("only", only.url),
            retry=replace(RETRY, max_attempts=1, budget_percent=0),
            breaker=replace(BREAKER, consecutive_failures=1),
        )
    )


async def the_next_call_gets_its_own(raw: RawProvider, sidecar: Sidecar) -> None:
    raw.script = serving
    assert (await sidecar.chat()).json["id"] == COMPLETION["id"]
    assert asked(sidecar) == [("only", "ok")]
    assert raw.connections == 2


class TestWhatWasMeantForAnother:
    @pytest.mark.parametrize(
        "stray",
        [
            STRAY,
            b"HTTP/1.1 408 Request Time-out\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 408 Request Time-out\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            b"\r\n",
            b"x",
        ],
        ids=["an answer", "408", "408 and a close", "a line end", "a byte"],
    )
    async def test_and_comes_while_a_connection_is_idle_ends_it(self, stray: bytes) -> None:
        closed = asyncio.Event()

        async def say_more(call: ProviderCall) -> None:
            await call.answer(COMPLETION)
            await call.send(stray)
            await call.gone()
            closed.set()

        async with raw_provider(say_more) as raw, running_sidecar(strict(raw)) as sidecar:
            assert (await sidecar.chat()).json["id"] == COMPLETION["id"]
            await closed.wait()
            await the_next_call_gets_its_own(raw, sidecar)

    @pytest.mark.parametrize("stray", [STRAY, b"\r\n", b"x"], ids=["an answer", "a line end", "a byte"])
    async def test_and_comes_in_one_packet_with_an_answer_ends_its_connection(self, stray: bytes) -> None:
        body = json.dumps(COMPLETION).encode()
        whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"

        async def say_both(call: ProviderCall) -> None:
            await call.send(whole % (len(body), body) + stray)
            await call.gone()

        async with raw_provider(say_both) as raw, running_sidecar(strict(raw)) as sidecar:
            assert (await sidecar.chat()).json["id"] == COMPLETION["id"]
            await the_next_call_gets_its_own(raw, sidecar)


async def test_a_connection_that_was_closed_while_it_was_idle_is_not_used() -> None:
    async def close_behind_it(call: ProviderCall) -> None:
        await call.answer(COMPLETION)
        call.close()

    async with raw_provider(close_behind_it) as raw, running_sidecar(strict(raw)) as sidecar:
        for _ in range(3):
            assert (await sidecar.chat()).status == 200
        assert (raw.connections, len(raw.calls)) == (3, 3)


async def cut(call: ProviderCall) -> None:
    call.cut()


async def close(call: ProviderCall) -> None:
    call.close()


@pytest.mark.parametrize("end", [cut, close], ids=["reset", "closed"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("size", [10, 2**20], ids=["small", "large"])
async def test_a_request_that_crosses_the_end_of_its_connection_is_sent_once_more(
    end: Script, size: int, *, stream: bool
) -> None:
    """It counts as nothing: neither as an attempt, nor as a retry, nor as a failure."""
    async with raw_provider(in_turn(serving, end, serving)) as raw, running_sidecar(strict(raw)) as sidecar:
        assert (await sidecar.chat()).status == 200
        answer = await sidecar.chat(stream=stream, padding="x" * size, headers={"idempotency-key": "mine"})
        assert answer.status == 200
        assert answer.headers["x-tidegate-attempts"] == "1"
        await sidecar.records.wait(2)
        assert asked(sidecar) == [("only", "ok")]
        assert raw.connections == 2
        _, lost, again = raw.calls
        assert again.body == lost.body
        assert again.header_list == lost.header_list
        assert again.headers["idempotency-key"] == "mine"
        metrics = await sidecar.metrics()
        assert metrics["tidegate_stale_connections_total"] == 1
        assert metrics[BREAKER_STATE] == 0


async def test_it_is_sent_once_more_and_not_twice() -> None:
    async with raw_provider(in_turn(serving, cut, cut)) as raw, running_sidecar(strict(raw)) as sidecar:
        await sidecar.chat()
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (502, "provider_unreachable")
        assert asked(sidecar) == [("only", "Closed")]
        assert len(raw.calls) == 3


class TestARequestThatMayHaveBeenWorkedOn:
    """It is not sent again by itself: that is a failed attempt, which may have been charged."""

    @pytest.mark.parametrize(("after_ms", "is_sent_again"), [(1_000, True), (1_001, False)])
    async def test_is_one_that_was_answered_by_nothing_for_a_second(
        self, after_ms: int, *, is_sent_again: bool
    ) -> None:
        clock = FakeClock()

        async def cut_late(call: ProviderCall) -> None:
            clock.advance(ms=after_ms)
            call.cut()

        async with (
            raw_provider(in_turn(serving, cut_late, serving)) as raw,
            running_sidecar(strict(raw), clock=clock.clock) as sidecar,
        ):
            await sidecar.chat()
            await sidecar.chat()
            assert len(raw.calls) == (3 if is_sent_again else 2)
            (attempt,) = sidecar.records.last.attempts
            assert (attempt.result, attempt.sent) == ("ok" if is_sent_again else "Closed", True)

    @pytest.mark.parametrize(
        ("begin", "result"),
        [(b"H", "Incomplete"), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "Incomplete")],
        ids=["a byte", "a head"],
    )
    async def test_is_one_of_whose_answer_something_came(self, begin: bytes, result: str) -> None:
        async def begin_and_close(call: ProviderCall) -> None:
            await call.send(begin)
            call.close()

        async with (
            raw_provider(in_turn(serving, begin_and_close, serving)) as raw,
            running_sidecar(strict(raw)) as sidecar,
        ):
            await sidecar.chat()
            assert (await sidecar.chat()).status == 502
            (attempt,) = sidecar.records.last.attempts
            assert (attempt.result, attempt.sent) == (result, True)
            assert len(raw.calls) == 2
            assert await sidecar.metric(BREAKER_STATE) == 2

    async def test_is_one_on_a_connection_that_was_new(self) -> None:
        async with raw_provider(in_turn(cut, serving)) as raw, running_sidecar(strict(raw)) as sidecar:
            assert (await sidecar.chat()).status == 502
            (attempt,) = sidecar.records.last.attempts
            assert (attempt.result, attempt.sent) == ("Closed", True)
            assert len(raw.calls) == 1
