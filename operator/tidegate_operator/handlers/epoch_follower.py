"""Follows the epoch of the Lease: when it rises, everything is listed again, while the last edition goes on being served.

The epoch rises when etcd was restored from a backup: the cluster has another history from there on, and its versions compare
with none of before. So nothing of the old index is carried over. A second one is filled beside it, and takes its place once
it is whole; until then configurations are compiled from the old one, as of the old epoch, and sidecars that another
replica has told more by then are told nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.informer import Index
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.index.objects import Change
from tidegate_policy.envelope import AsOf

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often it is looked, while lists are waited for, whether the epoch has risen once more."""


class EpochFollower:
    """Keeps the index in the epoch of the Lease."""

    def __init__(self, dependencies: Dependencies) -> None:
        """Nothing is followed yet."""
        self._elector = dependencies.elector
        self._informer = dependencies.informer
        self._moved = asyncio.Event()
        self._fell_in = 0
        """The last epoch in which versions fell."""

    def changed(self) -> None:
        """The epoch was read for the first time, or was raised."""
        if not self._informer.epoch:
            self._informer.epoch = self._elector.epoch
            # what is published has to say so
            self._informer.compiling.mark(Change.STATUS)
        self._moved.set()

    def versions_fell(self, kind: str, before: int, now: int) -> None:
        """A list is older than what was known before it."""
        if self._fell_in != self._informer.epoch:
            self._fell_in = self._informer.epoch
            _log.error(
                "resourceVersions of %s fell from %d to %d: etcd was restored; a new epoch is to begin",
                kind,
                before,
                now,
            )
        self._elector.raise_epoch()

    def is_over(self, moment: AsOf) -> bool:
        """Whether a moment is of a history that is known to be over: to have seen less than it says nothing."""
        if moment.epoch > self._elector.epoch:
            # Unless the Lease says otherwise at the next look, it is of a backup: epochs are written nowhere else.
            self._elector.raise_epoch(above=moment.epoch)
        return moment.epoch < self._elector.epoch

    def tasks(self, relist: Callable[[], None], prepare: Callable[[Index], Awaitable[None]]) -> Tasks:
        """What runs once configurations are served.

        Args:
            relist: has everything watched and listed into the index that is being filled.
            prepare: reads what a compile needs besides lists.
        """
        yield "epoch", self._run(relist, prepare)

    async def _run(self, relist: Callable[[], None], prepare: Callable[[Index], Awaitable[None]]) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            while self._informer.epoch < self._elector.epoch:
                epoch, index = self._elector.epoch, self._informer.begin_refill()
                _log.warning(
                    "epoch %d begins: everything is listed again; the last edition is served meanwhile", epoch
                )
                relist()
                if not await self._is_listed(index, epoch):
                    continue
                await prepare(index)
                if self._elector.epoch == epoch:
                    self._informer.replace(epoch)
                    _log.warning("epoch %d has begun with what is there now", epoch)

    async def _is_listed(self, index: Index, epoch: int) -> bool:
        """Wait until all is listed; False when the epoch has risen once more meanwhile."""
        while not index.listed.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await index.listed.wait()
            except TimeoutError:
                if self._elector.epoch > epoch:
                    return False
        return True
