"""Conditions as a part of what the holder of the Lease does: what statuses are made of is gathered, and they are written."""

from __future__ import annotations

from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.pace import Pace
from tidegate_operator.cluster.writer import StatusWriter
from tidegate_operator.handlers.bare_pods import BarePods
from tidegate_operator.handlers.common import Common
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.handlers.statuses import Statuses
from tidegate_operator.handlers.work import Work
from tidegate_operator.publish.hearing import Hearing
from tidegate_operator.publish.reports import ReportBook

WRITERS = 4
"""Statuses that are written at the same time."""


class Conditions:
    """Writes the status of objects."""

    def __init__(self, common: Common, client: ClusterClient, work: Work, book: ReportBook) -> None:
        """Nothing is written yet; `client` is for this part alone."""
        settings, elector, news = common.settings, common.elector, common.news
        self._writer = StatusWriter(
            client=client,
            objects=news.objects,
            metrics=common.metrics,
            may_write=lambda: elector.is_leading,
            on_written=news.seen,
            identity=elector.identity,
            pace=Pace(burst=settings.status.burst, interval_ms=settings.status.interval_ms),
            retry_ms=settings.status.retry_ms,
        )
        self._bare_pods = BarePods(
            client=client,
            news=news,
            may_write=lambda: elector.is_leading,
            on_answer=self._mark,
            period_ms=settings.lists.owners_ms,
            retry_ms=settings.status.retry_ms,
        )
        self._statuses = Statuses(
            compiled=lambda: work.reconciler.compiled,
            news=news,
            book=book,
            writer=self._writer,
            undecided=work.owning.undecided,
            bare_pods=self._bare_pods,
            hearing=Hearing(settings.sidecars.hearing_ms * 1_000_000),
            may_write=lambda: elector.is_leading,
            period_ms=settings.sidecars.acks_ms,
        )

    async def prepare(self) -> None:
        """What is needed comes with the compiles."""

    def tasks(self) -> Tasks:
        """Gather, and write."""
        yield "pods of targets without a sidecar", self._bare_pods.run()
        yield "statuses", self._statuses.run()
        for number in range(WRITERS):
            yield f"status writer {number}", self._writer.work()

    def lead_changed(self) -> None:
        """This replica may write now, or may no longer."""
        # What was still due is of a former lead, and may be older than what another leader has written since.
        self._writer.want({})
        self.compiled()

    def compiled(self) -> None:
        """There is a new compile."""
        self._bare_pods.wake()
        self._mark()

    def _mark(self) -> None:
        self._statuses.mark()
