"""The kinds of Kubernetes' own workloads: one table, which everything that knows them is made from.

A kind that is added here can be a target, is looked up, counted and followed by the injector, and the operator has the rights
for it. What the injector is asked about stands in `files` of the chart, so `make chart rbac crds` writes them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEMPLATE: Final = ("spec", "template")
_TEMPLATE_HASH: Final = "pod-template-hash"


class Renewal(StrEnum):
    """How pods that run come to be replaced by new ones."""

    ROLLOUT = "Rollout"
    """`kubectl rollout restart` replaces them."""
    NEXT_RUN = "NextRun"
    """They end, and the next run has new ones."""
    RECREATE = "Recreate"
    """Nothing does, short of creating the workload anew."""
    OWNER = "Owner"
    """Whatever owns the pods makes new ones when they are deleted."""


class NameEnding(StrEnum):
    """What a controller puts behind its own name, for the name of what it makes."""

    TEMPLATE_HASH = "TemplateHash"
    NUMBER = "Number"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadKind:
    """A kind of objects that have pods.

    Attributes:
        group: API group; another group's kind of the same name is something else.
        plural: the resource.
        template: path of the pod template.
        webhook: entry of the webhook configuration by which workloads of the kind are followed; empty for kinds that people do
            not write: they are no targets either.
        renewal: how its pods are replaced.
        maker: kind that usually makes objects of this one, and is the workload then.
        name_ending: how the maker names them.
        has_fixed_template: the pod template cannot be changed later.
    """

    name: str
    group: str
    plural: str
    webhook: str
    renewal: Renewal
    template: tuple[str, ...] = _TEMPLATE
    maker: str = ""
    name_ending: NameEnding | None = None
    has_fixed_template: bool = False

    @property
    def api(self) -> str:
        """The apiVersion."""
        return f"{self.group}/v1"

    @property
    def is_target(self) -> bool:
        """Whether policies can name it, and people opt in with it."""
        return self.webhook != ""


WORKLOADS: Final[Mapping[str, WorkloadKind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            WorkloadKind(
                name="Deployment",
                group="apps",
                plural="deployments",
                webhook="workloads",
                renewal=Renewal.ROLLOUT,
            ),
            WorkloadKind(
                name="StatefulSet",
                group="apps",
                plural="statefulsets",
                webhook="workloads",
                renewal=Renewal.ROLLOUT,
            ),
            WorkloadKind(
                name="DaemonSet",
                group="apps",
                plural="daemonsets",
                webhook="workloads",
                renewal=Renewal.ROLLOUT,
            ),
            WorkloadKind(
                name="ReplicaSet",
                group="apps",
                plural="replicasets",
                webhook="",
                renewal=Renewal.OWNER,
                maker="Deployment",
                name_ending=NameEnding.TEMPLATE_HASH,
            ),
            WorkloadKind(
                name="Job",
                group="batch",
                plural="jobs",
                webhook="new-jobs",
                renewal=Renewal.RECREATE,
                maker="CronJob",
                name_ending=NameEnding.NUMBER,
                has_fixed_template=True,
            ),
            WorkloadKind(
                name="CronJob",
                group="batch",
                plural="cronjobs",
                webhook="cronjobs",
                renewal=Renewal.NEXT_RUN,
                template=("spec", "jobTemplate", *_TEMPLATE),
            ),
        )
    }
)

TARGETS: Final[Mapping[str, WorkloadKind]] = MappingProxyType(
    {name: kind for name, kind in WORKLOADS.items() if kind.is_target}
)
"""Those that policies can name."""

TOPMOST: Final[Mapping[str, WorkloadKind]] = MappingProxyType(
    {name: kind for name, kind in TARGETS.items() if not kind.maker}
)
"""Those of them that no other one makes."""


def qualified_kind(group: str, kind: str) -> str:
    """The kind, with its group where it is neither Kubernetes' own nor of the core: `StatefulSet.apps.kruise.io`."""
    own = WORKLOADS.get(kind)
    return kind if not group or (own is not None and own.group == group) else f"{kind}.{group}"


def maker_by_name(kind: str, name: str, pod_labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Kind and name of what made a pod's owner, as its name tells; None where it tells nothing.

    Names are made by rules that stand fast. A Job that a person has made may be named by the same rule: whether the maker
    exists is for the caller to know.
    """
    made = WORKLOADS.get(kind)
    if made is None or not made.maker:
        return None
    above, _, ending = name.rpartition("-")
    if made.name_ending is NameEnding.NUMBER:
        is_made = ending.isdigit()
    else:
        is_made = ending != "" and ending == pod_labels.get(_TEMPLATE_HASH)
    return (made.maker, above) if is_made else None
