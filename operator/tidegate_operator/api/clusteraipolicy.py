"""ClusterAIPolicy: the platform's floor, which no policy in a namespace loosens."""

from __future__ import annotations

from typing import Annotated, Final

from tidegate_operator.api.conditions import ENFORCED
from tidegate_operator.api.fields import Items
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
from tidegate_operator.api.rules import ClusterPoolReference, PolicyRules
from tidegate_operator.api.selectors import LabelSelector
from tidegate_operator.api.status import ClusterAIPolicyStatus


class ClusterAIPolicySpec(PolicyRules):
    """What the calls of all workloads in the chosen namespaces may do."""

    namespace_selector: LabelSelector
    """Labels of the namespaces that the policy applies to; `{}` is every namespace."""
    pool_refs: (
        Annotated[
            tuple[ClusterPoolReference, ...], Items(min_items=1, max_items=16, keys=("name", "namespace"))
        ]
        | None
    ) = None
    """Where the models come from, unless a policy in the namespace says otherwise; the first pool that has a model serves it."""


_NAMESPACES_COLUMN: Final = Column(
    name="Namespaces",
    path=".status.appliesTo",
    description="Labels of the namespaces that the policy applies to.",
)
CLUSTER_AI_POLICY: Final = Kind(
    name="ClusterAIPolicy",
    plural="clusteraipolicies",
    short_name="caip",
    scope=Scope.CLUSTER,
    description=(
        "What the AI calls of all workloads in the chosen namespaces may do. "
        "No policy in a namespace loosens it."
    ),
    spec=ClusterAIPolicySpec,
    status=ClusterAIPolicyStatus,
    conditions=ENFORCED,
    columns=(
        READY,
        PROGRAMMED,
        DESIRED,
        _NAMESPACES_COLUMN,
        AGE,
        REASON,
        MODE,
        SUSPENDED,
        ACCEPTED,
        RESOLVED,
    ),
)
