"""Finds out what pods belong to, and whether the targets of policies exist that no pod shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidegate_operator.api.aipolicy import AIPolicySpec
from tidegate_operator.api.workloads import TARGETS
from tidegate_operator.cluster.errors import ClusterError
from tidegate_operator.cluster.owners import Owners, TargetName
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.index.objects import Change
from tidegate_operator.index.pods import Owner, Pods
from tidegate_policy.model import ObjectRef

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OwnerResolver:
    """Asks for owners.

    Attributes:
        informer: the pods that have owners, and takes the answers.
        owners: asks.
        compiled: set after each compile: there may be new targets.
        period_ms: see settings, `owners_ms`.
        retry_ms: pause after a question that was not answered.
    """

    informer: Informer
    owners: Owners
    compiled: asyncio.Event
    period_ms: int
    retry_ms: int

    async def follow_pods(self) -> None:
        """Look up the owners of new pods, for as long as the process lives."""
        while True:
            await self.informer.pods_changed.wait()
            self.informer.pods_changed.clear()
            await self.settle()

    async def settle(self, pods: Pods | None = None) -> None:
        """Return when the workload of every pod is known: of those that are worked from, or of `pods`."""
        pods = self.informer.pods if pods is None else pods
        while unknown := pods.unknown_owners():
            async with asyncio.TaskGroup() as questions:
                answers = [questions.create_task(self._ask(pods, space, owner)) for space, owner in unknown]
            if not all(answer.result() for answer in answers):
                await asyncio.sleep(self.retry_ms / 1000)
            self.informer.compiling.mark(Change.CONTENT)

    async def _ask(self, pods: Pods, namespace: str, owner: Owner) -> bool:
        try:
            above = await self.owners.controller(namespace, owner)
        except ClusterError as error:
            _log.log(error.level, "the owner of %s %s/%s: %s", owner.kind, namespace, owner.name, error)
            return False
        pods.learn(owner.uid, above)
        return True

    async def follow_targets(self) -> None:
        """Look for named targets that have no pod: for new ones soon, for all of them now and then."""
        loop = asyncio.get_running_loop()
        again_at = loop.time() + self.period_ms / 1000
        while True:
            try:
                async with asyncio.timeout_at(again_at):
                    await self.compiled.wait()
            except TimeoutError:
                again_at = loop.time() + self.period_ms / 1000
                await self._look(self.owners.look_again)
                continue
            self.compiled.clear()
            if not await self.look_for_new():
                await asyncio.sleep(self.retry_ms / 1000)
                self.compiled.set()

    async def look_for_new(self) -> bool:
        """Look for targets that have not been looked for; False when the API server did not answer."""
        with_pods = {
            (workload.namespace, workload.kind, workload.name)
            for workload in self.informer.pods.by_workload()
        }
        names = {name for names in self._targets().values() for name in names if name not in with_pods}
        return await self._look(lambda: self.owners.look_for_new(names))

    def undecided(self) -> frozenset[ObjectRef]:
        """Policies of which nobody can say yet whether their targets exist."""
        with_pods = {
            (workload.namespace, workload.kind, workload.name)
            for workload in self.informer.pods.by_workload()
        }
        return frozenset(
            ref
            for ref, names in self._targets().items()
            if any(name not in with_pods and not self.owners.knows(name) for name in names)
        )

    async def _look(self, look: Callable[[], Awaitable[bool]]) -> bool:
        try:
            is_changed = await look()
        except ClusterError as error:
            _log.log(error.level, "targets of policies could not be looked for: %s", error)
            return False
        if is_changed:
            self.informer.compiling.mark(Change.CONTENT)
        return True

    def _targets(self) -> dict[ObjectRef, tuple[TargetName, ...]]:
        targets = {}
        for held in self.informer.objects.held.values():
            spec = held.stored.spec
            if isinstance(spec, AIPolicySpec):
                targets[held.ref] = tuple(
                    TargetName(held.ref.namespace, target.qualified_kind, target.name)
                    for target in spec.target_refs or ()
                    if target.qualified_kind in TARGETS
                )
        return targets
