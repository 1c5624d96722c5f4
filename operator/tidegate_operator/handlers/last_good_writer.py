"""Persists last good forms: the holder of the Lease writes what it has seen, for those that will start later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.cluster.last_good import LastGoodStore
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.handlers.part import Tasks

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LastGoodWriter:
    """Persists last good forms.

    Attributes:
        store: writes them.
        informer: the forms.
        may_write: whether it is for this replica to do.
        confirm: asks the cluster the same: a form that is dropped is lost.
        period_ms: see settings, `last_good_ms`.
        retry_ms: pause after a write that failed.
        changed: set when there may be something to write.
    """

    store: LastGoodStore
    informer: Informer
    may_write: Callable[[], bool]
    confirm: Callable[[], Awaitable[bool]]
    period_ms: int
    retry_ms: int
    changed: asyncio.Event

    async def prepare(self) -> None:
        """The compiles read the forms."""

    def tasks(self) -> Tasks:
        """Write."""
        yield "last good forms", self.run()

    def lead_changed(self) -> None:
        """A new holder may have forms that the former one has not written."""
        self.changed.set()

    async def run(self) -> None:
        """Write what has changed, for as long as the process lives."""
        while True:
            await self.changed.wait()
            await asyncio.sleep(self.period_ms / 1000)
            self.changed.clear()
            if not self.may_write():
                continue
            try:
                if not await self.confirm():
                    continue
                await self.store.write(self.informer.objects.last_good)
            except ClusterError as error:
                _log.log(error.level, "last good forms could not be persisted: %s", error)
                await asyncio.sleep(self.retry_ms / 1000)
                self.changed.set()
