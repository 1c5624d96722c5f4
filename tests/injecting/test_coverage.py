"""Who asked for sidecars and has pods without one: counted by metadata alone, and told once until it was well in between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tidegate_operator.coverage.count import Count, Lack, Sample, WorkloadName, injected_pods
from tidegate_operator.coverage.shortfall import (
    MAX_AT_ONCE,
    PATIENCE,
    PATIENCE_ON_THE_WAY,
    RESTART_REQUIRED,
    UNEXAMINED,
    Finding,
    Shortfalls,
    examine,
    note,
)
from tidegate_operator.index.snapshot import Namespace, Workload
from tidegate_operator.inject.names import CONTAINER, INJECT

CHAT = WorkloadName("team", "Deployment", "chat")
ENABLED, DISABLED = {INJECT: "enabled"}, {INJECT: "disabled"}


def owned(kind: str, name: str, api: str = "apps/v1") -> list[dict[str, Any]]:
    return [{"apiVersion": api, "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]


def a_pod(name: str = "chat-5d4f-x7", namespace: str = "team", **metadata: Any) -> dict[str, Any]:
    """A pod of Deployment `chat` that says nothing, as metadata."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-21T10:00:00Z",
            "labels": {"pod-template-hash": "5d4f"},
            "ownerReferences": owned("ReplicaSet", "chat-5d4f"),
        }
        | metadata
    }


def a_workload(annotations: Mapping[str, str], name: str = "chat") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", "annotations": annotations}}


def counted(
    *pods: dict[str, Any],
    labels: Mapping[str, str] | None = None,
    workloads: Mapping[str, list[dict[str, Any]]] | None = None,
) -> Count:
    count = Count([Namespace(name="team", labels=labels or {})], ["tidegate-system"])
    for kind, documents in (workloads or {}).items():
        count.take_workloads(kind, documents)
    count.take_pods(pods)
    return count


@pytest.mark.parametrize("of_namespace", [{}, ENABLED, DISABLED, {INJECT: "what"}])
@pytest.mark.parametrize("of_workload", [{}, ENABLED, DISABLED, {INJECT: "what"}])
@pytest.mark.parametrize("of_pod", [{}, ENABLED, DISABLED, {INJECT: "what"}])
def test_the_nearest_word_goes_before(
    of_pod: dict[str, str], of_workload: dict[str, str], of_namespace: dict[str, str]
) -> None:
    words = [it.get(INJECT, "") for it in (of_pod, of_workload, of_namespace)]
    # a pod with a word that nobody understands is refused; on what is further away it asks for nothing
    said = [word for word in words if word and (word != "what" or word is words[0])]
    count = counted(
        a_pod(annotations=of_pod), labels=of_namespace, workloads={"Deployment": [a_workload(of_workload)]}
    )
    assert (count.pods == 1) is (said[:1] == ["enabled"])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, CHAT),
        ({"labels": {}}, WorkloadName("team", "ReplicaSet", "chat-5d4f")),
        ({"labels": {"pod-template-hash": "other"}}, WorkloadName("team", "ReplicaSet", "chat-5d4f")),
        ({"ownerReferences": owned("StatefulSet", "db")}, WorkloadName("team", "StatefulSet", "db")),
        ({"ownerReferences": owned("Job", "sync-123", "batch/v1")}, WorkloadName("team", "CronJob", "sync")),
        ({"ownerReferences": owned("Job", "load-123", "batch/v1")}, WorkloadName("team", "Job", "load-123")),
        ({"ownerReferences": owned("Job", "sync", "batch/v1")}, WorkloadName("team", "Job", "sync")),
        (
            {"ownerReferences": owned("Job", "sync-1", "x.dev/v1")},
            WorkloadName("team", "Job.x.dev", "sync-1"),
        ),
        ({"ownerReferences": owned("Node", "node-1", "v1")}, WorkloadName("team", "Pod", "chat-5d4f-x7")),
        ({"ownerReferences": []}, WorkloadName("team", "Pod", "chat-5d4f-x7")),
    ],
)
def test_a_pod_belongs_to_what_made_its_maker(metadata: dict[str, Any], expected: WorkloadName) -> None:
    """Even if another Deployment's name is the beginning of a name: the rest has to be the template's hash."""
    jobs = {"CronJob": [a_workload({}, "sync")]}
    assert list(counted(a_pod(**metadata), labels=ENABLED, workloads=jobs).lacking) == [expected]


@pytest.mark.parametrize(
    "pod",
    [
        a_pod(labels={"tidegate.dev/injected": "true"}),
        a_pod(deletionTimestamp="2026-11-21T10:00:00Z"),
        a_pod(namespace="kube-system", annotations=ENABLED),
        a_pod(namespace="tidegate-system", annotations=ENABLED),
        a_pod(namespace="elsewhere"),
    ],
)
def test_pods_that_need_none_or_are_going_do_not_count(pod: dict[str, Any]) -> None:
    assert counted(pod, labels=ENABLED).pods == 0


def test_the_oldest_pod_is_the_sample() -> None:
    times = {"b": "2026-11-21T10:00:00Z", "c": "2026-11-20T10:00:00Z", "a": "2026-11-20T10:00:00Z"}
    pods = [a_pod(name, creationTimestamp=created, annotations=ENABLED) for name, created in times.items()]
    lack = counted(*pods).lacking[CHAT]
    assert (lack.pods, lack.sample.name) == (3, "a")


def test_a_cluster_of_any_size_is_counted_in_bounded_memory() -> None:
    count = Count([], ["tidegate-system"], most=2)
    for number in range(5):
        count.take_pods([a_pod(f"pod-{number}", ownerReferences=[], annotations=ENABLED)])
    assert (len(count.lacking), count.pods, count.left_out) == (2, 5, 3)


def test_namespaces_in_which_nothing_is_injected_are_left_out() -> None:
    count = Count([], ["tidegate-system", "team"])
    count.take_pods([a_pod(annotations=ENABLED)])
    assert (count.lacking, count.pods) == ({}, 0)


def test_injected_pods_are_counted_by_workload() -> None:
    workload = Workload(namespace="team", kind="Deployment", name="chat", labels={"a": "b"})
    other = Workload(namespace="team", kind="Deployment", name="chat", labels={"c": "d"})
    assert injected_pods({workload: ["x"], other: ["y", "z"]}) == {CHAT: 3}


APP = {"name": "app", "image": "a"}
HOST = ("HostNetwork", "with hostNetwork the sidecar's ports would be taken")


@pytest.mark.parametrize(
    ("spec", "annotations", "reason", "why"),
    [
        ({}, {}, RESTART_REQUIRED, ""),
        ({"hostNetwork": True}, {}, *HOST),
        ({"hostNetwork": True}, ENABLED, *HOST),
        ({"os": {"name": "windows"}}, {}, "Windows", "there is no sidecar for Windows"),
        ({}, {"kubernetes.io/config.mirror": "x"}, "MirrorPod", "the kubelet made this pod from a file"),
        ({"containers": [{**APP, "name": CONTAINER}]}, {}, RESTART_REQUIRED, "new ones would be refused"),
        ({}, {"tidegate.dev/image": "of.the/platform"}, RESTART_REQUIRED, ""),
    ],
)
def test_the_reason_is_the_injectors_own(
    spec: dict[str, Any], annotations: dict[str, str], reason: str, why: str
) -> None:
    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [APP], **spec}}
    finding = examine(pod)
    assert finding is not None
    assert finding.reason == reason
    assert why in finding.why
    assert bool(why) is bool(finding.why)


def test_a_pod_that_has_opted_out_is_no_finding() -> None:
    assert examine({"metadata": {"labels": DISABLED}, "spec": {"containers": [APP]}}) is None


LACK = Lack(pods=2, sample=Sample("2026-11-21T10:00:00Z", "chat-5d4f-x7", "u", None))


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("Deployment", "restart them: kubectl -n team rollout restart deployment/chat"),
        ("DaemonSet", "restart them: kubectl -n team rollout restart daemonset/chat"),
        ("CronJob", "kubectl -n team annotate --overwrite cronjob/chat tidegate.dev/inject=enabled"),
        ("Job", "create the Job anew"),
        ("Pod", "create the pod anew"),
        ("Rollout", "delete them, and their Rollout makes new ones"),
    ],
)
def test_the_event_says_how_many_since_when_and_what_to_do(kind: str, advice: str) -> None:
    text = note(WorkloadName("team", kind, "chat"), LACK, 3, Finding(RESTART_REQUIRED))
    assert text.startswith("2 of 5 pods run without a sidecar, the oldest since 2026-11-21T10:00:00Z: ")
    assert text.endswith(advice)


def test_where_no_restart_helps_none_is_advised() -> None:
    text = note(CHAT, LACK, 0, Finding("HostNetwork", "the reason"))
    assert text == "2 of 2 pods run without a sidecar: the reason"


def test_a_workload_is_told_of_once_until_it_was_well() -> None:
    shortfalls, lacking = Shortfalls(), {CHAT: LACK}
    told = []
    for count in [lacking] * (PATIENCE + 2) + [{}] + [lacking] * (PATIENCE + 1):
        shortfalls.counted(count)
        for name in tuple(shortfalls.due({})):
            told.append(shortfalls.episode(name))
            shortfalls.told(name, Finding(RESTART_REQUIRED))
    assert told == [0, 1]
    assert shortfalls.reasons() == {RESTART_REQUIRED: 1}


@pytest.mark.parametrize(("injected", "patience"), [({}, PATIENCE), ({CHAT: 1}, PATIENCE_ON_THE_WAY)])
def test_pods_that_are_being_replaced_are_no_news(injected: dict[WorkloadName, int], patience: int) -> None:
    shortfalls = Shortfalls()
    for number in range(1, patience + 1):
        shortfalls.counted({CHAT: LACK})
        assert tuple(shortfalls.due(injected)) == ((CHAT,) if number == patience else ())
    assert shortfalls.reasons() == {UNEXAMINED: 1}


def test_many_are_told_of_in_turns() -> None:
    shortfalls = Shortfalls()
    lacking = {CHAT._replace(name=f"chat-{number}"): LACK for number in range(MAX_AT_ONCE + 10)}
    for _ in range(PATIENCE):
        shortfalls.counted(lacking)
    first = tuple(shortfalls.due({}))
    assert len(first) == MAX_AT_ONCE
    for name in first:
        shortfalls.told(name, Finding("Windows", "w"))
    assert len(tuple(shortfalls.due({}))) == 10
    assert shortfalls.reasons() == {"Windows": MAX_AT_ONCE, UNEXAMINED: 10}
    assert json.dumps(shortfalls.reasons())
