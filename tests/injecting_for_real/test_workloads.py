"""`kubectl annotate` on a workload makes its controller's pods carry the sidecar, and taking it back takes it away."""

from __future__ import annotations

import json

import pytest
from injecting_site.injector import IMAGE, InjectorProcess
from injecting_site.objects import Namespace, has_sidecar, template_of, workload
from tidegate_cluster.errors import KubectlFailedError

from tidegate_operator.inject.names import CONTAINER, COPIED, INJECT


def annotate(team: Namespace, kind: str, word: str) -> str:
    return team.kubectl("annotate", "--overwrite", kind.lower(), "chat", f"{INJECT}{word}")


def test_annotating_a_deployment_is_all_it_takes(team: Namespace) -> None:
    team.stored(workload("Deployment"))
    team.until(lambda: len(team.pods()) == 1, "the first pod")
    assert not has_sidecar(team.pods()[0])
    annotate(team, "Deployment", "=enabled")
    team.until(lambda: any(has_sidecar(pod) for pod in team.pods()), "a pod with a sidecar")
    (pod,) = (pod for pod in team.pods() if has_sidecar(pod))
    sidecar = next(it for it in pod["spec"]["initContainers"] if it["name"] == CONTAINER)
    assert (sidecar["image"], sidecar["restartPolicy"]) == (IMAGE, "Always")
    assert pod["metadata"]["labels"]["tidegate.dev/injected"] == "true"
    variables = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    assert variables["OPENAI_BASE_URL"] == "http://127.0.0.1:19280/openai/v1"
    assert json.loads(pod["metadata"]["annotations"]["tidegate.dev/status"])["environment"]["app"]


def test_taking_the_annotation_back_takes_the_sidecar_away(team: Namespace) -> None:
    before = team.stored(workload("Deployment"))
    annotate(team, "Deployment", "=enabled")
    team.until(lambda: any(has_sidecar(pod) for pod in team.pods()), "a pod with a sidecar")
    annotate(team, "Deployment", "-")
    assert template_of(team.get("Deployment")) == template_of(before)
    # nothing schedules pods here, so that a rollout never ends: the old ReplicaSet keeps its pod until it is told
    team.until(lambda: any(not has_sidecar(pod) for pod in team.pods()), "a pod without a sidecar")


@pytest.mark.parametrize("kind", ["StatefulSet", "Job"])
def test_other_controllers_make_pods_with_sidecars_too(team: Namespace, kind: str) -> None:
    team.stored(workload(kind, metadata={"annotations": {INJECT: "enabled"}}))
    team.until(lambda: any(has_sidecar(pod) for pod in team.pods()), "a pod with a sidecar")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "CronJob"])
def test_every_kind_follows_and_forgets(team: Namespace, kind: str) -> None:
    before = template_of(team.stored(workload(kind)))
    annotate(team, kind, "=enabled")
    found = template_of(team.get(kind))["metadata"]["annotations"]
    assert found == {INJECT: "enabled", COPIED: "enabled"}
    annotate(team, kind, "=disabled")
    found = template_of(team.get(kind))["metadata"]["annotations"]
    assert found == {INJECT: "disabled", COPIED: "disabled"}
    annotate(team, kind, "-")
    assert template_of(team.get(kind)) == before


def test_the_jobs_of_a_cron_job_make_pods_with_sidecars(team: Namespace) -> None:
    team.stored(workload("CronJob", metadata={"annotations": {INJECT: "enabled"}}))
    team.kubectl("create", "job", "now", "--from=cronjob/chat")
    team.until(lambda: any(has_sidecar(pod) for pod in team.pods()), "a pod with a sidecar")


def test_a_job_that_exists_stays_and_its_author_is_warned(team: Namespace, injector: InjectorProcess) -> None:
    team.stored(workload("Job"))
    before = injector.asked("jobs")
    annotate(team, "Job", "=enabled")
    assert "annotations" not in template_of(team.get("Job"))["metadata"]
    assert injector.asked("jobs") == before + 1
    # its controller goes on without asking
    team.kubectl("patch", "job", "chat", "--patch", '{"spec": {"suspend": true}}')
    assert injector.asked("jobs") == before + 1


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_a_wrong_word_is_refused_at_the_command_line(team: Namespace, kind: str) -> None:
    team.stored(workload(kind))
    with pytest.raises(KubectlFailedError) as caught:
        annotate(team, kind, "=true")
    assert "annotation tidegate.dev/inject is 'true'; allowed are enabled or disabled" in str(caught.value)


def test_what_is_settled_is_not_asked_about(team: Namespace, injector: InjectorProcess) -> None:
    """Scaling, new images and the controller's own writes go on without the injector."""
    team.stored(workload("Deployment", metadata={"annotations": {INJECT: "enabled"}}))
    before = injector.asked("workloads")
    team.kubectl("scale", "deployment", "chat", "--replicas=2")
    team.kubectl("set", "image", "deployment/chat", "app=registry.example/app:2")
    team.kubectl("rollout", "restart", "deployment/chat")
    team.until(lambda: any(has_sidecar(pod) for pod in team.pods()), "pods")
    assert injector.asked("workloads") == before
    found = template_of(team.get("Deployment"))["metadata"]["annotations"]
    assert found[INJECT] == found[COPIED] == "enabled"


def test_undoing_a_rollout_undoes_opting_in_only_where_it_was_part_of_it(team: Namespace) -> None:
    """kubectl brings back a revision's annotations of the Deployment with its template: both agree at every revision."""

    def revision(number: int) -> None:
        team.until(
            lambda: team.get("Deployment").get("status", {}).get("observedGeneration") == number,
            f"revision {number}",
        )

    before = template_of(team.stored(workload("Deployment")))
    revision(1)
    annotate(team, "Deployment", "=enabled")
    revision(2)
    team.kubectl("set", "image", "deployment/chat", "app=registry.example/app:2")
    revision(3)
    team.kubectl("rollout", "undo", "deployment/chat", "--to-revision=2")
    template = template_of(team.get("Deployment"))
    assert template["metadata"]["annotations"] == {INJECT: "enabled", COPIED: "enabled"}
    assert template["spec"]["containers"][0]["image"] == "registry.example/app:1"
    team.kubectl("rollout", "undo", "deployment/chat", "--to-revision=1")
    found = team.get("Deployment")
    assert template_of(found) == before
    assert INJECT not in found["metadata"].get("annotations", {})
