"""The chart installed on a real API server: annotated workloads get sidecars, upgrades disturb nobody, an uninstall leaves nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from charting_site.helm import CHART, NAME, NAMESPACE, HelmError
from charting_site.release import Release
from injecting_site.injector import CONFIGURATIONS, is_injecting, next_bundle
from injecting_site.objects import Namespace, has_sidecar, opted_in, pod, template_of, workload
from tidegate_cluster.fixtures import temporary_namespace
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import Cluster, policy, pool

from tidegate_operator.inject.configuration import NAME as CONFIGURATION
from tidegate_operator.inject.names import CONTAINER, INJECT

OWN = f"/api/v1/namespaces/{NAMESPACE}/pods"


@pytest.fixture
def team(release: Release) -> Iterator[Namespace]:
    """A namespace that enforces PodSecurity's level `restricted`."""
    with temporary_namespace(release.control_plane) as name:
        release.control_plane.kubectl(
            "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"
        )
        yield Namespace(release.control_plane, name)


def annotate(team: Namespace, kind: str, word: str) -> None:
    team.kubectl("annotate", "--overwrite", kind, "chat", f"{INJECT}{word}")


def pods_of_ours(release: Release) -> dict[str, str]:
    """Names and uids of the pods that the chart's Deployments have."""
    items = release.control_plane.request("GET", OWN).json()["items"]
    return {
        it["metadata"]["name"]: it["metadata"]["uid"]
        for it in items
        if "deletionTimestamp" not in it["metadata"]
    }


def test_the_pods_of_the_chart_are_made_where_only_restricted_ones_may_be(
    release: Release, team: Namespace
) -> None:
    """No node runs them here; the server and its admission have taken them."""
    team.until(lambda: len(pods_of_ours(release)) == 2, "two replicas of the operator")
    assert all(name.startswith("tidegate-operator-") for name in pods_of_ours(release))


def test_annotating_a_deployment_gives_its_pods_the_sidecar_and_taking_it_back_takes_it_away(
    team: Namespace,
) -> None:
    before = team.stored(workload("Deployment"))
    team.until(lambda: len(team.pods()) == 1, "the first pod")
    assert not has_sidecar(team.pods()[0])
    annotate(team, "deployment", "=enabled")
    team.until(lambda: any(has_sidecar(it) for it in team.pods()), "a pod with a sidecar")
    (found,) = (it for it in team.pods() if has_sidecar(it))
    sidecar = next(it for it in found["spec"]["initContainers"] if it["name"] == CONTAINER)
    assert (sidecar["image"], sidecar["restartPolicy"]) == ("tidegate-sidecar:0.1.0", "Always")
    variables = {entry["name"]: entry.get("value", "") for entry in sidecar["env"]}
    assert variables["TIDEGATE_OPERATOR_URL"] == f"https://tidegate-operator.{NAMESPACE}.svc:8443"
    assert "BEGIN CERTIFICATE" in variables["TIDEGATE_OPERATOR_CA"]
    (app,) = found["spec"]["containers"]
    assert {"name": "OPENAI_BASE_URL", "value": "http://127.0.0.1:19280/openai/v1"} in app["env"]
    annotate(team, "deployment", "-")
    assert template_of(team.get("Deployment")) == template_of(before)
    team.until(lambda: any(not has_sidecar(it) for it in team.pods()), "a pod without a sidecar")


def test_jobs_and_cron_jobs_get_it_too(team: Namespace) -> None:
    team.stored(workload("Job", metadata={"annotations": {INJECT: "enabled"}}))
    team.until(lambda: any(has_sidecar(it) for it in team.pods()), "a pod of the Job")
    team.stored(workload("CronJob", name="nightly", metadata={"annotations": {INJECT: "enabled"}}))
    team.kubectl("create", "job", "now", "--from=cronjob/nightly")
    team.until(lambda: any(has_sidecar(it) for it in team.pods("job-name=now")), "a pod of the CronJob")


def test_with_the_rights_of_the_chart_a_policy_is_accepted(release: Release, team: Namespace) -> None:
    cluster = Cluster(release.control_plane)
    cluster.apply(pool(team.name), policy(team.name))
    team.until(
        lambda: cluster.condition("AIPolicy", team.name, "chat", "Accepted").startswith("True"), "Accepted"
    )


def test_with_cert_manager_the_operator_needs_no_secret_but_the_keys_of_seals_and_no_webhook(
    release: Release, team: Namespace, tmp_path: Path
) -> None:
    """The rights that the chart gives then are enough, and a Secret's folder is where certificates come from."""
    objects = copy.deepcopy(release.helm.render(profile="cert-manager", namespace=team.name))
    roles = [objects[kind, "tidegate-operator"] for kind in ("ClusterRole", "Role")]
    rules = [rule for role in roles for rule in role["rules"]]
    resources = {it for rule in rules for it in rule.get("resources", ())}
    assert not {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} & resources
    secrets = [rule for rule in rules if "secrets" in rule.get("resources", ())]
    assert [rule["verbs"] for rule in secrets if "resourceNames" not in rule] == [["create"]]
    assert {it for rule in secrets for it in rule.get("resourceNames", ())} == {"tidegate-seals"}
    bindings = [objects[kind, "tidegate-operator"] for kind in ("ClusterRoleBinding", "RoleBinding")]
    for item in (*roles, *bindings):  # beside the release that is there, so by other names
        item["metadata"] = {"name": team.name, "namespace": item["metadata"].get("namespace", "")}
    for binding in bindings:
        binding["roleRef"]["name"] = team.name
    team.kubectl(
        "apply",
        "--filename=-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [*roles, *bindings]}),
    )

    names = tuple(objects["Certificate", "tidegate-operator"]["spec"]["dnsNames"])
    for name, content in next_bundle(None, days_ago=1, names=names).to_data().items():
        (tmp_path / name).write_bytes(content)
    operator = release.operator(
        objects["Deployment", "tidegate-operator"], team.name, tmp_path, TIDEGATE_CERTIFICATES=str(tmp_path)
    )
    operator.start()
    try:
        operator.wait_ready()
        operator.until(lambda: operator.leads, "the Lease")
        assert "orbidden" not in operator.log
    finally:
        assert operator.stop() == 0, operator.log


def test_an_upgrade_keeps_the_trust_and_rolls_nothing(release: Release, team: Namespace) -> None:
    team.stored(workload("Deployment", metadata={"annotations": {INJECT: "enabled"}}))
    team.until(lambda: any(has_sidecar(it) for it in team.pods()), "a pod with a sidecar")
    (trust,) = release.bundles()
    assert trust

    def state() -> Any:
        operator = release.deployment("tidegate-operator")["metadata"]["generation"]
        return (
            team.get("Deployment")["metadata"]["generation"],
            {it["metadata"]["uid"] for it in team.pods()},
            operator,
            pods_of_ours(release),
        )

    before = state()
    release.upgrade()
    assert (release.bundles(), state()) == ({trust}, before)
    release.upgrade("--set=injector.excludedNamespaces[0]=monitoring")
    assert release.bundles() == {trust}
    # The operator is given the list too, so it alone is rolled: what it counts follows from it.
    assert state()[:2] == before[:2]
    assert state()[2] == before[2] + 1
    (names, *_) = release.configuration()["webhooks"][0]["namespaceSelector"]["matchExpressions"]
    assert "monitoring" in names["values"]
    assert is_injecting(release.control_plane)


def test_cluster_policies_are_read_by_those_whom_the_platform_names_and_by_nobody_else(
    release: Release,
) -> None:
    """Each is of a group, and has no right but what the chart gives."""
    people = ("developers", "visitors")

    def reading() -> list[int]:
        path = "/apis/tidegate.dev/v1alpha1/clusteraipolicies"
        who = ({"Impersonate-User": "somebody", "Impersonate-Group": group} for group in people)
        return [release.control_plane.request("GET", path, headers=it).status for it in who]

    assert reading() == [403, 403]
    subject = {"kind": "Group", "name": people[0], "apiGroup": "rbac.authorization.k8s.io"}
    release.upgrade(f"--set-json=rbac.clusterView.subjects={json.dumps([subject])}")
    wait_until(lambda: reading() == [200, 403], within_s=30, what="the binding")
    release.upgrade()
    wait_until(lambda: reading() == [403, 403], within_s=30, what="the end of the binding")


@pytest.mark.parametrize(
    "tool",
    [("--server-side", "--force-conflicts", "--field-manager=argocd-controller"), ()],
    ids=["ssa", "csa"],
)
def test_whoever_applies_the_rendered_manifest_keeps_the_trust_too(
    release: Release, tool: tuple[str, ...]
) -> None:
    (trust,) = release.bundles()
    manifest = release.render()["MutatingWebhookConfiguration", CONFIGURATION]
    release.control_plane.kubectl("apply", *tool, "--filename=-", stdin=json.dumps(manifest))
    assert release.bundles() == {trust}


def test_tidegates_own_namespace_gets_no_sidecars(release: Release) -> None:
    path = f"{OWN}?dryRun=All"
    answer = release.control_plane.request("POST", path, body=opted_in())
    assert answer.status == 201, answer.text
    assert "initContainers" not in answer.json()["spec"]


def test_a_second_release_is_refused_with_the_name_of_the_first(release: Release, team: Namespace) -> None:
    with pytest.raises(HelmError) as caught:
        release.helm("install", "another", str(CHART), namespace=team.name)
    said = str(caught.value)
    assert f"This cluster has Tidegate already: release {NAME} in namespace {NAMESPACE}" in said
    assert f"helm upgrade {NAME} --namespace {NAMESPACE}" in said


def test_an_uninstall_leaves_nothing_that_holds_pods_up_and_keeps_policies(
    release: Release, team: Namespace
) -> None:
    """And the next install takes up what was kept, also from another namespace when it is told to."""
    cluster = Cluster(release.control_plane)
    cluster.apply(pool(team.name), policy(team.name))
    release.helm("uninstall", NAME)
    assert release.control_plane.request("GET", f"{CONFIGURATIONS}/{CONFIGURATION}").status == 404
    # the API server forgets it a moment after it has deleted it
    team.until(lambda: not is_injecting(release.control_plane), "the end of injection")
    team.stored(pod("bystander"))
    team.stored(opted_in("opted-in"))
    assert not has_sidecar(team.get("Pod", "opted-in"))
    assert cluster.exists("AIPolicy", team.name, "chat")
    team.until(lambda: not left_behind(release), "the end of everything but definitions")

    with pytest.raises(HelmError, match="invalid ownership metadata"):
        release.helm("install", NAME, str(CHART), namespace=team.name)
    release.helm("install", NAME, str(CHART), "--take-ownership", "--dry-run=server", namespace=team.name)
    said = release.helm_install()
    assert "kubectl annotate deployment NAME tidegate.dev/inject=enabled" in said
    assert "write its policy first" in said
    team.until(lambda: is_injecting(release.control_plane), "injection")
    assert cluster.exists("AIPolicy", team.name, "chat")


def left_behind(release: Release) -> list[str]:
    """Names of what there is of the chart, definitions aside."""
    kinds = "deployments,replicasets,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
    kinds += ",clusterroles,clusterrolebindings,mutatingwebhookconfigurations"
    selector = "--selector=app.kubernetes.io/part-of=tidegate"
    return release.control_plane.kubectl("get", kinds, "--all-namespaces", selector, "--output=name").split()
