"""From the index to the board: compile and publish, which every replica does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.cluster.last_good import LastGoodStore
from tidegate_operator.cluster.owners import Owners
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.informer import Index
from tidegate_operator.handlers.owner_resolver import OwnerResolver
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.handlers.reconciler import Reconciler
from tidegate_operator.publish.board import Board

_log = logging.getLogger(__name__)


class ConfigPipeline:
    """The loop, and what it needs besides lists and watches.

    Attributes:
        compiled: called after each compile.
    """

    def __init__(self, dependencies: Dependencies, board: Board, last_good: LastGoodStore) -> None:
        """Nothing is done yet."""
        settings, informer = dependencies.settings, dependencies.informer
        self.compiled: tuple[Callable[[], None], ...] = ()
        self._retry_s = settings.status.retry_ms / 1000
        self._last_good = last_good
        self.owner_resolver = OwnerResolver(
            informer=informer,
            owners=Owners(dependencies.client),
            compiled=asyncio.Event(),
            period_ms=settings.lists.owners_ms,
            retry_ms=settings.status.retry_ms,
        )
        self.reconciler = Reconciler(
            informer=informer,
            owners=self.owner_resolver.owners,
            last_good=last_good,
            board=board,
            metrics=dependencies.metrics,
            on_compiled=self._compiled,
            quiet_ms=settings.compile.debounce_ms,
            at_most_ms=settings.compile.debounce_max_ms,
            unmatched=settings.compile.pass_through,
        )

    async def prepare(self, index: Index) -> None:
        """Read what a first compile of an index needs besides lists: last good forms, the owners of pods."""
        while True:
            try:
                await self._last_good.read(index.objects.last_good)
                break
            except ClusterError as error:
                _log.log(error.level, "last good forms could not be read: %s", error)
                await asyncio.sleep(self._retry_s)
        await self.owner_resolver.settle(index.pods)

    def tasks(self) -> Tasks:
        """What runs once everything has been listed."""
        yield "owners of pods", self.owner_resolver.follow_pods()
        yield "targets without pods", self.owner_resolver.follow_targets()
        yield "reconcile", self.reconciler.run()

    def _compiled(self) -> None:
        self.owner_resolver.compiled.set()
        for tell in self.compiled:
            tell()
