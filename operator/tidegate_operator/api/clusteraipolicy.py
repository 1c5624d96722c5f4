"""ClusterAIPolicy: the platform's floor, which no policy in a namespace loosens."""

from __future__ import annotations

from typing import Annotated

from tidegate_operator.api.fields import Items
from tidegate_operator.api.rules import ClusterPoolReference, PolicyRules
from tidegate_operator.api.selectors import LabelSelector


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
