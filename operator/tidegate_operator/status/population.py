"""Pods that live without a sidecar: a policy whose targets have nothing else is enforced by nobody.

The index knows injected pods alone. About a target that has none of these it is asked whether it has others: `questions`
says about which, `Tally` counts a namespace's pods, page by page, by metadata alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tidegate_operator.api.aipolicy import AIPolicySpec, TargetKind
from tidegate_operator.api.selectors import LabelSelector
from tidegate_operator.api.stored import Stored
from tidegate_operator.api.workloads import maker_by_name
from tidegate_operator.index.objects import Held
from tidegate_operator.index.pods import controller_of, is_injected, template_labels
from tidegate_operator.index.snapshot import Workload
from tidegate_policy.model import ObjectRef

PODS = "pods"
"""Kind of a `Place` that a policy's own selector describes."""


class Place(NamedTuple):
    """Where pods are governed by a policy: a target, or what its selector chooses, which has the policy's name."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"the selector of {self.name}" if self.kind == PODS else f"{self.kind} {self.name}"


Governed = Mapping[Place, int]
"""Pods with a sidecar in each place."""


def places_of(ref: ObjectRef, stored: Stored[Any]) -> tuple[Place, ...]:
    """Where a policy governs pods; those of a cluster-scoped policy are not asked for: it waits for whoever opts in."""
    spec = stored.spec
    if not isinstance(spec, AIPolicySpec):
        return ()
    own = ref.namespace
    if spec.selector is not None:
        return (Place(own, PODS, ref.name),)
    return tuple(
        Place(own, target.qualified_kind, target.name)
        for target in spec.target_refs or ()
        if target.qualified_kind != TargetKind.NAMESPACE or target.name == own
    )


def governed(held: Iterable[Held], pods: Mapping[Workload, int]) -> Governed:
    """Pods with a sidecar, for each place that a policy names."""
    found: dict[Place, int] = {}
    for workload, count in pods.items():
        for kind, name in (
            (workload.kind, workload.name),
            (TargetKind.SERVICE_ACCOUNT.value, workload.service_account),
            (TargetKind.NAMESPACE.value, workload.namespace),
        ):
            place = Place(workload.namespace, kind, name)
            found[place] = found.get(place, 0) + count
    for place, selector in selectors(held).items():
        found[place] = sum(
            count
            for workload, count in pods.items()
            if workload.namespace == place.namespace and selector.matches(workload.labels)
        )
    return found


def selectors(held: Iterable[Held]) -> dict[Place, LabelSelector]:
    """The places that labels describe."""
    return {
        Place(it.ref.namespace, PODS, it.ref.name): it.stored.spec.selector
        for it in held
        if isinstance(it.stored.spec, AIPolicySpec) and it.stored.spec.selector is not None
    }


def questions(held: Iterable[Held], counts: Governed) -> frozenset[Place]:
    """Places without a governed pod."""
    return frozenset(
        place for it in held for place in places_of(it.ref, it.stored) if not counts.get(place, 0)
    )


class Tally:
    """Counts the pods of one namespace that have no sidecar, in each of some places."""

    def __init__(self, places: Iterable[Place], chosen: Mapping[Place, LabelSelector]) -> None:
        """No pod has been looked at; `chosen` has the selectors of those places that have one."""
        self.counts = dict.fromkeys(places, 0)
        self._chosen = chosen

    def take(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """A page of pods that have not ended, as metadata."""
        for document in documents:
            if is_injected(document) or "deletionTimestamp" in document["metadata"]:
                continue
            for place in self._places_of(document):
                if place in self.counts:
                    self.counts[place] += 1

    def _places_of(self, document: Mapping[str, Any]) -> Iterator[Place]:
        metadata = document["metadata"]
        namespace = str(metadata["namespace"])
        yield Place(namespace, TargetKind.NAMESPACE.value, namespace)
        for kind, name in _makers(document):
            yield Place(namespace, kind, name)
        labels = template_labels(metadata.get("labels") or {})
        for place, selector in self._chosen.items():
            if place.namespace == namespace and selector.matches(labels):
                yield place


def _makers(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What made a pod, and what made that: of the latter only the name is there."""
    owner = controller_of(document)
    if owner is None:
        return
    kind, name = owner.qualified_kind, owner.name
    yield kind, name
    above = maker_by_name(kind, name, document["metadata"].get("labels") or {})
    if above is not None:
        yield above
