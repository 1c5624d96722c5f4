"""Finds workloads whose pods lack the sidecar that was asked for, and says so: for the holder of the Lease alone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tidegate_operator.api.workloads import TOPMOST
from tidegate_operator.cluster.client import METADATA, METADATA_LIST, ClusterClient, object_path
from tidegate_operator.cluster.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError
from tidegate_operator.cluster.events import Event, EventType, event_document, post
from tidegate_operator.coverage.count import Count, Lack, WorkloadName, injected_pods
from tidegate_operator.coverage.shortfall import Shortfalls, examine, note
from tidegate_operator.handlers.bare_pod_watch import BARE
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.index.pods import NOT_ENDED
from tidegate_operator.inject.optin import Choice, choice_of
from tidegate_operator.telemetry.metrics import Metrics
from tidegate_policy.model import ObjectRef

_log = logging.getLogger(__name__)

IDLE_S: Final = 1.0
"""How often a replica that does not lead looks whether it does."""

MAX_NAMESPACES: Final = 64
"""Namespaces that are counted again in one round; the others have their turn in the next."""


class _Regarding(NamedTuple):
    """What an event is about; `api` is its apiVersion."""

    ref: ObjectRef
    uid: str
    api: str


@dataclass(slots=True)
class SidecarCoverage:
    """Counts, and tells.

    The whole cluster is counted now and then. In between, only namespaces are in which pods lacked a sidecar at the last count,
    those that have asked since, and those that ask and where pods without one have come or gone: watches tell these.

    Attributes:
        client: is asked.
        informer: namespaces, and the pods that have a sidecar.
        metrics: take the counts.
        may_write: whether it is for this replica to do.
        excluded: namespaces in which nothing is ever injected: Tidegate's own, and see settings, `excluded_namespaces`.
        identity: this replica's name, in events.
        period_ms: see settings, `injector.coverage_ms`.
        whole_ms: see settings, `lists.relist_ms`.
    """

    client: ClusterClient
    informer: Informer
    metrics: Metrics
    may_write: Callable[[], bool]
    excluded: Collection[str]
    identity: str
    period_ms: int
    whole_ms: int
    _shortfalls: Shortfalls = field(default_factory=Shortfalls)
    _lacking: Mapping[WorkloadName, Lack] = field(default_factory=dict)
    _asking: frozenset[str] = frozenset()
    """Namespaces that asked for sidecars at the last count."""
    _with_asking_workloads: frozenset[str] = frozenset()
    """Namespaces in which workloads asked for sidecars at the last count."""
    _changed: set[str] = field(default_factory=set)
    """Namespaces that ask, and whose pods without a sidecar have changed since they were counted."""
    _rounds: dict[str, int] = field(default_factory=dict)
    """Namespace to the round in which it was counted again."""
    _left_out: int = 0
    _whole_at_s: float = 0.0

    async def prepare(self) -> None:
        """The first count finds what there is."""

    def tasks(self) -> Tasks:
        """Count."""
        yield "pods without a sidecar", self.run()

    def lead_changed(self) -> None:
        """Each count asks whether this replica leads."""

    def pod_changed(self, pod: Mapping[str, Any]) -> None:
        """Count where it is again, where a sidecar may have been asked for."""
        namespace = str(pod["metadata"]["namespace"])
        if (
            namespace in self._asking
            or namespace in self._with_asking_workloads
            or choice_of(pod) is Choice.ENABLED
        ):
            self._changed.add(namespace)

    def anything_changed(self) -> None:
        """Count all of it again."""
        self._whole_at_s = 0.0

    async def run(self) -> None:
        """Count again and again, for as long as the process lives."""
        period_s = self.period_ms / 1000
        while True:
            if self.may_write():
                await self.look()
                await asyncio.sleep(period_s)
            else:
                # what another replica tells from now on is not ours to know
                self._shortfalls, self._lacking, self._left_out, self._whole_at_s = Shortfalls(), {}, 0, 0.0
                self._changed.clear()
                self._show()
                await asyncio.sleep(min(IDLE_S, period_s))

    async def look(self) -> None:
        """One count, and what is to be told after it. A count that fails changes nothing."""
        now_s = asyncio.get_running_loop().time()
        is_whole = now_s >= self._whole_at_s
        count = Count(self.informer.objects.namespaces, self.excluded)
        places = ("",) if is_whole else self._in_question(count.asking)
        changed = set(self._changed) if is_whole else self._changed & {*places}
        # what changes while it is counted may have been counted or not
        self._changed -= changed
        try:
            for place in places:
                await self._count(count, place)
        except ClusterError as error:
            _log.log(error.level, "pods without a sidecar could not be counted: %s", error)
            self.metrics.coverage_failed.inc()
            self._changed |= changed
            return
        if count.left_out:
            _log.warning(
                "%d pods without a sidecar are of more workloads than are kept apart", count.left_out
            )
        if is_whole:
            # replicas and clusters that start together must not ask together for ever
            self._whole_at_s = now_s + self.whole_ms * random.uniform(0.8, 1.0) / 1000  # noqa: S311 - no secret
            self._lacking, self._rounds, self._left_out = count.lacking, {}, count.left_out
            self._with_asking_workloads = frozenset(count.with_asking_workloads)
        else:
            others = {name: lack for name, lack in self._lacking.items() if name.namespace not in places}
            self._lacking = others | count.lacking
            self._rounds |= dict.fromkeys(places, max(self._rounds.values(), default=0) + 1)
            self._with_asking_workloads |= count.with_asking_workloads
        self._asking = count.asking
        self._shortfalls.counted(self._lacking)
        injected = injected_pods(self.informer.pods.by_workload())
        for name in tuple(self._shortfalls.due(injected)):
            if not self.may_write():
                return
            try:
                await self._tell(name, self._lacking[name], injected.get(name, 0))
            except ClusterError as error:
                _log.log(error.level, "%s lacks sidecars, which could not be told: %s", name, error)
        self._show()

    def _in_question(self, asking: frozenset[str]) -> tuple[str, ...]:
        """Namespaces that are counted again before the next count of everything, those first whose turn is longest ago."""
        lacking = {name.namespace for name in self._lacking} | (asking - self._asking) | self._changed
        return tuple(
            sorted(lacking, key=lambda namespace: (self._rounds.get(namespace, 0), namespace))[
                :MAX_NAMESPACES
            ]
        )

    async def _count(self, count: Count, namespace: str) -> None:
        """Count one namespace; empty: all of them."""
        for kind in TOPMOST.values():
            collection = object_path(kind.api, kind.plural, namespace)
            async for page in self.client.pages(collection, accept=METADATA_LIST):
                count.take_workloads(kind.name, page)
        path = object_path("v1", "pods", namespace)
        pages = self.client.pages(path, labels=BARE, fields=NOT_ENDED, accept=METADATA_LIST)
        async for page in pages:
            count.take_pods(page)

    async def _tell(self, name: WorkloadName, lack: Lack, injected: int) -> None:
        """Look at one pod and at the workload, and post an event about it."""
        pod = await self.client.find(object_path("v1", "pods", name.namespace, lack.sample.name))
        finding = examine(pod) if pod is not None and pod["metadata"]["uid"] == lack.sample.uid else None
        regarding = await self._regarding(name, lack) if finding is not None else None
        if finding is None or regarding is None:
            return  # it has changed since; the next count finds what there is then
        event = Event(type=EventType.WARNING, reason=finding.reason, note=note(name, lack, injected, finding))
        document = event_document(
            event,
            regarding.ref,
            regarding.uid,
            api=regarding.api,
            action="Counted",
            identity=self.identity,
            now=datetime.now(UTC),
            once=f"{lack.sample.uid} {self._shortfalls.episode(name)}",
        )
        try:
            await post(self.client, document)
        except ConflictError:
            _log.debug("another replica has told of %s", name)
        except (ForbiddenError, NotFoundError) as error:
            # a namespace that is being deleted takes no events any more
            _log.info("no event about %s: %s", name, error)
        else:
            self.metrics.events.labels(event.type.value).inc()
            _log.info("%s: %s: %s", name, event.reason, event.note)
        self._shortfalls.told(name, finding)

    async def _regarding(self, name: WorkloadName, lack: Lack) -> _Regarding | None:
        """What the event is about; None when it is gone."""
        ref = ObjectRef(kind=name.kind, namespace=name.namespace, name=name.name)
        if (kind := TOPMOST.get(name.kind)) is not None:
            workload = await self.client.find(
                object_path(kind.api, kind.plural, name.namespace, name.name), accept=METADATA
            )
            if workload is None:
                return None
            return _Regarding(ref=ref, uid=workload["metadata"]["uid"], api=kind.api)
        owner = lack.sample.owner
        if owner is None or name.kind == "Pod":
            return _Regarding(ref=ref, uid=lack.sample.uid, api="v1")
        return _Regarding(ref=replace(ref, kind=owner.kind), uid=owner.uid, api=owner.api)

    def _show(self) -> None:
        pods = sum(lack.pods for lack in self._lacking.values())
        self.metrics.pods_without_sidecar.set(pods + self._left_out)
        self.metrics.workloads_without_sidecar.clear()
        for reason, number in self._shortfalls.reasons().items():
            self.metrics.workloads_without_sidecar.labels(reason).set(number)
