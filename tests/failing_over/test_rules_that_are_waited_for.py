"""Rights for an attempt may have to be got from elsewhere; a call neither waits for them for ever nor pays for them twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import POLICY, RETRY, config, pool, provider
from tidegate_testing.exchange import RunningExchange, running_exchange
from tidegate_testing.provider import ProviderCall, Script, raw_provider
from tidegate_testing.scripts import answering, serving

from tidegate_policy.model import Mode
from tidegate_sidecar.config.registry import Phase, PolicyKind, Registry
from tidegate_sidecar.policies.base import Facts, Grant, Needs, Outcome, Rejected, Sent
from tidegate_sidecar.policies.retry_budget import BUDGET_FLOOR

NOT_IN_TIME = Rejected("made-up", POLICY, retry_after_ms=7_000, limit="made up", remaining=0)


class Rights:
    """A made-up rule: each attempt at some providers needs a right, which is got by `acquire`.

    Attributes:
        asked: how often rights were to be got.
        outcomes: of what was granted.
    """

    mode = Mode.ENFORCE

    def __init__(self, acquire: Callable[[], Awaitable[None]], *providers: str) -> None:
        self._acquire = acquire
        self._providers = providers
        self._has_right = False
        self.asked = 0
        self.outcomes: list[Outcome] = []

    def admit(self, facts: Facts, now_ns: int) -> Grant | Needs:  # noqa: ARG002 - at any time
        if facts.provider in self._providers and not self._has_right:
            return Needs("rights", self._get, NOT_IN_TIME)
        self._has_right = False
        return self

    def settle(self, outcome: Outcome, now_ns: int) -> None:  # noqa: ARG002 - at any time
        if outcome.sent is Sent.NOT_ADMITTED:
            self._has_right = True
        else:
            self.outcomes.append(outcome)

    async def _get(self) -> None:
        self.asked += 1
        await self._acquire()
        self._has_right = True

    def registry(self) -> Registry:
        kind = PolicyKind(
            rules=lambda _: (self,),
            make=lambda rule, _: rule,
            phase=lambda _: Phase.ATTEMPT,
            identity=lambda _: "made-up",
        )
        return Registry(policies=(kind,))


async def never() -> None:
    await asyncio.get_running_loop().create_future()


def whom(running: RunningExchange) -> list[tuple[str, str]]:
    return [(attempt.provider, attempt.result) for attempt in running.records.last.attempts]


async def test_rights_that_do_not_come_lead_the_call_to_another_provider() -> None:
    rights = Rights(never, "first")
    async with raw_provider() as first, raw_provider(serving) as second:
        cfg = config(pool(provider("first", first.url), provider("second", second.url, priority=1)))
        async with running_exchange(cfg, registry=rights.registry()) as running:
            assert b" 200 " in await running.ask()
            assert whom(running) == [("second", "ok")]
            assert rights.asked == 1


async def test_rights_that_do_not_come_for_anybody_end_the_call() -> None:
    rights = Rights(never, "first", "second")
    async with raw_provider() as first, raw_provider() as second:
        cfg = config(pool(provider("first", first.url), provider("second", second.url, priority=1)))
        async with running_exchange(cfg, registry=rights.registry()) as running:
            answer = (await running.ask()).lower()
            assert b" 429 " in answer
            assert b"retry-after: 7\r\n" in answer
            assert whom(running) == []
            assert rights.asked == 2, "once for each"


async def cut(call: ProviderCall) -> None:
    call.cut()


@pytest.mark.parametrize(("fail", "status"), [(answering(503), b" 503 "), (cut, b" 502 ")])
async def test_a_retry_that_others_have_used_up_meanwhile_is_not_made(fail: Script, status: bytes) -> None:
    clock = FakeClock()

    async def others_retry() -> None:
        pipeline = running.services.live.pipeline
        assert pipeline is not None
        if rights.outcomes:  # the first attempt is over, and the retry is to be made
            for _ in range(BUDGET_FLOOR):
                pipeline.pools[0].retry_budget.take(clock.now_ns)

    rights = Rights(others_retry, "only")
    async with raw_provider(fail) as raw:
        cfg = config(pool(provider("only", raw.url), retry=replace(RETRY, budget_percent=1)))
        async with running_exchange(cfg, registry=rights.registry(), clock=clock.clock) as running:
            assert status in await running.ask()
            assert len(whom(running)) == 1
            assert len(raw.calls) == 1
            assert [outcome.sent for outcome in rights.outcomes] == [Sent.SENT, Sent.NOT_SENT]
