"""The epoch of the Lease rises: a second index is filled beside the first, and takes its place when it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from tidegate_testing.operators import injected_pod, policy

from tidegate_operator.api.kinds import POD, WATCHED
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.epoch_follower import EpochFollower
from tidegate_operator.handlers.informer import Index, Informer
from tidegate_policy.envelope import AsOf

KIND = "AIPolicy"


def a_policy(name: str, version: int) -> dict[str, Any]:
    document = policy("team", name)
    document["metadata"] |= {"uid": name, "resourceVersion": str(version), "generation": 1}
    return document


def a_pod(name: str, version: int) -> dict[str, Any]:
    document = injected_pod("team", name)
    document["metadata"] |= {"uid": name, "resourceVersion": str(version)}
    return document


@dataclass
class Lease:
    """What the follower sees of the elector."""

    epoch: int = 1
    raised: list[int] = field(default_factory=list)

    def raise_epoch(self, above: int = 0) -> None:
        self.raised.append(above)


@dataclass
class Site:
    lease: Lease
    informer: Informer
    follower: EpochFollower
    prepared: list[Index] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def fill(self, index: Index, *policies: dict[str, Any], pods: tuple[dict[str, Any], ...] = ()) -> None:
        """List everything that there is."""
        for kind in WATCHED:
            documents = {KIND: policies, POD: pods}.get(kind, ())
            self.informer.relisted(index, kind, documents, 10)

    @property
    def served(self) -> set[str]:
        return {ref.name for ref in self.informer.objects.held}

    async def until_filled_anew(self, former: Index) -> Index:
        async with asyncio.timeout(10):
            while self.informer.filled is former:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        return self.informer.filled

    async def until_epoch(self, epoch: int) -> None:
        async with asyncio.timeout(10):
            while self.informer.epoch != epoch:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    lease, informer = Lease(), Informer()
    follower = EpochFollower(cast("Dependencies", _Dependencies(lease, informer)))
    here = Site(lease, informer, follower)
    informer.on_pod_gone = here.gone.append

    async def prepare(index: Index) -> None:
        here.prepared.append(index)

    here.fill(informer.filled, a_policy("former", 500), pods=(a_pod("chat-0", 400), a_pod("chat-1", 401)))
    follower.changed()
    async with asyncio.TaskGroup() as tasks:
        ((_, work),) = follower.tasks(lambda: None, prepare)
        running = tasks.create_task(work)
        yield here
        running.cancel()


@dataclass
class _Dependencies:
    elector: Lease
    informer: Informer


async def test_what_was_known_is_worked_from_until_everything_is_listed_anew() -> None:
    async with site() as here:
        former = here.informer.filled
        here.lease.epoch = 2
        here.follower.changed()
        index = await here.until_filled_anew(former)
        for kind in (kind for kind in WATCHED if kind != POD):
            here.informer.relisted(index, kind, [a_policy("restored", 7)] if kind == KIND else [], 10)
        assert (here.served, here.informer.epoch) == ({"former"}, 1)
        assert here.informer.objects.versions[KIND] == 500
        assert here.prepared == []

        here.informer.relisted(index, POD, [a_pod("chat-0", 5)], 10)
        await here.until_epoch(2)
        assert here.served == {"restored"}
        assert here.informer.objects.versions[KIND] == 10
        assert here.prepared == [index]
        assert here.gone == ["chat-1"]


async def test_news_of_a_history_that_is_over_is_not_taken_in() -> None:
    """It would seem to be newer than all that is there now."""
    async with site() as here:
        former = here.informer.filled
        here.lease.epoch = 2
        here.follower.changed()
        index = await here.until_filled_anew(former)
        here.informer.told(former, KIND, "ADDED", a_policy("late", 900))
        here.informer.relisted(former, KIND, [a_policy("late", 900)], 900)
        here.fill(index, a_policy("restored", 7))
        await here.until_epoch(2)
        here.informer.told(former, KIND, "ADDED", a_policy("later", 901))
        here.informer.told(index, KIND, "ADDED", a_policy("new", 11))
        assert here.served == {"restored", "new"}
        assert here.informer.objects.versions[KIND] == 11


async def test_an_epoch_that_rises_once_more_begins_once_more() -> None:
    async with site() as here:
        former = here.informer.filled
        here.lease.epoch = 2
        here.follower.changed()
        second = await here.until_filled_anew(former)
        here.lease.epoch = 3
        here.follower.changed()
        here.fill(second, a_policy("between", 7))
        third = await here.until_filled_anew(second)
        assert here.served == {"former"}
        here.fill(third, a_policy("restored", 3))
        await here.until_epoch(3)
        assert here.served == {"restored"}


async def test_what_sidecars_were_told_in_a_history_that_is_over_is_no_reason_to_list() -> None:
    async with site() as here:
        here.lease.epoch = 5
        assert here.follower.is_over(AsOf(epoch=4, versions=((KIND, 10**9),)))
        assert not here.follower.is_over(AsOf(epoch=5))
        assert here.lease.raised == []
        assert not here.follower.is_over(AsOf(epoch=6))
        assert here.lease.raised == [6], "unless the Lease has it by then, it is of a backup"
