"""What the operator and people may do, asked of the real API server; and that the manifests are those of the table.

That what is allowed is also enough is proved in tests/operating, where every operator runs with these rights alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import ROOT, Cluster, pool

from tidegate_operator.api.kinds import API_VERSION
from tidegate_operator.cluster.client import MERGE_PATCH, STRATEGIC_PATCH, Access, ClusterClient, object_path
from tidegate_operator.cluster.errors import ForbiddenError
from tidegate_operator.cluster.rights import (
    ACCOUNTS,
    CLUSTER_VIEW_NAME,
    NAMESPACE,
    PEOPLE,
    Account,
    Right,
    files,
    main,
)
from tidegate_operator.cluster.rights import INJECTOR as INJECTOR_ACCOUNT
from tidegate_operator.cluster.webhooks import WebhookStore
from tidegate_operator.inject.configuration import Service, own_names, trust_patch, webhook_configuration

OPERATOR = f"system:serviceaccount:{NAMESPACE}:tidegate-operator"
INJECTOR = f"system:serviceaccount:{NAMESPACE}:tidegate-injector"
WEBHOOKS = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VERIFYING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
OURS = "ai-tidegate-injector"

FORBIDDEN = [
    ("get", "secrets", "", ""),
    ("list", "secrets", "", ""),
    ("get", "secrets", NAMESPACE, "another"),
    ("list", "secrets", NAMESPACE, ""),
    ("delete", "secrets", NAMESPACE, "tidegate-certificates"),
    ("delete", "secrets", NAMESPACE, "tidegate-injector-certificates"),
    ("get", "secrets", "default", "tidegate-injector-certificates"),
    ("update", "secrets", "default", "tidegate-injector-certificates"),
    ("list", "configmaps", NAMESPACE, ""),
    ("update", "configmaps", NAMESPACE, "another"),
    ("create", "configmaps", "default", ""),
    ("update", "leases.coordination.k8s.io", NAMESPACE, "another"),
    ("get", "leases.coordination.k8s.io", "kube-system", "kube-controller-manager"),
    ("create", "aipolicies.tidegate.dev", "default", ""),
    ("update", "aipolicies.tidegate.dev", "default", ""),
    ("patch", "providerpools.tidegate.dev", "default", ""),
    ("delete", "clusteraipolicies.tidegate.dev", "", ""),
    ("patch", "deployments.apps/status", "default", ""),
    ("patch", "pods/status", "default", ""),
    ("patch", "namespaces", "", ""),
    ("delete", "pods", "default", ""),
    ("create", "pods/exec", "default", ""),
    ("create", "pods/ephemeralcontainers", "default", ""),
    ("list", "replicasets.apps", "", ""),
    ("watch", "deployments.apps", "", ""),
    ("patch", "deployments.apps", "default", ""),
    ("list", "jobs.batch", "", ""),
    ("patch", "cronjobs.batch", "default", ""),
    ("create", "serviceaccounts/token", "default", "default"),
    ("impersonate", "users", "", ""),
    ("get", WEBHOOKS, "", ""),
    ("get", VERIFYING, "", ""),
    ("delete", VERIFYING, "", OURS),
    ("patch", VERIFYING, "", "gatekeeper"),
    ("list", WEBHOOKS, "", ""),
    ("watch", WEBHOOKS, "", ""),
    ("create", WEBHOOKS, "", ""),
    ("delete", WEBHOOKS, "", OURS),
    ("update", WEBHOOKS, "", OURS),
    ("get", WEBHOOKS, "", "istio-sidecar-injector"),
    ("patch", WEBHOOKS, "", "istio-sidecar-injector"),
    ("create", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", ""),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", "", ""),
    ("patch", "customresourcedefinitions.apiextensions.k8s.io", "", ""),
    ("list", "nodes", "", ""),
]


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    """With Tidegate's kinds and the rendered manifests."""
    cluster = Cluster(control_plane)
    cluster.install()
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "-f", str(ROOT / "deploy" / "rbac"))
    wait_until(
        lambda: (
            may(cluster, OPERATOR, "list", "aipolicies.tidegate.dev")
            and may(cluster, OPERATOR, "create", "secrets", NAMESPACE)
        ),
        within_s=120,
        what="the bindings",
    )
    yield cluster
    cluster.kubectl("delete", "-f", str(ROOT / "deploy" / "rbac"))


def may(cluster: Cluster, user: str, verb: str, resource: str, namespace: str = "", name: str = "") -> bool:
    """Ask the API server as `user`; a resource is ``plural.group/subresource``, or a path that begins with a slash."""
    if resource.startswith("/"):
        spec: dict[str, Any] = {"nonResourceAttributes": {"path": resource, "verb": verb}}
    else:
        full, _, subresource = resource.partition("/")
        plural, _, group = full.partition(".")
        attributes = {"group": group, "resource": plural, "subresource": subresource}
        spec = {"resourceAttributes": {**attributes, "verb": verb, "namespace": namespace, "name": name}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = cluster.control_plane.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body=review,
        headers={"Impersonate-User": user},
    )
    assert answer.status == 201, answer.text
    return bool(answer.json()["status"]["allowed"])


def questions(right: Right) -> Iterator[tuple[str, str, str]]:
    """Verb, resource and name for each thing that a right allows."""
    for resource in right.resources:
        plural, _, sub = resource.partition("/")
        full = f"{plural}.{right.group}" if right.group else plural
        for verb in right.verbs:
            for name in right.names or ("",):
                yield verb, f"{full}/{sub}" if sub else full, name


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda it: it.name)
def test_everything_in_the_table_is_allowed(cluster: Cluster, account: Account) -> None:
    user = f"system:serviceaccount:{NAMESPACE}:{account.name}"
    asked = [(NAMESPACE, right) for right in account.at_home] + [("", right) for right in account.everywhere]
    for namespace, right in asked:
        for verb, resource, name in questions(right):
            assert may(cluster, user, verb, resource, namespace, name), (verb, resource, name)
        for url in right.urls:
            assert may(cluster, user, "get", url), url


@pytest.mark.parametrize(("verb", "resource", "namespace", "name"), FORBIDDEN)
def test_what_the_operator_does_not_need_is_forbidden(
    cluster: Cluster, verb: str, resource: str, namespace: str, name: str
) -> None:
    assert not may(cluster, OPERATOR, verb, resource, namespace, name)


async def test_the_spec_of_an_object_cannot_be_changed_along_with_its_status(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(pool(namespace))
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
    access = Access(str(cluster.control_plane.kubeconfig_for(OPERATOR, groups)))
    client = ClusterClient(access, request_ms=5_000, at_once=1)
    path = object_path(API_VERSION, "providerpools", namespace, "models")
    change = {"spec": {"suspend": True}, "status": {"observedGeneration": 7}}
    try:
        await client.request("PATCH", f"{path}/status", body=change, content_type=MERGE_PATCH)
        for method in ("PATCH", "PUT", "DELETE"):
            with pytest.raises(ForbiddenError, match="tidegate-operator"):
                await client.request(method, path, body=change, content_type=MERGE_PATCH)
    finally:
        client.close()

    found = cluster.get("providerpool", namespace, "models")
    assert found["status"]["observedGeneration"] == 7
    assert "suspend" not in found["spec"]


async def test_of_all_webhooks_only_ours_can_be_changed(cluster: Cluster) -> None:
    """Asked of the objects themselves, with what the operator sends."""
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
    client = ClusterClient(
        Access(str(cluster.control_plane.kubeconfig_for(OPERATOR, groups))), request_ms=5_000, at_once=1
    )
    documents = [webhook_configuration(Service(namespace=NAMESPACE), name=name) for name in (OURS, "istio")]
    for document in documents:
        for webhook in document["webhooks"]:
            webhook["namespaceSelector"] = {"matchLabels": {"no": "namespace"}}
    cluster.apply(*documents)
    try:
        ours, istio = (WebhookStore(client, name) for name in (OURS, "istio"))
        collection = "/apis/admissionregistration.k8s.io/v1"
        found = await ours.read(own_names())
        assert found is not None
        assert await ours.patch(trust_patch("", list(found.bundles)), found.version)
        assert not await ours.patch(trust_patch("", list(found.bundles)), "1,1"), "it has changed since"
        with pytest.raises(ForbiddenError, match="istio"):
            await istio.read(own_names())
        for path in (
            f"{collection}/{kind}webhookconfigurations/istio" for kind in ("mutating", "validating")
        ):
            with pytest.raises(ForbiddenError, match="istio"):
                await client.request("PATCH", path, body=trust_patch(""), content_type=STRATEGIC_PATCH)
    finally:
        client.close()
        for name in (OURS, "istio"):
            cluster.kubectl("delete", "mutatingwebhookconfiguration", name)


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "name"),
    [
        ("get", "secrets", NAMESPACE, "tidegate-injector-certificates"),
        ("get", "secrets", NAMESPACE, "tidegate-certificates"),
        ("list", "pods", "", ""),
        ("get", "namespaces", "", ""),
        ("get", WEBHOOKS, "", OURS),
        ("get", "aipolicies.tidegate.dev", "default", ""),
        ("create", "events.events.k8s.io", "default", ""),
        ("create", "tokenreviews.authentication.k8s.io", "", ""),
    ],
)
def test_the_injector_has_no_rights_at_all(
    cluster: Cluster, verb: str, resource: str, namespace: str, name: str
) -> None:
    assert not may(cluster, INJECTOR, verb, resource, namespace, name)


def test_the_injector_has_no_token_either(cluster: Cluster) -> None:
    account = cluster.get("serviceaccount", NAMESPACE, "tidegate-injector")
    assert account["automountServiceAccountToken"] is False
    assert not INJECTOR_ACCOUNT.everywhere
    assert not INJECTOR_ACCOUNT.at_home


def test_a_sidecar_has_no_rights_at_all(cluster: Cluster, namespace: str) -> None:
    sidecar = f"system:serviceaccount:{namespace}:default"
    for resource in ("aipolicies.tidegate.dev", "providerpools.tidegate.dev", "secrets", "pods"):
        assert not may(cluster, sidecar, "get", resource, namespace)


@pytest.mark.parametrize(
    ("role", "writes", "cannot_write"),
    [
        ("view", [], ["aipolicies", "providerpools", "providercredentials"]),
        ("edit", ["aipolicies"], ["providerpools", "providercredentials"]),
        ("admin", ["aipolicies", "providerpools", "providercredentials"], []),
    ],
)
def test_kubernetes_own_roles_are_extended_and_nobody_writes_status(
    control_plane_with_controllers: ControlPlane,
    namespace_with_controllers: str,
    role: str,
    writes: list[str],
    cannot_write: list[str],
) -> None:
    cluster, namespace = Cluster(control_plane_with_controllers), namespace_with_controllers
    cluster.install()
    cluster.kubectl("apply", "-f", str(ROOT / "deploy" / "rbac" / "people.yaml"))
    cluster.kubectl(
        "create",
        "rolebinding",
        role,
        f"--clusterrole={role}",
        f"--user={role}-user",
        f"--namespace={namespace}",
    )
    user = f"{role}-user"

    wait_until(
        lambda: may(cluster, user, "list", "aipolicies.tidegate.dev", namespace),
        within_s=30,
        what="the aggregation",
    )
    for kind in writes:
        assert may(cluster, user, "patch", f"{kind}.tidegate.dev", namespace)
    for kind in cannot_write:
        assert not may(cluster, user, "patch", f"{kind}.tidegate.dev", namespace)
    for kind in ("aipolicies", "providerpools", "providercredentials"):
        assert may(cluster, user, "list", f"{kind}.tidegate.dev", namespace)
        assert not may(cluster, user, "patch", f"{kind}.tidegate.dev/status", namespace)
    assert not may(cluster, user, "patch", "clusteraipolicies.tidegate.dev")
    assert list(PEOPLE) == ["view", "edit", "admin"]


@pytest.fixture
def floor(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Path of a policy of the platform."""
    cluster.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "ClusterAIPolicy",
            "metadata": {"name": namespace},
            "spec": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        }
    )
    yield f"/apis/{API_VERSION}/clusteraipolicies/{namespace}"
    cluster.delete("clusteraipolicy", "", namespace)


def statuses(control_plane: ControlPlane, path: str, user: str) -> dict[str, int]:
    """What a person gets who reads an object, lists all of its kind, changes it or takes it away."""
    everything, whole = path.rpartition("/")[0], {"headers": {"Impersonate-User": user}}
    change = {
        "headers": {**whole["headers"], "Content-Type": MERGE_PATCH},
        "body": {"spec": {"suspend": True}},
    }
    return {
        "get": control_plane.request("GET", path, **whole).status,
        "list": control_plane.request("GET", everything, **whole).status,
        "patch": control_plane.request("PATCH", path, **change).status,
        "delete": control_plane.request("DELETE", path, **whole).status,
    }


@pytest.mark.parametrize("is_bound", [False, True], ids=["not bound", "bound"])
def test_a_team_reads_the_cluster_policies_that_refuse_its_calls_when_the_platform_says_so(
    cluster: Cluster, namespace: str, floor: str, is_bound: bool
) -> None:
    """A role in its namespace alone shows nothing of the cluster's."""
    user = f"developer-{is_bound}"
    cluster.kubectl(
        "create",
        "rolebinding",
        user,
        "--clusterrole=tidegate-admin",
        f"--user={user}",
        f"--namespace={namespace}",
    )
    wait_until(
        lambda: may(cluster, user, "patch", "providerpools.tidegate.dev", namespace),
        within_s=30,
        what="the binding in its namespace",
    )
    if is_bound:
        role = f"--clusterrole={CLUSTER_VIEW_NAME}"
        cluster.kubectl("create", "clusterrolebinding", user, role, f"--user={user}")
        wait_until(
            lambda: may(cluster, user, "watch", "clusteraipolicies.tidegate.dev"),
            within_s=30,
            what="the binding",
        )
    reading = 200 if is_bound else 403
    found = statuses(cluster.control_plane, floor, user)
    assert found == {"get": reading, "list": reading, "patch": 403, "delete": 403}


def test_whoever_reads_the_whole_cluster_of_openshift_reads_them_too(
    control_plane_with_controllers: ControlPlane,
) -> None:
    """Its role is made of all roles with a label of its own, as `view` is of those with Kubernetes' label."""
    cluster, user = Cluster(control_plane_with_controllers), "auditor"
    cluster.install()
    cluster.kubectl("apply", "-f", str(ROOT / "deploy" / "rbac" / "people.yaml"))
    label = "rbac.authorization.k8s.io/aggregate-to-cluster-reader"
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "cluster-reader"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]},
        }
    )
    cluster.kubectl("create", "clusterrolebinding", user, "--clusterrole=cluster-reader", f"--user={user}")
    wait_until(
        lambda: may(cluster, user, "list", "clusteraipolicies.tidegate.dev"),
        within_s=30,
        what="the aggregation",
    )
    assert not may(cluster, user, "patch", "clusteraipolicies.tidegate.dev")


def test_the_manifests_in_the_repository_are_those_of_the_table(tmp_path: Path) -> None:
    assert main(["--check", str(ROOT / "deploy" / "rbac")]) == 0
    assert {path.name for path in (ROOT / "deploy" / "rbac").iterdir()} == set(files())
    assert main(["--check", str(tmp_path)]) == 1
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
