"""AIPolicy: what the workloads of one namespace may do."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from tidegate_operator.api.conditions import ENFORCED
from tidegate_operator.api.fields import APIGroup, Items, KindName, ObjectName
from tidegate_operator.api.kind import (
    ACCEPTED,
    AGE,
    DESIRED,
    MODE,
    PROGRAMMED,
    READY,
    REASON,
    RESOLVED,
    SUSPENDED,
    Column,
    Kind,
    Scope,
)
from tidegate_operator.api.rules import PolicyRules, PoolReference
from tidegate_operator.api.section import Rule, Section
from tidegate_operator.api.selectors import LabelSelector
from tidegate_operator.api.status import AIPolicyStatus
from tidegate_operator.api.workloads import TARGETS, qualified_kind

if TYPE_CHECKING:
    from collections.abc import Mapping


class TargetKind(StrEnum):
    """Kinds of objects that a policy can be attached to and that are no workloads (of which there is a table)."""

    NAMESPACE = "Namespace"
    SERVICE_ACCOUNT = "ServiceAccount"


OWN_GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {kind.value: "" for kind in TargetKind} | {kind.name: kind.group for kind in TARGETS.values()}
)
"""The kinds that need no group, and the group that they have."""

_KNOWN: Final = ", ".join(OWN_GROUPS)


class TargetReference(Section):
    """An object in the policy's namespace whose pods the policy applies to."""

    group: APIGroup = ""
    """API group of the object, such as argoproj.io; pods of other groups' objects opt in on their template. Default: the kind's own."""
    kind: KindName
    """Kind of the object: Namespace (all pods of the namespace), ServiceAccount (all pods that run as it), Deployment, StatefulSet, DaemonSet, Job or CronJob (their own pods); with a group, any kind that owns pods."""
    name: ObjectName
    """Name of the object; of a Namespace, the policy's own."""

    rules: ClassVar[tuple[Rule[TargetReference], ...]] = (
        Rule(
            holds=lambda self: self.group != "" or self.kind in OWN_GROUPS,
            cel=f"(has(self.group) && self.group != '') || self.kind in {[*OWN_GROUPS]}",
            message=f"without a group the kind is one of {_KNOWN}; an object of another API group names that too",
            field="kind",
        ),
    )

    @property
    def qualified_kind(self) -> str:
        """The kind, with its group where it has another one than Kubernetes' own kind of that name: `Rollout.argoproj.io`."""
        return qualified_kind(self.group, self.kind)


class AIPolicySpec(PolicyRules):
    """What the calls of the chosen workloads may do. Exactly one of targetRefs and selector says which they are."""

    target_refs: (
        Annotated[
            tuple[TargetReference, ...], Items(min_items=1, max_items=16, keys=("group", "kind", "name"))
        ]
        | None
    ) = None
    """Objects whose pods the policy applies to. Among policies that set the same thing, a workload's goes before a ServiceAccount's, that before a selector's, that before a Namespace's."""
    selector: LabelSelector | None = None
    """Labels of the pods that the policy applies to."""
    pool_refs: (
        Annotated[tuple[PoolReference, ...], Items(min_items=1, max_items=16, keys=("name", "namespace"))]
        | None
    ) = None
    """Where the models come from; the first pool that has a model serves it. The most specific policy decides."""

    rules: ClassVar[tuple[Rule[AIPolicySpec], ...]] = (
        Rule(
            holds=lambda self: (self.target_refs is None) != (self.selector is None),
            cel="has(self.targetRefs) != has(self.selector)",
            message="exactly one of targetRefs and selector says which workloads the policy applies to",
        ),
    )


_TARGETS_COLUMN: Final = Column(
    name="Targets",
    path=".status.appliesTo",
    description="What the policy applies to: its targets, or the labels of pods.",
)
AI_POLICY: Final = Kind(
    name="AIPolicy",
    plural="aipolicies",
    short_name="aip",
    scope=Scope.NAMESPACED,
    description="What the AI calls of workloads in one namespace may do: models, pools, limits, identity.",
    spec=AIPolicySpec,
    status=AIPolicyStatus,
    conditions=ENFORCED,
    columns=(
        READY,
        PROGRAMMED,
        DESIRED,
        _TARGETS_COLUMN,
        AGE,
        REASON,
        MODE,
        SUSPENDED,
        ACCEPTED,
        RESOLVED,
    ),
)
