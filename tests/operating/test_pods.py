"""Whom a pod belongs to, told by its owners; and that nothing but a few fields of it is kept."""

from typing import Any

import pytest
from tidegate_testing.operators import injected_pod

from tidegate_operator.index.pods import Owner, Pods, read_pod
from tidegate_operator.index.snapshot import Workload


def a_pod(
    name: str = "chat-0",
    version: int = 1,
    owner: tuple[str, str] | None = None,
    api: str = "apps/v1",
    **labels: str,
) -> dict[str, Any]:
    kind, made_by = owner or ("", "")
    maker = {"apiVersion": api, "kind": kind, "metadata": {"name": made_by, "uid": f"{kind}-{made_by}"}}
    document = injected_pod("team", name, maker if owner else None, **labels)
    document["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": str(version)}
    document["spec"]["serviceAccountName"] = "chat"
    return document


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_an_owner_that_nothing_else_makes_is_the_workload(kind: str) -> None:
    pods = Pods()
    pods.seen(a_pod(owner=(kind, "chat")))
    assert pods.unknown_owners() == ()
    (workload,) = pods.by_workload()
    assert (str(workload), workload.service_account) == (f"team/{kind}/chat", "chat")


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        ("apps.kruise.io/v1beta1", "StatefulSet"),
        ("apps.kruise.io/v1alpha1", "DaemonSet"),
        ("example.com/v1", "ReplicaSet"),
        ("batch.volcano.sh/v1alpha1", "Job"),
        ("argoproj.io/v1alpha1", "Rollout"),
    ],
)
def test_another_groups_kind_of_the_same_name_is_another_kind(api: str, kind: str) -> None:
    """Else a policy for one StatefulSet would govern the pods of another one that has its name."""
    pods = Pods()
    pods.seen(a_pod(owner=(kind, "chat"), api=api))
    assert pods.unknown_owners() == ()
    assert [str(it) for it in pods.by_workload()] == [f"team/{kind}.{api.partition('/')[0]}/chat"]


@pytest.mark.parametrize(
    ("api", "kind", "above"), [("apps/v1", "ReplicaSet", "Deployment"), ("batch/v1", "Job", "CronJob")]
)
def test_what_made_the_owner_is_the_workload_once_it_is_known(api: str, kind: str, above: str) -> None:
    pods = Pods()
    pods.seen(a_pod(owner=(kind, "chat-5d4f"), api=api))
    ((namespace, owner),) = pods.unknown_owners()
    assert (namespace, owner.kind, owner.name) == ("team", kind, "chat-5d4f")
    assert pods.by_workload() == {}

    pods.learn(owner.uid, Owner(api=api, kind=above, name="chat", uid="top"))
    assert [str(it) for it in pods.by_workload()] == [f"team/{above}/chat"]
    pods.learn(owner.uid, None)
    assert [str(it) for it in pods.by_workload()] == [f"team/{kind}/chat-5d4f"]


def answered(pods: Pods) -> None:
    for _, owner in pods.unknown_owners():
        pods.learn(
            owner.uid, Owner(api="apps/v1", kind="Deployment", name=owner.name, uid=f"top-{owner.uid}")
        )


def test_what_a_pod_has_for_an_owner_is_not_asked_again_however_many_there_are() -> None:
    """With a bound below the number of owners each answer would push out one that is needed, without end."""
    pods = Pods(idle_owners=3)
    for number in range(10):
        pods.seen(a_pod(f"chat-{number}", owner=("ReplicaSet", f"chat-{number}")))
    answered(pods)
    assert pods.unknown_owners() == ()
    assert len(pods.by_workload()) == 10


def test_of_owners_without_a_pod_those_used_last_are_remembered() -> None:
    pods = Pods(idle_owners=2)
    for name in ("a", "b", "c"):
        pods.seen(a_pod(name, version=1, owner=("ReplicaSet", name)))
    answered(pods)
    for name in ("c", "a", "b"):
        pods.gone(a_pod(name, version=2, owner=("ReplicaSet", name)))
    for name in ("a", "b", "c"):
        pods.seen(a_pod(f"{name}-2", version=3, owner=("ReplicaSet", name)))
    assert [owner.name for _, owner in pods.unknown_owners()] == ["c"]


def test_an_owner_that_changes_is_asked_about() -> None:
    pods = Pods(idle_owners=0)
    pods.seen(a_pod(version=1, owner=("ReplicaSet", "one")))
    answered(pods)
    pods.seen(a_pod(version=2, owner=("ReplicaSet", "one")))
    assert pods.unknown_owners() == ()
    pods.seen(a_pod(version=3, owner=("ReplicaSet", "two")))
    assert [owner.name for _, owner in pods.unknown_owners()] == ["two"]
    assert "owners known: 0" in repr(pods)


def test_a_pod_that_nobody_made_is_a_workload_of_its_own() -> None:
    pods = Pods()
    pods.seen(a_pod("alone"))
    assert [str(it) for it in pods.by_workload()] == ["team/Pod/alone"]


def test_pods_of_one_template_are_one_workload() -> None:
    pods = Pods()
    for number in range(3):
        labels = {
            "app": "chat",
            "statefulset.kubernetes.io/pod-name": f"chat-{number}",
            "controller-revision-hash": "x",
        }
        pods.seen(a_pod(f"chat-{number}", owner=("StatefulSet", "chat"), **labels))
    ((workload, members),) = pods.by_workload().items()
    assert len(members) == 3
    assert workload.labels == {"app": "chat", "tidegate.dev/injected": "true"}
    assert isinstance(workload, Workload)


def test_only_injected_pods_that_have_not_ended_count() -> None:
    pods = Pods()
    assert pods.seen(a_pod(version=1))
    assert not pods.seen(a_pod(version=1))
    assert not pods.seen(a_pod(version=2) | {"status": {"phase": "Running"}})
    assert pods.seen(a_pod(version=3) | {"status": {"phase": "Succeeded"}})
    assert len(pods) == 0
    bare = a_pod("bare")
    bare["metadata"]["labels"] = {}
    assert not pods.seen(bare)
    assert len(pods) == 0


def test_a_pod_that_was_deleted_does_not_come_back() -> None:
    pods = Pods()
    pods.seen(a_pod(version=1))
    assert pods.gone(a_pod(version=3))
    assert not pods.seen(a_pod(version=2))
    assert not pods.relisted([a_pod(version=1)], 2) or len(pods) == 0
    assert len(pods) == 0


def test_a_list_takes_away_what_is_not_in_it() -> None:
    pods = Pods()
    pods.seen(a_pod("old", version=1))
    pods.seen(a_pod("young", version=9))
    assert pods.relisted([a_pod("new", version=4)], 5)
    assert {pod.name for group in pods.by_workload().values() for pod in group} == {"young", "new"}
    assert pods.is_listed


def sidecar(**status: Any) -> dict[str, Any]:
    """The status of a pod of which the kubelet says this about the sidecar."""
    other = {"name": "init-db", "state": {"terminated": {"exitCode": 0}}}
    return {"status": {"initContainerStatuses": [other, {"name": "tidegate-sidecar", **status}]}}


@pytest.mark.parametrize(
    ("status", "has_begun"),
    [
        ({}, False),
        (sidecar(state={"waiting": {"reason": "PodInitializing"}}, restartCount=0), False),
        (sidecar(state={"waiting": {"reason": "ImagePullBackOff"}}, restartCount=0), False),
        (sidecar(state={"running": {}}, restartCount=0), True),
        (sidecar(state={"terminated": {"exitCode": 1}}, restartCount=0), True),
        (sidecar(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=3), True),
        (sidecar(state={"waiting": {}}, lastState={"terminated": {"exitCode": 1}}), True),
        ({"status": {"containerStatuses": [{"name": "app", "state": {"running": {}}}]}}, False),
    ],
    ids=[
        "no status",
        "waits for its turn",
        "waits for its image",
        "runs",
        "ended",
        "crashes",
        "ran before",
        "only the app runs",
    ],
)
def test_whether_a_sidecar_has_begun(status: dict[str, Any], has_begun: bool) -> None:
    assert read_pod(a_pod() | status).has_begun is has_begun


def test_a_beginning_is_told_once_and_changes_nothing_that_is_compiled() -> None:
    pods = Pods()
    pods.seen(a_pod(version=1))
    assert not pods.seen(a_pod(version=2) | sidecar(state={"running": {}}))
    assert pods.take_begun() == ("uid-chat-0",)
    assert not pods.seen(a_pod(version=3) | sidecar(state={"running": {}}))
    assert pods.take_begun() == ()


def test_nothing_is_told_of_a_sidecar_that_ran_before_the_first_list_or_is_gone() -> None:
    pods = Pods()
    pods.relisted([a_pod("old", version=1) | sidecar(state={"running": {}})], 1)
    pods.seen(a_pod("short", version=2))
    pods.seen(a_pod("short", version=3) | sidecar(state={"running": {}}))
    pods.gone(a_pod("short", version=4))
    assert pods.take_begun() == ()


def test_a_pod_whose_beginning_was_missed_has_begun_when_it_is_found() -> None:
    pods = Pods()
    pods.relisted([], 1)
    pods.relisted([a_pod("missed", version=2) | sidecar(state={"running": {}})], 3)
    assert pods.take_begun() == ("uid-missed",)


def test_of_a_pod_little_is_kept() -> None:
    pod = read_pod(a_pod(owner=("StatefulSet", "chat"), app="chat"))
    assert (pod.namespace, pod.name, pod.service_account) == ("team", "chat-0", "chat")
    assert not hasattr(pod, "spec")
