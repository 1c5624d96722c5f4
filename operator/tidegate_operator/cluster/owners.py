"""What cannot be seen in pods: who made the object that made a pod, and whether a named target without pods exists.

Both are asked for by name, when the question comes up. Watching all ReplicaSets, Jobs and Deployments of a cluster
would answer sooner and cost thousands of objects for the sake of a few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from tidegate_operator.api.workloads import WORKLOADS
from tidegate_operator.cluster.client import METADATA, ClusterClient, object_path
from tidegate_operator.index.pods import Owner, controller_of, template_labels
from tidegate_operator.index.snapshot import Workload

AT_ONCE: Final = 4
MAX_PER_ROUND: Final = 64
"""Targets that are looked up in one round; the others have their turn in the next."""


class TargetName(NamedTuple):
    """A target by name."""

    namespace: str
    kind: str
    name: str


class Owners:
    """Answers, through the API server."""

    def __init__(self, client: ClusterClient) -> None:
        """Nothing has been asked yet."""
        self._client = client
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._found: dict[TargetName, Workload | None] = {}

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """The targets that exist, of those that were looked for in the last rounds."""
        return tuple(workload for workload in self._found.values() if workload is not None)

    async def controller(self, namespace: str, owner: Owner) -> Owner | None:
        """What made an owner; None when nothing did, or when it is gone.

        Raises:
            ClusterError: it could not be asked.
        """
        kind = WORKLOADS[owner.kind]
        async with self._turns:
            document = await self._client.find(
                object_path(kind.api, kind.plural, namespace, owner.name), accept=METADATA
            )
        if document is None or document["metadata"]["uid"] != owner.uid:
            return None
        return controller_of(document)

    def knows(self, name: TargetName) -> bool:
        """Whether a target has been looked for."""
        return name in self._found

    async def look_for_new(self, names: Collection[TargetName]) -> bool:
        """Look up the targets that have not been looked for; whether there are any. The others are forgotten.

        Raises:
            ClusterError: one of them could not be asked for; those before it are known.
        """
        gone = self._found.keys() - set(names)
        for name in gone:
            del self._found[name]
        new = sorted(name for name in names if name not in self._found)
        for name in new:
            self._found[name] = await self._look_up(name)
        return bool(new or gone)

    async def look_again(self) -> bool:
        """Look up targets that are known, those first whose last look is longest ago; whether one has changed.

        Raises:
            ClusterError: as above.
        """
        is_changed = False
        for name in [*self._found][:MAX_PER_ROUND]:
            workload = await self._look_up(name)
            if name in self._found:
                is_changed |= self._found.pop(name) != workload
                self._found[name] = workload
        return is_changed

    async def _look_up(self, name: TargetName) -> Workload | None:
        kind = WORKLOADS[name.kind]
        async with self._turns:
            document = await self._client.find(object_path(kind.api, kind.plural, name.namespace, name.name))
        if document is None:
            return None
        template = _at(document, kind.template)
        labels = (template.get("metadata") or {}).get("labels") or {}
        return Workload(
            namespace=name.namespace,
            kind=name.kind,
            name=name.name,
            labels=template_labels(labels),
            service_account=str((template.get("spec") or {}).get("serviceAccountName") or "default"),
        )


def _at(document: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for part in path:
        document = document.get(part) or {}
    return document
