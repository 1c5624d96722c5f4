"""The operator of a later release, for tests of upgrades and rollbacks: it watches one kind more, writes one field more into
configurations and into messages, and is stricter about one name.

It is today's operator with larger tables. They are changed before anything else of the operator is imported, since the rest is
made from them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tidegate_operator.api import kinds, rules
from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.section import Rule
from tidegate_policy import model, wire

QUEUED: Final = "queued"
"""Rate limits of this name use the field of configurations that this release brings."""

REFUSED: Final = "legacy"
"""A name that this release no longer accepts."""

_MESSAGES: Final = ("AsOf", "ReplicaReport")

BUDGETS: Final = kinds.Kind(
    name="AIBudget",
    plural="aibudgets",
    short_name="tgbudget",
    scope=kinds.Scope.NAMESPACED,
    description="A kind that releases before this one know nothing of.",
    spec=kinds.KINDS["ProviderCredential"].spec,
    status=kinds.KINDS["ProviderCredential"].status,
    conditions=kinds.KINDS["ProviderCredential"].conditions,
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
    vars(kinds).update(KINDS=MappingProxyType(table), WATCHED=kinds.watched(table))
    vars(model).update(RateLimit=_with_queue(), SUPPORTED_SCHEMA_VERSIONS=(1, 2))
    strict: Rule[rules.RateLimitRule] = Rule(
        holds=lambda it: it.name != REFUSED, cel="", message="choose another name", field="name"
    )
    rules.RateLimitRule.rules = (*rules.RateLimitRule.rules, strict)
    vars(wire)["encode"] = _adding_to_messages(wire.encode)


def _with_queue() -> type:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class RateLimit(model.RateLimit):
        """The same, with calls that wait."""

        queue: int = model.added(0, since=2)

        def __post_init__(self) -> None:
            if self.name == QUEUED:
                object.__setattr__(self, "queue", 3)

    return RateLimit


def _adding_to_messages(encode: Callable[[object], bytes]) -> Callable[[object], bytes]:
    def encode_more(value: object) -> bytes:
        text = encode(value)
        return text[:-1] + b',"zone":"a"}' if type(value).__name__ in _MESSAGES else text

    return encode_more
