"""While no injector answers, nobody is held up but those who have asked for one, and nothing that is to go is kept."""

from __future__ import annotations

import json

import pytest
from injecting_site.injector import InjectorProcess
from injecting_site.objects import Namespace, has_sidecar, opted_in, pod, template_of, workload
from tidegate_cluster.errors import KubectlFailedError

from tidegate_operator.inject.names import INJECT


def test_only_who_has_opted_in_waits(team: Namespace, injector: InjectorProcess) -> None:
    team.stored(workload("Deployment", name="settled", metadata={"annotations": {INJECT: "enabled"}}))
    team.until(lambda: any(has_sidecar(it) for it in team.pods("app=settled")), "a pod with a sidecar")
    injector.stop()

    status, found = team.create(opted_in())
    assert status == 500
    assert 'failed calling webhook "pods.inject.tidegate.dev"' in found["message"]

    team.stored(pod("bystander"))
    team.stored(pod("opted-out", labels={INJECT: "disabled"}))
    team.stored(workload("Deployment", name="other"))
    team.stored(workload("Job", name="job"))
    team.until(lambda: len(team.pods("app=other")) == 1, "pods of a workload that has nothing to do with us")
    # what was settled goes on: new images and scaling, and its pods come when the injector does
    team.kubectl("set", "image", "deployment/settled", "app=registry.example/app:2")
    team.kubectl("scale", "deployment", "settled", "--replicas=3")
    with pytest.raises(KubectlFailedError, match="failed calling webhook"):
        team.kubectl("annotate", "deployment", "other", f"{INJECT}=enabled")
    team.until(
        lambda: "failed calling webhook" in team.kubectl("get", "events"), "an event of the ReplicaSet"
    )

    injector.start()
    team.kubectl("annotate", "deployment", "other", f"{INJECT}=enabled")
    team.until(lambda: all(has_sidecar(it) for it in team.pods("app=settled")), "pods with sidecars")


def test_whatever_is_to_go_goes(team: Namespace, injector: InjectorProcess) -> None:
    """Also what is matched by every other condition: its word has just changed, and its finalizer is removed."""
    team.stored(opted_in())
    for kind in ("Deployment", "CronJob", "Job"):
        document = workload(kind, name="kept", metadata={"annotations": {INJECT: "enabled"}})
        document["metadata"]["finalizers"] = ["example.com/keep"]
        team.stored(document)
    injector.stop()

    team.kubectl("delete", "pod", "chat", "--wait=false", "--grace-period=0", "--force")
    team.until(lambda: not team.exists("Pod"), "the end of the pod")
    for kind in ("Deployment", "CronJob", "Job"):
        team.kubectl("delete", kind.lower(), "kept", "--wait=false", "--cascade=orphan")
        finalizers = team.get(kind, "kept")["metadata"]["finalizers"]
        patch = {"metadata": {"annotations": {INJECT: "disabled"}, "finalizers": None}}
        assert "example.com/keep" in finalizers
        team.kubectl("patch", kind.lower(), "kept", "--type=merge", f"--patch={json.dumps(patch)}")
        team.until(lambda kind=kind: not team.exists(kind, "kept"), f"the end of the {kind}")


def test_a_namespace_with_opted_in_pods_can_be_deleted(team: Namespace, injector: InjectorProcess) -> None:
    name = f"{team.name}-doomed"
    team.control_plane.kubectl("create", "namespace", name)
    team.control_plane.kubectl("label", "namespace", name, f"{INJECT}=enabled")
    doomed = Namespace(team.control_plane, name)
    doomed.stored(workload("Deployment", metadata={"annotations": {INJECT: "enabled"}}))
    team.until(lambda: bool(doomed.pods()), "a pod")
    injector.stop()
    team.control_plane.kubectl("delete", "namespace", name, "--wait=false")
    # pods that no node has seen end are waited for by their grace period alone
    path = f"/api/v1/namespaces/{name}"
    team.until(lambda: team.control_plane.request("GET", path).status == 404, "the end of the namespace")


def test_advice_holds_nobody_up(team: Namespace, injector: InjectorProcess) -> None:
    team.stored(workload("Job"))
    injector.stop()
    team.kubectl("annotate", "job", "chat", f"{INJECT}=enabled")
    team.control_plane.kubectl("label", "namespace", team.name, f"{INJECT}=true")
    assert "annotations" not in template_of(team.get("Job"))["metadata"]
