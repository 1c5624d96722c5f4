"""Who has asked for sidecars and has pods without one (PURE): workloads from before the install, and pods that slipped past.

A whole cluster is counted page by page, by metadata alone, and nothing of a page is kept but a number for each workload that
lacks something: the annotation that asks for a sidecar cannot be selected by, and to hold all pods would take too much memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from tidegate_operator.api.workloads import WORKLOADS, NameEnding, maker_by_name
from tidegate_operator.index.pods import Owner, controller_of, is_injected
from tidegate_operator.index.snapshot import Namespace, Workload
from tidegate_operator.inject.configuration import SYSTEM_NAMESPACES
from tidegate_operator.inject.document import Document, labels_of
from tidegate_operator.inject.optin import Choice, choice_of

MAX_WORKLOADS: Final = 20_000
"""Workloads that are kept apart in one count; each is some five hundred bytes."""

_NUMBERING: Final = frozenset(
    kind.maker for kind in WORKLOADS.values() if kind.name_ending is NameEnding.NUMBER
)


class WorkloadName(NamedTuple):
    """A workload by name."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Sample(NamedTuple):
    """The pod of a workload that has been without a sidecar for longest.

    Attributes:
        created: as the API server writes it; texts of this form are in the order of time.
        owner: what made it; None: nobody.
    """

    created: str
    name: str
    uid: str
    owner: Owner | None


@dataclass(slots=True)
class Lack:
    """What a workload lacks.

    Attributes:
        pods: without a sidecar.
        sample: the oldest of them.
    """

    pods: int
    sample: Sample


class Count:
    """One count of a cluster. Workloads are taken first: their word is asked for when their pods come."""

    def __init__(
        self, namespaces: Iterable[Namespace], excluded: Iterable[str], *, most: int = MAX_WORKLOADS
    ) -> None:
        """Nothing is counted yet.

        Args:
            namespaces: all of them.
            excluded: names of those in which nothing is ever injected, besides the cluster's own.
            most: workloads that are kept apart.
        """
        self._most = most
        self._left_out = {*excluded, *SYSTEM_NAMESPACES}
        self.asking = frozenset(
            namespace.name
            for namespace in namespaces
            if choice_of({"metadata": {"labels": namespace.labels}}) is Choice.ENABLED
        )
        """Namespaces that ask for sidecars."""
        self._words: dict[WorkloadName, Choice] = {}
        self.with_asking_workloads: set[str] = set()
        """Namespaces with workloads that ask for sidecars: elsewhere nobody has to know what a pod belongs to."""
        self._makers: set[WorkloadName] = set()
        """Those that number what they make."""
        self.lacking: dict[WorkloadName, Lack] = {}
        self.pods = 0
        """Without a sidecar that was asked for."""
        self.left_out = 0
        """Those of them whose workloads were too many to be kept apart."""

    def take_workloads(self, kind: str, documents: Iterable[Document]) -> None:
        """A page of workloads, as metadata."""
        for document in documents:
            metadata, choice = document["metadata"], choice_of(document)
            name = WorkloadName(metadata["namespace"], kind, metadata["name"])
            if isinstance(choice, Choice):
                self._words[name] = choice
            if choice is Choice.ENABLED:
                self.with_asking_workloads.add(name.namespace)
            if kind in _NUMBERING:
                self._makers.add(name)

    def take_pods(self, documents: Iterable[Document]) -> None:
        """A page of pods that have not ended, as metadata."""
        for document in documents:
            metadata, choice = document["metadata"], choice_of(document)
            namespace = str(metadata["namespace"])
            if choice is None:
                may_ask = namespace in self.asking or namespace in self.with_asking_workloads
            else:
                may_ask = choice is Choice.ENABLED
            if not may_ask or namespace in self._left_out or is_injected(document):
                continue
            if "deletionTimestamp" in metadata:
                continue
            owner = controller_of(document)
            name = self._workload(document, owner)
            if choice is None and not self._asks_for(name):
                continue
            uid, created = str(metadata["uid"]), str(metadata["creationTimestamp"])
            self._add(name, Sample(created, str(metadata["name"]), uid, owner))

    def _asks_for(self, workload: WorkloadName) -> bool:
        """Whether pods that say nothing get a sidecar; the workload's word goes before its namespace's."""
        word = self._words.get(workload)
        return word is Choice.ENABLED if word is not None else workload.namespace in self.asking

    def _add(self, name: WorkloadName, pod: Sample) -> None:
        self.pods += 1
        lack = self.lacking.get(name)
        if lack is not None:
            lack.pods += 1
            lack.sample = min(lack.sample, pod, key=lambda sample: (sample.created, sample.name))
        elif len(self.lacking) < self._most:
            self.lacking[name] = Lack(pods=1, sample=pod)
        else:
            self.left_out += 1

    def _workload(self, pod: Document, owner: Owner | None) -> WorkloadName:
        """What a pod belongs to. Of the maker of its maker only the name is there."""
        namespace = str(pod["metadata"]["namespace"])
        if owner is None or owner.kind == "Node":
            return WorkloadName(namespace, "Pod", str(pod["metadata"]["name"]))
        own = WorkloadName(namespace, owner.qualified_kind, owner.name)
        above = maker_by_name(own.kind, own.name, labels_of(pod))
        if above is None:
            return own
        maker = WorkloadName(namespace, *above)
        # people number their own Jobs too
        return own if maker.kind in _NUMBERING and maker not in self._makers else maker


def injected_pods(by_workload: Mapping[Workload, Iterable[object]]) -> dict[WorkloadName, int]:
    """How many pods of each workload have their sidecar."""
    counts: dict[WorkloadName, int] = {}
    for workload, pods in by_workload.items():
        name = WorkloadName(workload.namespace, workload.kind, workload.name)
        counts[name] = counts.get(name, 0) + sum(1 for _ in pods)
    return counts
