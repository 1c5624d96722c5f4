"""What Tidegate's processes and its users may do in a cluster: the table, and the manifests made from it.

    python -m tidegate_operator.cluster.rights [--check] DIR

writes one file per ServiceAccount, and one for people. With `--check` nothing is written; the exit code is 1 when a
file differs. Every right has its reason beside it. What is not here is forbidden, above all: reading Secrets (but the two
with our certificates), writing specs of anything, and webhooks that are not ours.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.api.generated import run
from tidegate_operator.api.kinds import GROUP, KINDS
from tidegate_operator.api.workloads import TOPMOST, WORKLOADS, WorkloadKind
from tidegate_operator.api.yamltext import to_yaml
from tidegate_operator.cluster.last_good import shard_names
from tidegate_operator.cluster.lease import LEASE_NAME
from tidegate_operator.cluster.secrets import CERTIFICATES, INJECTOR_CERTIFICATES, SEALS
from tidegate_operator.setting_groups import INJECTOR_NAME, WEBHOOK_CONFIGURATION
from tidegate_operator.settings import OWN_NAME

NAMESPACE: Final = "tidegate-system"
"""Where the rendered files put the ServiceAccounts; a chart has its own."""

HEADER: Final = "# Made by `python -m tidegate_operator.cluster.rights`; changes belong there.\n"

_RBAC: Final = "rbac.authorization.k8s.io"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "update", "patch", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One rule.

    Attributes:
        why: the reason, which stands beside it in the manifest's source alone.
        group: API group; empty for the core.
        names: objects that the rule is about; empty for all.
        urls: paths outside of the API's resources; then nothing else but `verbs` is set.
    """

    why: str
    verbs: tuple[str, ...]
    group: str = ""
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def rule(self) -> dict[str, Any]:
        """The rule as RBAC has it."""
        if self.urls:
            return {"nonResourceURLs": list(self.urls), "verbs": list(self.verbs)}
        rule: dict[str, Any] = {"apiGroups": [self.group], "resources": list(self.resources)}
        if self.names:
            rule["resourceNames"] = list(self.names)
        return {**rule, "verbs": list(self.verbs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one ServiceAccount may do everywhere, and in its own namespace.

    An account without any right gets no token either: what has none cannot lose it.
    """

    name: str
    everywhere: tuple[Right, ...] = ()
    at_home: tuple[Right, ...] = ()


def _plurals(group: str, kinds: Mapping[str, WorkloadKind]) -> tuple[str, ...]:
    return tuple(sorted(kind.plural for kind in kinds.values() if kind.group == group))


OPERATOR: Final = Account(
    name=OWN_NAME,
    everywhere=(
        Right(
            why="configurations are made of them",
            verbs=_READ,
            group=GROUP,
            resources=tuple(kind.plural for kind in KINDS.values()),
        ),
        Right(
            why="conditions; the spec belongs to whoever wrote it",
            verbs=("patch",),
            group=GROUP,
            resources=tuple(f"{kind.plural}/status" for kind in KINDS.values() if kind.status is not None),
        ),
        Right(why="policies choose namespaces by their labels", verbs=_READ, resources=("namespaces",)),
        Right(why="which pods have a sidecar, and whose they are", verbs=_READ, resources=("pods",)),
        Right(
            why="what made a pod's ReplicaSet, and whether a target without pods exists",
            verbs=("get",),
            group="apps",
            resources=_plurals("apps", WORKLOADS),
        ),
        Right(
            why="what made a pod's Job, and whether a target without pods exists",
            verbs=("get",),
            group="batch",
            resources=_plurals("batch", WORKLOADS),
        ),
        Right(
            why="whether workloads have opted in whose pods have no sidecar; metadata alone is asked for",
            verbs=("list",),
            group="apps",
            resources=_plurals("apps", TOPMOST),
        ),
        Right(
            why="the same of those that make Jobs",
            verbs=("list",),
            group="batch",
            resources=_plurals("batch", TOPMOST),
        ),
        Right(
            why="whom the API server trusts when it calls the injector; who may patch it may change all of it, so it is "
            "these two alone",
            verbs=("get", "watch", "patch"),
            group="admissionregistration.k8s.io",
            resources=("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
            names=(WEBHOOK_CONFIGURATION,),
        ),
        Right(
            why="transitions of conditions, and workloads without a sidecar",
            verbs=("create",),
            group="events.k8s.io",
            resources=("events",),
        ),
        Right(
            why="whether a sidecar's token still holds",
            verbs=("create",),
            group="authentication.k8s.io",
            resources=("tokenreviews",),
        ),
        Right(
            why="the keys that tokens are signed with",
            verbs=("get",),
            urls=("/.well-known/openid-configuration", "/openid/v1/jwks"),
        ),
    ),
    at_home=(
        Right(
            why="RBAC has no create by name",
            verbs=("create",),
            group="coordination.k8s.io",
            resources=("leases",),
        ),
        Right(
            why="who may write, and which replicas live",
            verbs=("get", "update", "patch"),
            group="coordination.k8s.io",
            resources=("leases",),
            names=(LEASE_NAME,),
        ),
        Right(why="RBAC has no create by name", verbs=("create",), resources=("configmaps", "secrets")),
        Right(why="last good forms", verbs=("get", "update"), resources=("configmaps",), names=shard_names()),
        Right(
            why="our certificates, the injector's, and the keys of seals",
            verbs=("get", "update"),
            resources=("secrets",),
            names=(CERTIFICATES, INJECTOR_CERTIFICATES, SEALS),
        ),
    ),
)

INJECTOR: Final = Account(name=INJECTOR_NAME)
"""Every pod of the cluster passes through it, so it must not be worth breaking into: what a review is about stands in the
review, its certificate is mounted, and it asks the API server nothing."""

ACCOUNTS: Final = (OPERATOR, INJECTOR)

PEOPLE: Final[Mapping[str, tuple[Right, ...]]] = {
    "view": (
        Right(
            why="whoever may look into a namespace sees what limits it",
            verbs=_READ,
            group=GROUP,
            resources=("aipolicies", "providercredentials", "providerpools"),
        ),
    ),
    "edit": (
        Right(
            why="application teams write their policies", verbs=_WRITE, group=GROUP, resources=("aipolicies",)
        ),
    ),
    "admin": (
        Right(
            why="who can write a pool can send prompts to any host",
            verbs=_WRITE,
            group=GROUP,
            resources=("providercredentials", "providerpools"),
        ),
    ),
}
"""What Kubernetes' own roles for users get by aggregation. Nobody gets `/status`; for ClusterAIPolicies see `CLUSTER_VIEW`."""


CLUSTER_VIEW_NAME: Final = "tidegate-cluster-view"

CLUSTER_VIEW: Final = (
    Right(
        why="a team that a ClusterAIPolicy refuses has to see why; of namespaced kinds `view` decides",
        verbs=_READ,
        group=GROUP,
        resources=("clusteraipolicies",),
    ),
)
"""For whom a platform binds to it: a binding in a namespace gives nobody a right to what is in none."""


def account_manifests(account: Account, namespace: str) -> list[dict[str, Any]]:
    """A ServiceAccount with its roles and bindings, where it has any rights."""
    subjects = [{"kind": "ServiceAccount", "name": account.name, "namespace": namespace}]
    cluster, home = {"name": account.name}, {"name": account.name, "namespace": namespace}
    own = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": home}
    if not account.everywhere and not account.at_home:
        return [{**own, "automountServiceAccountToken": False}]
    return [
        own,
        _role("ClusterRole", cluster, account.everywhere),
        _binding("ClusterRoleBinding", cluster, "ClusterRole", subjects),
        _role("Role", home, account.at_home),
        _binding("RoleBinding", home, "Role", subjects),
    ]


def people_manifests() -> list[dict[str, Any]]:
    """ClusterRoles that are aggregated to `view`, `edit` and `admin`, each with those before it; and one for ClusterAIPolicies."""
    order = list(PEOPLE)
    manifests = []
    for place, (name, rights) in enumerate(PEOPLE.items()):
        labels = {f"{_RBAC}/aggregate-to-{role}": "true" for role in order[place:]}
        manifests.append(_role("ClusterRole", {"name": f"tidegate-{name}", "labels": labels}, rights))
    # OpenShift's own role for those who read the whole cluster
    labels = {f"{_RBAC}/aggregate-to-cluster-reader": "true"}
    manifests.append(_role("ClusterRole", {"name": CLUSTER_VIEW_NAME, "labels": labels}, CLUSTER_VIEW))
    return manifests


def files(namespace: str = NAMESPACE) -> Mapping[str, str]:
    """File name to content."""
    manifests = {f"{account.name}.yaml": account_manifests(account, namespace) for account in ACCOUNTS}
    manifests["people.yaml"] = people_manifests()
    return {name: HEADER + "---\n".join(to_yaml(item) for item in items) for name, items in manifests.items()}


def _role(kind: str, metadata: Mapping[str, Any], rights: Sequence[Right]) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "rules": [right.rule for right in rights],
    }


def _binding(
    kind: str, metadata: Mapping[str, Any], role: str, subjects: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": _RBAC, "kind": role, "name": metadata["name"]},
        "subjects": list(subjects),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the result is the exit code."""
    return run(arguments, files(), description="Write the RBAC manifests.", command="make rbac")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
