"""The webhook configurations (PURE), as data: the chart renders them, tests install them.

Whoever has not opted in never depends on us: each entry matches only what it may have to change, nothing that is being
deleted, and no namespace that the cluster itself or Tidegate lives in.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tidegate_operator.api.workloads import TARGETS
from tidegate_operator.inject import expressions
from tidegate_operator.inject.names import INJECT
from tidegate_operator.inject.optin import Choice
from tidegate_operator.inject.review import Entry
from tidegate_operator.setting_groups import WEBHOOK_CONFIGURATION

NAME: Final = WEBHOOK_CONFIGURATION

SYSTEM_NAMESPACES: Final = ("kube-system", "kube-node-lease")
WEBHOOK_PORT: Final = 9443
TIMEOUT_S: Final = 5

_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The injector's Service."""

    namespace: str
    name: str = "tidegate-injector"
    port: int = 443

    def client(self, path: str) -> dict[str, Any]:
        """How the API server calls it."""
        return {"service": {"namespace": self.namespace, "name": self.name, "path": path, "port": self.port}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """An injector outside the cluster: `https://HOST:PORT`."""

    base: str

    def client(self, path: str) -> dict[str, Any]:
        """How the API server calls it."""
        return {"url": f"{self.base}{path}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What one entry is asked about.

    Attributes:
        name: of the entry, below `inject.tidegate.dev`.
        path: what answers it.
        rules: operations on resources.
        conditions: CEL by name; all have to hold.
        selector: of namespaces, beyond those that are always left out.
        policy: what becomes of a request when the injector does not answer.
    """

    name: str
    path: Entry
    rules: tuple[dict[str, Any], ...]
    conditions: dict[str, str]
    selector: tuple[dict[str, Any], ...] = ()
    policy: str = "Fail"


def webhook_configuration(
    client: Service | Url, *, excluded: Sequence[str] = (), trust: str = "", name: str = NAME
) -> dict[str, Any]:
    """The object to apply.

    Args:
        client: where the injector answers.
        excluded: namespaces to leave out, beside the cluster's own; the chart gives Tidegate's.
        trust: PEM for `caBundle`. Empty: the field is left out, so that applying again does not undo what the operator
            has written there.
        name: sorts before those of meshes.
    """
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [_webhook(entry, client, excluded, trust) for entry in entries()],
    }


def verifying_configuration(
    client: Service | Url, *, excluded: Sequence[str] = (), trust: str = "", name: str = NAME
) -> dict[str, Any]:
    """The ValidatingWebhookConfiguration to apply beside the other one; the arguments are the same."""
    webhooks = [_webhook(entry, client, excluded, trust) for entry in verifying_entries()]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                **{key: value for key, value in it.items() if key != "reinvocationPolicy"},
                "sideEffects": "None",
            }
            for it in webhooks
        ],
    }


def trust_patch(trust: str, names: Collection[str] | None = None) -> dict[str, Any]:
    """A strategic merge patch that changes `caBundle` and nothing else: for the operator's leader.

    Args:
        trust: PEM.
        names: of the entries to change; None: all of ours.
    """
    wanted = own_names() if names is None else names
    return {"webhooks": [{"name": name, "clientConfig": {"caBundle": _encode(trust)}} for name in wanted]}


def own_names() -> tuple[str, ...]:
    """Names of our entries. Others in the same object are not ours to change."""
    return tuple(_full(it) for it in (*entries(), *verifying_entries()))


def entries() -> tuple[Matching, ...]:
    """All entries."""
    alive = {"is-not-being-deleted": expressions.IS_NOT_BEING_DELETED}
    opted_in = {"key": INJECT, "operator": "In", "values": [Choice.ENABLED.value]}
    pods = _rule("", ("pods",), "CREATE")
    return (
        Matching(
            name="pods",
            path=Entry.PODS,
            rules=(pods,),
            conditions={"speaks-for-itself": expressions.speaks_for_itself()},
        ),
        Matching(
            name="pods-of-namespaces",
            path=Entry.PODS_OF_NAMESPACES,
            rules=(pods,),
            conditions={"says-nothing": expressions.says_nothing()},
            selector=(opted_in,),
        ),
        *(_followed(name) for name in dict.fromkeys(kind.webhook for kind in TARGETS.values())),
        # These two only tell people something: nothing waits for them when the injector is down.
        Matching(
            name="jobs",
            path=Entry.JOBS,
            rules=(_rule("batch", ("jobs",), "UPDATE"),),
            conditions=alive | {"has-changed-its-mind": expressions.has_changed_its_mind()},
            policy="Ignore",
        ),
        Matching(
            name="namespaces",
            path=Entry.NAMESPACES,
            rules=(_rule("", ("namespaces",), "CREATE", "UPDATE", scope="Cluster"),),
            conditions=alive | {"is-mislabelled": expressions.is_mislabelled()},
            policy="Ignore",
        ),
    )


def _followed(name: str) -> Matching:
    """The entry for those kinds of workloads that name it: of one group, with the template in one place."""
    kinds = [kind for kind in TARGETS.values() if kind.webhook == name]
    kind = kinds[0]
    operations = ("CREATE",) if kind.has_fixed_template else ("CREATE", "UPDATE")
    alive = {} if kind.has_fixed_template else {"is-not-being-deleted": expressions.IS_NOT_BEING_DELETED}
    return Matching(
        name=name,
        path=Entry.WORKLOADS,
        rules=(_rule(kind.group, [it.plural for it in kinds], *operations),),
        conditions=alive | {"is-to-be-followed": expressions.is_to_be_followed(kind.name)},
    )


def verifying_entries() -> tuple[Matching, ...]:
    """Those that have the last word: on the same pods, with the same conditions."""
    return tuple(
        replace(entry, name=f"verified-{entry.name}", path=Entry(f"verified-{entry.path.value}"))
        for entry in entries()
        if entry.path in (Entry.PODS, Entry.PODS_OF_NAMESPACES)
    )


def _webhook(entry: Matching, client: Service | Url, excluded: Sequence[str], trust: str) -> dict[str, Any]:
    left_out = sorted({*SYSTEM_NAMESPACES, *excluded})
    bundle = {"caBundle": _encode(trust)} if trust else {}
    return {
        "name": _full(entry),
        "admissionReviewVersions": ["v1"],
        "clientConfig": client.client(f"/{entry.path.value}") | bundle,
        "rules": list(entry.rules),
        "matchPolicy": "Equivalent",
        "matchConditions": [
            {"name": name, "expression": expression} for name, expression in entry.conditions.items()
        ],
        "namespaceSelector": {
            "matchExpressions": [
                {"key": _NAMESPACE_NAME, "operator": "NotIn", "values": left_out},
                *entry.selector,
            ]
        },
        "objectSelector": {},
        "failurePolicy": entry.policy,
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": TIMEOUT_S,
    }


def _full(entry: Matching) -> str:
    return f"{entry.name}.inject.tidegate.dev"


def _rule(
    group: str, resources: Sequence[str], *operations: str, scope: str = "Namespaced"
) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": list(operations),
        "resources": list(resources),
        "scope": scope,
    }


def _encode(trust: str) -> str:
    return base64.b64encode(trust.encode("ascii")).decode("ascii")
