"""Tools that apply the same manifests again and again do not fight with the injector: what is settled stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from injecting_site.injector import InjectorProcess
from injecting_site.objects import Namespace, template_of, workload

from tidegate_operator.inject.names import COPIED, INJECT

ROUNDS = 5
APPLY = {
    "flux": ("apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"),
    "argo": ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller"),
    "kubectl": ("apply",),
    "helm": ("apply", "--server-side", "--field-manager=helm"),
}


def apply(team: Namespace, tool: str, document: dict[str, object]) -> None:
    team.kubectl(*APPLY[tool], "--filename=-", stdin=json.dumps(document))


@pytest.mark.parametrize("tool", list(APPLY))
@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_applying_the_same_manifest_changes_nothing(
    team: Namespace, injector: InjectorProcess, tool: str, kind: str
) -> None:
    manifest = workload(kind, metadata={"annotations": {INJECT: "enabled"}})
    # a CronJob that made Jobs would have a status that changes
    manifest["spec"] |= {"suspend": True} if kind == "CronJob" else {"replicas": 0}
    apply(team, tool, manifest)

    def is_settled() -> bool:
        found = team.get(kind)
        if kind == "Deployment" and not _has_been_rolled_out(found):
            return False
        apply(team, tool, manifest)
        return bool(team.get(kind)["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"])

    team.until(is_settled, "an apply that changes nothing")
    before, asked = team.get(kind), injector.asked("workloads")
    for _ in range(ROUNDS):
        apply(team, tool, manifest)
    after = team.get(kind)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert template_of(after)["metadata"]["annotations"][INJECT] == "enabled"
    assert injector.asked("workloads") == asked


def _has_been_rolled_out(deployment: dict[str, Any]) -> bool:
    """Its controller has seen the newest generation, and has no more to say of it."""
    status = deployment.get("status", {})
    reasons = {it["type"]: it["reason"] for it in status.get("conditions", [])}
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and reasons.get("Progressing") == "NewReplicaSetAvailable"
    )


@pytest.mark.parametrize("tool", list(APPLY))
def test_taking_it_out_of_the_manifest_takes_it_away(team: Namespace, tool: str) -> None:
    manifest = workload("Deployment", metadata={"annotations": {INJECT: "enabled"}})
    apply(team, tool, manifest)
    assert template_of(team.get("Deployment"))["metadata"]["annotations"] == {
        INJECT: "enabled",
        COPIED: "enabled",
    }
    apply(team, tool, workload("Deployment"))
    found = team.get("Deployment")
    assert "annotations" not in template_of(found)["metadata"]
    assert INJECT not in found["metadata"].get("annotations", {})


def test_replacing_the_object_does_not_roll_the_pods(team: Namespace) -> None:
    """A PUT of the manifest has a template without the copy: it is made again before anybody compares."""
    manifest = workload("Deployment", metadata={"annotations": {INJECT: "enabled"}})
    before = team.stored(manifest)
    team.until(lambda: len(team.pods()) == 1, "the pod")
    team.kubectl("replace", "--filename=-", stdin=json.dumps(manifest))
    after = team.get("Deployment")
    assert template_of(after) == template_of(before)
    generation = after["metadata"]["generation"]
    team.until(
        lambda: team.get("Deployment")["status"].get("observedGeneration") == generation, "the controller"
    )
    assert len(team.kubectl("get", "replicasets", "--output=name").split()) == 1


def test_what_the_manifest_says_of_its_pods_stays_its_own(team: Namespace) -> None:
    """The tool that set it may change it and take it away; nothing that we have copied comes in between."""
    manifest = workload("Deployment", metadata={"annotations": {INJECT: "enabled"}})
    template_of(manifest)["metadata"]["annotations"] = {INJECT: "disabled"}
    apply(team, "flux", manifest)
    assert template_of(team.get("Deployment"))["metadata"]["annotations"] == {INJECT: "disabled"}
    apply(team, "flux", workload("Deployment", metadata={"annotations": {INJECT: "enabled"}}))
    assert template_of(team.get("Deployment"))["metadata"]["annotations"] == {
        INJECT: "enabled",
        COPIED: "enabled",
    }
