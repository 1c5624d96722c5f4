"""An application may hang up at any moment. Whatever a call was doing then, nothing is left of it.

Every scenario is run again and again, each time cancelled one suspension later, until it comes to its end. All of it
on uvloop, the loop that the sidecar runs on in a pod.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from cancelling_site.scenarios import SCENARIOS, Scenario, overloaded, streaming, whole
from cancelling_site.stage import Authority, Stage, staged
from tidegate_testing.cancelling import Cancelling, Moment
from tidegate_testing.configs import BREAKER, RETRY
from tidegate_testing.provider import ProviderCall
from tidegate_testing.wire import ask

from tidegate_runtime import loop
from tidegate_sidecar.policies.breaker import CircuitBreaker, State
from tidegate_sidecar.telemetry.records import Ending

SUSPENSIONS_MAX = 400


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_left_of_a_call_that_is_cancelled(
    scenario: Scenario, moment: Moment, authority: Authority
) -> None:
    loop.run(cancelled_at_every_suspension(scenario, moment, authority))


async def cancelled_at_every_suspension(scenario: Scenario, moment: Moment, authority: Authority) -> None:
    cancelling = Cancelling(moment)
    async with staged(scenario, authority, cancelling.wrap) as stage:
        for at in range(1, SUSPENSIONS_MAX):
            if scenario.finds_connection:
                cancelling.at = 0
                await stage.one_call()
            cancelling.at = at
            answer = await stage.one_call()
            await stage.settled()
            record = stage.running.records.last
            if not cancelling.has_cancelled:
                assert scenario.ends in answer, (answer, record.attempts)
                break
            assert record.ending is Ending.CLIENT_GONE
        assert at > scenario.at_least
        cancelling.at = 0
        assert scenario.ends in await stage.one_call(), "the next call is served as if nothing had been"


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_cancelled_probe_makes_room_for_the_next(
    moment: Moment, authority: Authority, *, stream: bool
) -> None:
    loop.run(probes_cancelled_at_every_suspension(moment, authority, stream=stream))


async def probes_cancelled_at_every_suspension(moment: Moment, authority: Authority, *, stream: bool) -> None:
    cancelling = Cancelling(moment)
    is_well = False

    async def answer(call: ProviderCall, stage: Stage) -> None:
        await ((streaming if stream else whole) if is_well else overloaded)(call, stage)

    scenario = Scenario(
        name="a probe",
        provider=answer,
        body=ask(stream=stream),
        pool={"breaker": BREAKER, "retry": replace(RETRY, max_attempts=1)},
        at_least=1,
    )
    async with staged(scenario, authority, cancelling.wrap) as stage:
        for at in range(1, SUSPENSIONS_MAX):
            cancelling.at, is_well = 0, False
            while (breaker := breaker_of(stage)) is None or breaker.state is not State.OPEN:
                await stage.one_call()
            stage.clock.advance(ms=BREAKER.max_open_for_ms)
            assert breaker.state_at(stage.clock.now_ns) is State.HALF_OPEN
            cancelling.at, is_well = at, True
            await stage.one_call()
            state = breaker.state_at(stage.clock.now_ns)
            await stage.settled()
            if not cancelling.has_cancelled:
                assert state is State.CLOSED
                break
            # A stream that had begun was answer enough; before that the place is free again.
            has_begun = stage.running.records.last.first_token_ms is not None
            assert state is (State.CLOSED if has_begun else State.HALF_OPEN)
        assert at > scenario.at_least


def breaker_of(stage: Stage) -> CircuitBreaker | None:
    """The one of the model that is asked for, once it has counted anything."""
    return dict(stage.pipeline.pools[0].providers[0].breakers.each()).get("gpt-test")
