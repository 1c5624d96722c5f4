"""Counts the pods of targets none of whose pods has a sidecar: for the holder of the Lease alone, which writes conditions.

A namespace is counted when a policy names a new target in it and when the watch tells of a change there, page by page, and nothing is kept
but a number for each target. Everything is counted again now and then: the net under the watch.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate_operator.api.aipolicy import TargetKind
from tidegate_operator.cluster.client import METADATA_LIST, ClusterClient, object_path
from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.coverage.recounts import Recounts
from tidegate_operator.handlers.bare_pod_watch import BARE
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.index.pods import NOT_ENDED
from tidegate_operator.status.population import (
    Governed,
    Place,
    Tally,
    governed,
    places_of,
    questions,
    selectors,
)
from tidegate_policy.model import ObjectRef

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class BarePodCounter:
    """Asks about new targets at once, and again after a change.

    Attributes:
        client: is asked.
        informer: policies, and the pods that have a sidecar.
        may_write: whether anybody needs the answers.
        on_answer: called when a count has changed.
        period_ms: see settings, `relist_ms`.
        retry_ms: pause after a question that was not answered.
        counts: pods without a sidecar, of each target that has no other and has been asked about.
    """

    client: ClusterClient
    informer: Informer
    may_write: Callable[[], bool]
    on_answer: Callable[[], None]
    period_ms: int
    retry_ms: int
    counts: dict[Place, int] = field(default_factory=dict)
    _counted: frozenset[str] = frozenset()
    """Namespaces with targets that are counted."""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _recounts: Recounts = field(default_factory=Recounts)

    def pod_changed(self, pod: Mapping[str, Any]) -> None:
        """Count where it is again, where anybody asks."""
        namespace = str(pod["metadata"]["namespace"])
        if namespace in self._counted and self._recounts.changed((namespace,)):
            self._woken.set()

    def anything_changed(self) -> None:
        """Count all of it again."""
        if self._recounts.changed(self._counted):
            self._woken.set()

    def wake(self) -> None:
        """There may be new targets, or another holder of the Lease."""
        self._woken.set()

    def governed(self) -> Governed:
        """Pods with a sidecar, of each target."""
        pods = {workload: len(pods) for workload, pods in self.informer.pods.by_workload().items()}
        return governed(self.informer.objects.held.values(), pods)

    def undecided(self, counts: Governed) -> frozenset[ObjectRef]:
        """Policies of whose targets it is not known whether they have pods."""
        return frozenset(
            held.ref
            for held in self.informer.objects.held.values()
            if any(
                not counts.get(place, 0) and place not in self.counts
                for place in places_of(held.ref, held.stored)
            )
        )

    async def run(self) -> None:
        """Count, for as long as the process lives."""
        loop = asyncio.get_running_loop()
        again_at = self._next_s()
        while True:
            due_at = self._recounts.due_s()
            try:
                async with asyncio.timeout_at(again_at if due_at is None else min(again_at, due_at)):
                    await self._woken.wait()
            except TimeoutError:
                if loop.time() >= again_at:
                    again_at = self._next_s()
                    self.anything_changed()
            self._woken.clear()
            if not await self.count_again(loop.time()):
                await asyncio.sleep(self.retry_ms / 1000)
                self._woken.set()

    def _next_s(self) -> float:
        """When all of it is counted again; replicas and clusters that start together must not ask together for ever."""
        period_s = self.period_ms * random.uniform(0.8, 1.0) / 1000  # noqa: S311 - no secret
        return asyncio.get_running_loop().time() + period_s

    async def count_again(self, now_s: float) -> bool:
        """Count new targets, and where something has changed; False when the API server did not answer."""
        asked = self._asked()
        self._counted = frozenset(place.namespace for place in asked)
        changed = self._recounts.take(self._counted, now_s)
        return await self.look(
            [place for place in asked if place.namespace in changed or place not in self.counts]
        )

    def _asked(self) -> frozenset[Place]:
        """Targets without a governed pod; the counts of others are forgotten, and all of them by a replica that does not lead."""
        held = self.informer.objects.held.values()
        asked = questions(held, self.governed()) if self.may_write() else frozenset()
        for place in self.counts.keys() - asked:
            del self.counts[place]
        return asked

    async def look(self, places: Collection[Place]) -> bool:
        """Count these; False when the API server did not answer."""
        before = dict(self.counts)
        is_answered, loop = True, asyncio.get_running_loop()
        for namespace in sorted({place.namespace for place in places}):
            begun_s = loop.time()
            try:
                await self._count(namespace, [place for place in places if place.namespace == namespace])
                self._recounts.counted(namespace, loop.time() - begun_s, loop.time())
            except ClusterError as error:
                _log.log(error.level, "pods of namespace %s could not be counted: %s", namespace, error)
                self._recounts.changed((namespace,))
                is_answered = False
        if self.counts != before:
            self.on_answer()
        return is_answered

    async def _count(self, namespace: str, places: Collection[Place]) -> None:
        # a pod's metadata do not tell its ServiceAccount, but the API server can choose by it
        by_account = [place for place in places if place.kind == TargetKind.SERVICE_ACCOUNT.value]
        path = object_path("v1", "pods", namespace)
        for place in by_account:
            whole = Place(namespace, TargetKind.NAMESPACE.value, namespace)
            tally = Tally((whole,), {})
            fields = f"{NOT_ENDED},spec.serviceAccountName={place.name}"
            async for page in self.client.pages(path, labels=BARE, fields=fields, accept=METADATA_LIST):
                tally.take(page)
            self.counts[place] = tally.counts[whole]
        others = [place for place in places if place not in by_account]
        if not others:
            return
        tally = Tally(others, selectors(self.informer.objects.held.values()))
        async for page in self.client.pages(path, labels=BARE, fields=NOT_ENDED, accept=METADATA_LIST):
            tally.take(page)
        self.counts |= tally.counts
