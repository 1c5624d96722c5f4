"""Snapshot: everything that a compile sees, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tidegate_operator.api.section import Section
from tidegate_operator.api.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate_operator.api.kind import Kind
    from tidegate_policy.model import ObjectRef

__all__ = ["Namespace", "Snapshot", "Stored", "Workload", "by_kind"]

SpecT = TypeVar("SpecT", bound=Section)


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace and its labels."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Something that has pods: what a sidecar is told is decided for this.

    `labels` are those of the pod template, since selectors and injected pods speak of pods.
    """

    namespace: str
    kind: str
    """Deployment, StatefulSet, DaemonSet, Job, CronJob or Pod; another group's kind as kubectl has it: `Rollout.argoproj.io`."""
    name: str
    # a mapping has no hash, and a workload is looked up by its names anyway
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    service_account: str = "default"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All objects at one moment, in any order: the order changes nothing."""

    stored: Mapping[str, tuple[Stored[Any], ...]] = field(default_factory=dict)
    """Our objects by the name of their kind; `of` gives those of one kind with their type."""
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()

    def of(self, kind: Kind[SpecT]) -> tuple[Stored[SpecT], ...]:
        """The objects of a kind."""
        return self.stored.get(kind.name, ())

    @property
    def in_force(self) -> frozenset[ObjectRef]:
        """The objects that have a valid form."""
        return frozenset(
            stored.ref for objects in self.stored.values() for stored in objects if stored.spec is not None
        )


def by_kind(objects: Iterable[Stored[Any]]) -> dict[str, tuple[Stored[Any], ...]]:
    """Objects as a snapshot has them; those of one kind stay in their order."""
    found: dict[str, list[Stored[Any]]] = {}
    for stored in objects:
        found.setdefault(stored.ref.kind, []).append(stored)
    return {kind: tuple(each) for kind, each in found.items()}
