"""Snapshot: everything that a compile sees, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate_operator.api.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.api.aipolicy import AIPolicySpec
    from tidegate_operator.api.clusteraipolicy import ClusterAIPolicySpec
    from tidegate_operator.api.providercredential import ProviderCredentialSpec
    from tidegate_operator.api.providerpool import ProviderPoolSpec

__all__ = ["Namespace", "Snapshot", "Stored", "Workload"]


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

    pools: tuple[Stored[ProviderPoolSpec], ...] = ()
    policies: tuple[Stored[AIPolicySpec], ...] = ()
    cluster_policies: tuple[Stored[ClusterAIPolicySpec], ...] = ()
    credentials: tuple[Stored[ProviderCredentialSpec], ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()
