"""From a compile and what sidecars acknowledged to the status that each object should have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tidegate_operator.cluster.writer import StatusWriter
from tidegate_operator.handlers.bare_pod_counter import BarePodCounter
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.handlers.reconciler import Compiled
from tidegate_operator.publish.acks import Expected, Lag, Summary, objects_in, summarise
from tidegate_operator.publish.hearing import Hearing
from tidegate_operator.publish.missing_keys import Holder, missing_keys, uses_of
from tidegate_operator.publish.reports import ReportBook
from tidegate_operator.status.builders import Memo
from tidegate_operator.status.facts import Pods, gather
from tidegate_operator.status.model import Sidecars
from tidegate_policy.model import ObjectRef

_WORDS = {
    Lag.REFUSED: "refused it",
    Lag.OUTDATED: "enforces an earlier one",
    Lag.EMPTY: "enforces none yet",
    Lag.UNHEARD: "has not been heard",
}


@dataclass(slots=True)
class StatusPlanner:
    """Tells the writer what to write, while this replica may write.

    Attributes:
        compiled: the newest compile; None before the first one.
        informer: the pods.
        book: what sidecars said.
        writer: is told.
        undecided: objects of which nobody can say yet what to write.
        bare_pods: knows of pods without a sidecar.
        hearing: which silence counts.
        may_write: the others save themselves the work.
        period_ms: see settings, `acks_ms`.
    """

    compiled: Callable[[], Compiled | None]
    informer: Informer
    book: ReportBook
    writer: StatusWriter
    undecided: Callable[[], frozenset[ObjectRef]]
    bare_pods: BarePodCounter
    hearing: Hearing
    may_write: Callable[[], bool]
    period_ms: int
    _memo: Memo = field(default_factory=Memo)
    _is_stale: bool = True
    _revision: int = -1

    def mark(self) -> None:
        """Something that statuses depend on has changed."""
        self._is_stale = True

    async def run(self) -> None:
        """Look now and then, for as long as the process lives."""
        while True:
            await asyncio.sleep(self.period_ms / 1000)
            now_ns, may_write = time.monotonic_ns(), self.may_write()
            self.book.expire(now_ns)
            begun = self.informer.pods.take_begun()
            self.hearing.begun(begun, now_ns)
            self.hearing.leading(now_ns, is_leading=may_write)
            self._is_stale |= self.hearing.look(now_ns) or bool(begun)
            if may_write and (self._is_stale or self._revision != self.book.revision):
                self._is_stale, self._revision = False, self.book.revision
                self._plan()

    def _plan(self) -> None:
        compiled = self.compiled()
        if compiled is None:
            return
        summaries = summarise(self.book, self._expected(compiled), fresh_ns=self.hearing.fresh_ns)
        counts = self.bare_pods.governed()
        undecided = (
            self.undecided()
            | self._unheard(summaries)
            | self.bare_pods.undecided(counts)
            | compiled.compilation.unadvised
        )
        facts = gather(
            compiled.compilation,
            {ref: held for ref, held in compiled.held.items() if ref not in undecided},
            compiled.in_force,
            {ref: _sidecars(summary) for ref, summary in summaries.items()},
            Pods(governed=counts, bare=self.bare_pods.counts),
            missing_keys=missing_keys(self.book, self._holders(compiled)),
        )
        self.writer.want(self._memo.statuses(facts))

    def _expected(self, compiled: Compiled) -> Iterator[Expected[ObjectRef]]:
        for workload, pods in self.informer.pods.by_workload().items():
            key = compiled.compilation.workloads.get(workload)
            if key is None:
                continue  # the compile that takes it in has begun
            published = compiled.published[key]
            counts_for = objects_in(published.config)
            for pod in pods:
                yield Expected(
                    pod_uid=pod.uid,
                    pod=f"{pod.namespace}/{pod.name}",
                    digest=published.digest,
                    counts_for=counts_for,
                    is_starting=self.hearing.is_starting(pod),
                )

    def _holders(self, compiled: Compiled) -> Iterator[Holder]:
        """The pods whose configurations use credentials."""
        for workload, pods in self.informer.pods.by_workload().items():
            key = compiled.compilation.workloads.get(workload)
            uses = uses_of(compiled.published[key].config) if key is not None else {}
            for pod in pods if uses else ():
                yield Holder(pod_uid=pod.uid, namespace=pod.namespace, name=pod.name, uses=uses)

    def _unheard(self, summaries: Mapping[ObjectRef, Summary]) -> frozenset[ObjectRef]:
        """Objects of which this replica has not led long enough to say more than the former one: sidecars come back to it."""
        if self.hearing.is_settled:
            return frozenset()
        return frozenset(ref for ref, summary in summaries.items() if summary.unheard)


def _sidecars(summary: Summary) -> Sidecars:
    return Sidecars(
        desired=summary.desired,
        programmed=summary.programmed,
        rejected=summary.rejected,
        starting=summary.starting,
        lagging=tuple(
            f"{pod.pod} {_WORDS[pod.lag]}{f' ({pod.why})' if pod.why else ''}" for pod in summary.lagging
        ),
    )
