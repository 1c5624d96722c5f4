"""The operator of a later release, for tests of upgrades and rollbacks: it watches one kind more.

It is today's operator with a larger table of kinds. The table is changed before anything else of the operator is imported,
since the rest is made from it.
"""

from types import MappingProxyType
from typing import Any, Final

from tidegate_operator.api import kinds
from tidegate_operator.api.crd import custom_resource_definition

BUDGETS: Final = kinds.Kind(
    name="AIBudget",
    plural="aibudgets",
    short_name="tgbudget",
    scope=kinds.Scope.NAMESPACED,
    description="A kind that releases before this one know nothing of.",
    spec=kinds.KINDS["ProviderCredential"].spec,
    status=kinds.KINDS["ProviderCredential"].status,
    columns=(),
)


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition of the kind that this release brings."""
    return custom_resource_definition(BUDGETS)


def manifests(account: str) -> tuple[dict[str, Any], ...]:
    """The rights that the newer release's chart would give to a user."""
    rules = [{"apiGroups": [kinds.GROUP], "resources": ["aibudgets"], "verbs": ["get", "list", "watch"]}]
    name = f"tidegate-newer-{account.replace(':', '-')}"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": account}],
    }
    return role, binding


def become_newer() -> None:
    """Make this process one of the later release."""
    table = {**kinds.KINDS, BUDGETS.name: BUDGETS}
    vars(kinds)["KINDS"] = MappingProxyType(dict(sorted(table.items())))
