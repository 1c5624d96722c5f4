"""Counts the pods of targets none of whose pods has a sidecar: for the holder of the Lease alone, which writes conditions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from tidegate_operator.api.aipolicy import TargetKind
from tidegate_operator.cluster.client import METADATA_LIST, ClusterClient, object_path
from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.index.pods import INJECTED_LABEL, NOT_ENDED
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

MAX_PER_ROUND: Final = 64
"""Namespaces that are counted again in one round; the others have their turn in the next."""

_BARE: Final = f"{INJECTED_LABEL}!=true"


@dataclass(slots=True)
class BarePodCounter:
    """Asks about new targets at once, about all of them now and then.

    Attributes:
        client: is asked.
        informer: policies, and the pods that have a sidecar.
        may_write: whether anybody needs the answers.
        on_answer: called when a count has changed.
        period_ms: see settings, `owners_ms`.
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
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

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
        again_at = loop.time() + self.period_ms / 1000
        while True:
            try:
                async with asyncio.timeout_at(again_at):
                    await self._woken.wait()
            except TimeoutError:
                again_at = loop.time() + self.period_ms / 1000
                await self.look(self._due(self._asked()))
                continue
            self._woken.clear()
            asked = self._asked()
            if not await self.look(asked - self.counts.keys()):
                await asyncio.sleep(self.retry_ms / 1000)
                self._woken.set()

    def _asked(self) -> frozenset[Place]:
        """Targets without a governed pod; the counts of others are forgotten, and all of them by a replica that does not lead."""
        held = self.informer.objects.held.values()
        asked = questions(held, self.governed()) if self.may_write() else frozenset()
        for place in self.counts.keys() - asked:
            del self.counts[place]
        return asked

    def _due(self, asked: Collection[Place]) -> list[Place]:
        """Those whose last count is longest ago: an answer goes to the end of `counts`."""
        namespaces = dict.fromkeys(place.namespace for place in self.counts)
        due = {*[*namespaces][:MAX_PER_ROUND]}
        return [place for place in asked if place.namespace in due]

    async def look(self, places: Collection[Place]) -> bool:
        """Count these; False when the API server did not answer."""
        before = dict(self.counts)
        is_answered = True
        for namespace in sorted({place.namespace for place in places}):
            try:
                await self._count(namespace, [place for place in places if place.namespace == namespace])
            except ClusterError as error:
                _log.log(error.level, "pods of namespace %s could not be counted: %s", namespace, error)
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
            async for page in self.client.pages(path, labels=_BARE, fields=fields, accept=METADATA_LIST):
                tally.take(page)
            self._answer({place: tally.counts[whole]})
        others = [place for place in places if place not in by_account]
        if not others:
            return
        tally = Tally(others, selectors(self.informer.objects.held.values()))
        async for page in self.client.pages(path, labels=_BARE, fields=NOT_ENDED, accept=METADATA_LIST):
            tally.take(page)
        self._answer(tally.counts)

    def _answer(self, counts: Mapping[Place, int]) -> None:
        for place, count in counts.items():
            self.counts.pop(place, None)
            self.counts[place] = count
