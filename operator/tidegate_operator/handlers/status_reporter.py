"""Conditions as a part of what the holder of the Lease does: what statuses are made of is gathered, and they are written."""

from __future__ import annotations

from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.pace import Pace
from tidegate_operator.cluster.writer import StatusWriter
from tidegate_operator.handlers.bare_pod_counter import BarePodCounter
from tidegate_operator.handlers.config_pipeline import ConfigPipeline
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.handlers.status_planner import StatusPlanner
from tidegate_operator.publish.hearing import Hearing
from tidegate_operator.publish.reports import ReportBook

WRITERS = 4
"""Statuses that are written at the same time."""


class StatusReporter:
    """Writes the status of objects."""

    def __init__(
        self, dependencies: Dependencies, client: ClusterClient, work: ConfigPipeline, book: ReportBook
    ) -> None:
        """Nothing is written yet; `client` is for this part alone."""
        settings, elector, informer = dependencies.settings, dependencies.elector, dependencies.informer
        self._writer = StatusWriter(
            client=client,
            objects=informer.objects,
            metrics=dependencies.metrics,
            may_write=lambda: elector.is_leading,
            on_written=informer.seen,
            identity=elector.identity,
            pace=Pace(burst=settings.status.burst, interval_ms=settings.status.interval_ms),
            retry_ms=settings.status.retry_ms,
        )
        self.bare_pods = BarePodCounter(
            client=client,
            informer=informer,
            may_write=lambda: elector.is_leading,
            on_answer=self._mark,
            period_ms=settings.lists.relist_ms,
            retry_ms=settings.status.retry_ms,
        )
        self._planner = StatusPlanner(
            compiled=lambda: work.reconciler.compiled,
            informer=informer,
            book=book,
            writer=self._writer,
            undecided=work.owner_resolver.undecided,
            bare_pods=self.bare_pods,
            hearing=Hearing(settings.sidecars.hearing_ms * 1_000_000),
            may_write=lambda: elector.is_leading,
            period_ms=settings.sidecars.acks_ms,
        )

    async def prepare(self) -> None:
        """What is needed comes with the compiles."""

    def tasks(self) -> Tasks:
        """Gather, and write."""
        yield "pods of targets without a sidecar", self.bare_pods.run()
        yield "statuses", self._planner.run()
        for number in range(WRITERS):
            yield f"status writer {number}", self._writer.work()

    def lead_changed(self) -> None:
        """This replica may write now, or may no longer."""
        # What was still due is of a former lead, and may be older than what another leader has written since.
        self._writer.want({})
        self.compiled()

    def compiled(self) -> None:
        """There is a new compile."""
        self.bare_pods.wake()
        self._mark()

    def _mark(self) -> None:
        self._planner.mark()
