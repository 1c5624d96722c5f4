"""An application may hang up at any moment. Whatever a call was doing then, nothing is left of it.

Every scenario is run again and again, each time cancelled one suspension later, until it comes to its end. All of it
on uvloop, the loop that the sidecar runs on in a pod.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tidegate_testing.cancelling import Cancelling, Moment
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, RETRY, config, limit, model, pool, provider
from tidegate_testing.exchange import RunningExchange, running_exchange
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.tasks import until
from tidegate_testing.wire import DEADLINE_S, Connection, ask

from tidegate_operator.compile.unmatched import pass_through
from tidegate_policy.model import CompiledConfig, KeyPart, KeyType, ProviderType
from tidegate_runtime import loop
from tidegate_sidecar.policies.breaker import State
from tidegate_sidecar.proxy.upstream import SessionLeg
from tidegate_sidecar.telemetry.records import Ending

SUSPENSIONS_MAX = 400

RULES = (
    limit("per-call", requests=10_000, burst=10_000),
    limit("per-try", requests=10_000, burst=10_000, key=(KeyPart(type=KeyType.PROVIDER),)),
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    name: str
    provider: Callable[[ProviderCall], Awaitable[None]]
    body: dict[str, Any]
    path: str = "/openai/v1/chat/completions"
    ends: bytes = b" 200 "
    settings: Any = None
    pieces: int = 1
    at_least: int = 3
    """Suspensions that the call has at the least: fewer would mean that nothing was tried."""
    is_let_through: bool = False
    """No policy applies, and the call goes out as it is."""


HEAD = b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


async def whole(call: ProviderCall) -> None:
    body = json.dumps(COMPLETION).encode()
    await call.send(HEAD % (200, len(body)))
    await pause()
    await call.send(body[:9])
    await pause()
    await call.send(body[9:])
    call.close()


async def streaming(call: ProviderCall) -> None:
    await call.begin_stream()
    await call.event(b": working\n\n")
    for number in range(3):
        await pause()
        await call.event(delta(f"word {number}"))
    await pause()
    await call.event(delta("", "stop") + DONE)
    await pause()
    await call.end_stream()


async def cut_in_the_middle(call: ProviderCall) -> None:
    await call.begin_stream()
    await call.event(delta("half"))
    await pause()
    call.cut()


async def silent_in_the_end(call: ProviderCall) -> None:
    await call.begin_stream()
    await call.event(delta("all", "stop") + DONE)
    with suppress(TimeoutError):
        await call.gone()


async def failing_at_first(call: ProviderCall) -> None:
    """The first provider; the second answers."""
    if "first" in call.target:
        await call.send(HEAD % (503, 2))
        await pause()
        await call.send(b"{}")
        call.close()
    else:
        await call.answer(COMPLETION)


async def overloaded(call: ProviderCall) -> None:
    await call.answer(b"{}", status=503)


async def flood(call: ProviderCall) -> None:
    body = b'{"usage":' + b" " * 4 * 2**20 + b"{}}"
    await call.answer(body)


SCENARIOS = [
    Scenario(name="a whole answer", provider=whole, body=ask(), at_least=4),
    Scenario(name="a body in pieces", provider=whole, body=ask(padding="x" * 100), pieces=3, at_least=5),
    Scenario(name="a stream", provider=streaming, body=ask(stream=True), at_least=6),
    Scenario(
        name="a stream that is cut",
        provider=cut_in_the_middle,
        body=ask(stream=True),
        ends=b"provider_unreachable",
    ),
    Scenario(name="a stream that lingers", provider=silent_in_the_end, body=ask(stream=True)),
    Scenario(name="a failover", provider=failing_at_first, body=ask("failing"), at_least=5),
    Scenario(name="tries with pauses", provider=overloaded, body=ask(), ends=b" 503 ", at_least=5),
    Scenario(name="a large answer to a slow reader", provider=flood, body=ask(), at_least=5),
    Scenario(
        name="an answer larger than is held",
        provider=flood,
        body=ask(),
        settings={"max_response_bytes": 2**16},
        at_least=5,
    ),
    Scenario(name="a whole answer, let through", provider=whole, body=ask(), at_least=4, is_let_through=True),
    Scenario(
        name="a stream, let through",
        provider=streaming,
        body=ask(stream=True),
        at_least=6,
        is_let_through=True,
    ),
    Scenario(
        name="an answer larger than is held, let through",
        provider=flood,
        body=ask(),
        settings={"max_response_bytes": 2**16},
        at_least=5,
        is_let_through=True,
    ),
    Scenario(name="a refusal", provider=whole, body=ask("unknown"), pieces=3, ends=b" 404 ", at_least=2),
]


async def pause() -> None:
    """Let the other side see what has been sent so far."""
    for _ in range(5):
        await asyncio.sleep(0)


def serving(raw: RawProvider, *, is_let_through: bool) -> CompiledConfig:
    if is_let_through:
        return pass_through({ProviderType.OPENAI: raw.url}).config
    failing = (model("failing", "first"),)
    return config(
        pool(
            provider("only", raw.url),
            provider("first", raw.url.replace("/v1", "/first/v1"), models=failing),
            provider("second", raw.url, priority=1, models=failing),
            # Each of the many tries has to be like the first.
            breaker=replace(BREAKER, consecutive_failures=10**6, minimum_requests=10**6),
            retry=replace(RETRY, budget_percent=10_000),
        ),
        rate_limits=RULES,
    )


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_left_of_a_call_that_is_cancelled(scenario: Scenario, moment: Moment) -> None:
    loop.run(cancelled_at_every_suspension(scenario, moment))


async def cancelled_at_every_suspension(scenario: Scenario, moment: Moment) -> None:
    cancelling = Cancelling(moment)
    async with (
        raw_provider(scenario.provider) as raw,
        running_exchange(
            serving(raw, is_let_through=scenario.is_let_through),
            wrap=cancelling.wrap,
            clock=FakeClock().clock,
            **(scenario.settings or {}),
        ) as running,
    ):
        for cancelling.at in range(1, SUSPENSIONS_MAX):
            answer = await one_call(running, scenario)
            await settled(running, raw, calls=cancelling.at)
            record = running.records.last
            if not cancelling.has_cancelled:
                assert scenario.ends in answer, record.attempts
                break
            assert record.ending is Ending.CLIENT_GONE
        assert cancelling.at > scenario.at_least
        cancelling.at = 0
        assert scenario.ends in await one_call(running, scenario), (
            "the next call is served as if nothing had been"
        )


async def one_call(running: RunningExchange, scenario: Scenario) -> bytes:
    """Ask, and read slowly all that comes back before the connection is closed."""
    data = json.dumps(scenario.body).encode()
    head = f"POST {scenario.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    async with await Connection.open(*running.address, receive_buffer=2**16) as app:
        size = -(-len(data) // scenario.pieces)
        received = bytearray()
        # What uvloop says of a connection that the other side has closed is a RuntimeError.
        with suppress(ConnectionError, RuntimeError):
            await app.send(head.encode())
            for at in range(0, len(data), size):
                await app.send(data[at : at + size])
                if scenario.pieces > 1:
                    await pause()
            async with asyncio.timeout(DEADLINE_S):
                while piece := await app.reader.read(2**18):
                    received += piece
                    await asyncio.sleep(0)
        return bytes(received)


async def settled(running: RunningExchange, raw: RawProvider, *, calls: int) -> None:
    """One record per call, nothing reserved, nothing in flight, no connection held."""
    await running.records.wait(calls)
    assert len(running.records.all) == calls
    services = running.services
    assert (services.in_flight.count, services.held.count) == (0, 0)
    pipeline = services.live.pipeline
    assert pipeline is not None
    assert [rule.outstanding for rule in pipeline.rate_rules] == [0] * len(pipeline.rate_rules)
    for state in pipeline.pools[0].providers:
        assert not state.breaker._circuit.is_probing
    leg = services.leg
    assert isinstance(leg, SessionLeg)
    assert leg._any is not None
    connector = leg._any.connector
    assert connector is not None
    # A connection that was being made when its call was cancelled is closed in the loop's next turns.
    await until(lambda: not connector._acquired)
    for call in raw.calls:
        if call.is_open:
            await call.gone()
    raw.calls.clear()


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_a_cancelled_probe_makes_room_for_the_next(moment: Moment, *, streams: bool) -> None:
    loop.run(probes_cancelled_at_every_suspension(moment, streams=streams))


async def probes_cancelled_at_every_suspension(moment: Moment, *, streams: bool) -> None:
    cancelling, clock = Cancelling(moment), FakeClock()

    async def answer(call: ProviderCall) -> None:
        await (streaming(call) if streams else whole(call))

    async def fail(call: ProviderCall) -> None:
        await call.answer(b"", status=500)

    async with (
        raw_provider() as raw,
        running_exchange(
            config(pool(provider("only", raw.url)), rate_limits=RULES),
            wrap=cancelling.wrap,
            clock=clock.clock,
        ) as running,
    ):
        pipeline = running.services.live.pipeline
        assert pipeline is not None
        breaker = pipeline.pools[0].providers[0].breaker
        calls = 0
        for at in range(1, SUSPENSIONS_MAX):
            cancelling.at, raw.script = 0, fail
            while breaker.state(clock.now_ns) is not State.OPEN:
                await running.ask()
                calls += 1
            clock.advance(ms=300_000)
            assert breaker.state(clock.now_ns) is State.HALF_OPEN
            cancelling.at, raw.script = at, answer
            await running.ask(stream=streams)
            calls += 1
            await settled(running, raw, calls=calls)
            if not cancelling.has_cancelled:
                assert breaker.state(clock.now_ns) is State.CLOSED
                break
            # A stream that had begun was answer enough; before that the place is free again.
            assert breaker.state(clock.now_ns) is (
                State.CLOSED if running.records.last.first_token_ms is not None else State.HALF_OPEN
            )
        assert at > 3
