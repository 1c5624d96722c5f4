"""What is done with the index, as one part of the process: compile, publish, status, last good forms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.cluster.last_good import LastGoodStore
from tidegate_operator.cluster.owners import Owners
from tidegate_operator.cluster.pace import Pace
from tidegate_operator.cluster.writer import StatusWriter
from tidegate_operator.handlers.bare_pods import BarePods
from tidegate_operator.handlers.common import Common
from tidegate_operator.handlers.keeping import Keeping
from tidegate_operator.handlers.owning import Owning
from tidegate_operator.handlers.publishing import Publishing
from tidegate_operator.handlers.reconcile import Reconciler
from tidegate_operator.handlers.statuses import Statuses
from tidegate_operator.index.objects import Change
from tidegate_operator.publish.hearing import Hearing

_WRITERS = 4
_log = logging.getLogger(__name__)


class Work:
    """From the index to the board and the status of objects."""

    def __init__(self, common: Common, publishing: Publishing) -> None:
        """Nothing is done yet."""
        settings, client, metrics = common.settings, common.client, common.metrics
        news, elector = common.news, common.elector
        self._news = news
        self._retry_s = settings.status_retry_ms / 1000
        self._elector = elector
        self._last_good = LastGoodStore(client, settings.namespace, metrics)
        self._owning = Owning(
            news=news,
            owners=Owners(client),
            compiled=asyncio.Event(),
            period_ms=settings.owners_ms,
            retry_ms=settings.status_retry_ms,
        )
        self.reconciler = Reconciler(
            news=news,
            owners=self._owning.owners,
            last_good=self._last_good,
            board=publishing.board,
            metrics=metrics,
            epoch=lambda: elector.epoch,
            on_compiled=self._compiled,
            quiet_ms=settings.debounce_ms,
            at_most_ms=settings.debounce_max_ms,
            unmatched=settings.pass_through,
        )
        self._writer = StatusWriter(
            client=client,
            objects=news.objects,
            metrics=metrics,
            may_write=self._may_write,
            on_written=news.seen,
            identity=elector.identity,
            pace=Pace(burst=settings.status_burst, interval_ms=settings.status_interval_ms),
            retry_ms=settings.status_retry_ms,
        )
        self._bare_pods = BarePods(
            client=client,
            news=news,
            may_write=self._may_write,
            on_answer=self._counted,
            period_ms=settings.owners_ms,
            retry_ms=settings.status_retry_ms,
        )
        self._statuses = Statuses(
            compiled=lambda: self.reconciler.compiled,
            news=news,
            book=publishing.book,
            writer=self._writer,
            undecided=self._owning.undecided,
            bare_pods=self._bare_pods,
            hearing=Hearing(settings.hearing_ms * 1_000_000),
            may_write=self._may_write,
            period_ms=settings.acks_ms,
        )
        self._keeping = Keeping(
            store=self._last_good,
            news=news,
            may_write=self._may_write,
            confirm=elector.confirm,
            period_ms=settings.last_good_ms,
            retry_ms=settings.status_retry_ms,
            changed=asyncio.Event(),
        )

    async def prepare(self) -> None:
        """Read what a first compile needs besides the lists: last good forms, the owners of pods."""
        while True:
            try:
                await self._last_good.read(self._news.objects.last_good)
                break
            except ClusterError as error:
                _log.log(error.level, "last good forms could not be read: %s", error)
                await asyncio.sleep(self._retry_s)
        await self._owning.settle()

    def tasks(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What runs once everything has been listed."""
        yield "owners of pods", self._owning.follow_pods()
        yield "targets without pods", self._owning.follow_targets()
        yield "reconcile", self.reconciler.run()
        yield "pods of targets without a sidecar", self._bare_pods.run()
        yield "statuses", self._statuses.run()
        yield "last good forms", self._keeping.run()
        for number in range(_WRITERS):
            yield f"status writer {number}", self._writer.work()

    def lease_changed(self) -> None:
        """This replica may write now, or may no longer."""
        # What was still due is of a former lead, and may be older than what another leader has written since.
        self._writer.want({})
        self._bare_pods.wake()
        self._statuses.mark()
        self._keeping.changed.set()

    def epoch_changed(self) -> None:
        """What is published has to say so."""
        self._news.compiling.mark(Change.STATUS)

    def _may_write(self) -> bool:
        return self._elector.is_leading

    def _counted(self) -> None:
        self._statuses.mark()

    def _compiled(self) -> None:
        self._owning.compiled.set()
        self._bare_pods.wake()
        self._statuses.mark()
        self._keeping.changed.set()
