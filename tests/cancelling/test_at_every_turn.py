"""Applications do not wait for a suspension to hang up: the connection may end in any turn of the loop.

Every scenario is run again and again, each time with an application that is gone one turn later, until it sees the end of
its answer: also in the very turn in which an attempt begins, an opening has come, or an answer is certain.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from cancelling_site.scenarios import SCENARIOS, Scenario
from cancelling_site.stage import Authority, Stage, staged
from tidegate_testing.tasks import until
from tidegate_testing.wire import Connection

from tidegate_runtime import loop

TURNS_MAX = 300
"""More than any scenario takes that does not pause by the clock."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_left_of_a_call_whose_application_is_gone(
    scenario: Scenario, authority: Authority
) -> None:
    loop.run(hung_up_in_every_turn(scenario, authority))


async def hung_up_in_every_turn(scenario: Scenario, authority: Authority) -> None:
    async with staged(scenario, authority) as stage:
        for turns in range(TURNS_MAX):
            if scenario.finds_connection:
                await stage.one_call()
            if not await hung_up_after(stage, turns):
                break
            await stage.settled()
        assert turns > scenario.at_least
        assert scenario.ends in await stage.one_call(), "the next call is served as if nothing had been"
        await stage.settled()


async def hung_up_after(stage: Stage, turns: int) -> bool:
    """Whether the call was still under way when its application went."""
    stage.calls += 1
    in_flight = stage.running.services.in_flight
    async with await Connection.open(*stage.running.address) as app, asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(sent(stage, app))
        await until(lambda: in_flight.count)
        for _ in range(turns):
            await asyncio.sleep(0)
        is_under_way = in_flight.count > 0
        app.abort()
        await sending
    return is_under_way


async def sent(stage: Stage, app: Connection) -> None:
    with suppress(ConnectionError, RuntimeError):
        await stage.send(app)
