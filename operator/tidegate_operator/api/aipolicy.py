"""AIPolicy: what the workloads of one namespace may do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from tidegate_operator.api.fields import Items, ObjectName
from tidegate_operator.api.rules import PolicyRules, PoolReference
from tidegate_operator.api.section import Rule, Section
from tidegate_operator.api.selectors import LabelSelector


class TargetKind(StrEnum):
    """Kinds of objects that a policy can be attached to."""

    NAMESPACE = "Namespace"
    SERVICE_ACCOUNT = "ServiceAccount"
    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    JOB = "Job"
    CRON_JOB = "CronJob"


class TargetReference(Section):
    """An object in the policy's namespace whose pods the policy applies to."""

    kind: TargetKind
    """Kind of the object. Namespace: all pods of the namespace. ServiceAccount: all pods that run as it. The others: their own pods."""
    name: ObjectName
    """Name of the object; of a Namespace, the policy's own."""


class AIPolicySpec(PolicyRules):
    """What the calls of the chosen workloads may do. Exactly one of targetRefs and selector says which they are."""

    target_refs: (
        Annotated[tuple[TargetReference, ...], Items(min_items=1, max_items=16, keys=("kind", "name"))] | None
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
