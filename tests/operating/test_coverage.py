"""Workloads that asked for sidecars and have pods without one, found in a real cluster, told once and shown as a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tidegate_testing.operators import (
    STEADY,
    Cluster,
    OperatorProcess,
    deployment,
    injected_pod,
    policy,
    pool,
)

from tidegate_operator.cluster.client import METADATA_LIST, Access, ClusterClient, object_path
from tidegate_operator.handlers.bare_pod_watch import BARE
from tidegate_operator.index.pods import NOT_ENDED
from tidegate_operator.inject.names import INJECT

Operators = Callable[..., OperatorProcess]

OFTEN = {"TIDEGATE_COVERAGE_MS": "100", "TIDEGATE_RELIST_MS": "500"}
ENABLED = {INJECT: "enabled"}


def opted_in(namespace: str, name: str = "chat") -> dict[str, Any]:
    """A Deployment that was annotated before there was an injector: its template says nothing."""
    document = deployment(namespace, name)
    document["metadata"]["annotations"] = ENABLED
    return document


def replica_set(namespace: str, name: str, owner: Mapping[str, Any]) -> dict[str, Any]:
    """What the Deployment's controller would make."""
    metadata = injected_pod(namespace, name, owner)["metadata"]
    return {**deployment(namespace, name), "kind": "ReplicaSet", "metadata": {**metadata, "labels": {}}}


def bare(namespace: str, name: str, owner: Mapping[str, Any] | None, **spec: Any) -> dict[str, Any]:
    """A pod that started without a sidecar."""
    document = injected_pod(namespace, name, owner)
    document["metadata"]["labels"] = {"app": "chat", "pod-template-hash": "5d4f"}
    document["spec"] |= spec
    return document


def deployed(cluster: Cluster, team: str, *pods: str, **spec: Any) -> None:
    """A Deployment `chat` with its ReplicaSet and such pods."""
    cluster.apply(opted_in(team))
    cluster.apply(replica_set(team, "chat-5d4f", cluster.get("deployment", team, "chat")))
    owner = cluster.get("replicaset", team, "chat-5d4f")
    cluster.apply(*(bare(team, name, owner, **spec) for name in pods))


def notes(cluster: Cluster, team: str) -> list[tuple[str, str, str]]:
    """Kind and reason of each event of a namespace, and its words."""
    answer = cluster.control_plane.request("GET", f"/apis/events.k8s.io/v1/namespaces/{team}/events")
    items = sorted(answer.json()["items"], key=lambda it: it["eventTime"])
    return [(it["regarding"]["kind"], it["reason"], it["note"]) for it in items]


def lacking(replica: OperatorProcess, reason: str = "RestartRequired") -> float:
    return replica.metric(f'workloads_without_sidecar{{reason="{reason}"}}')


def remove(cluster: Cluster, team: str, *pods: str) -> None:
    cluster.kubectl("delete", "pod", *pods, f"--namespace={team}", "--force", "--grace-period=0")


def test_pods_from_before_are_told_of_once_and_again_after_they_were_well(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    deployed(cluster, team, "chat-5d4f-a", "chat-5d4f-b")
    replica = operator(**OFTEN).wait_ready()

    replica.until(lambda: lacking(replica) == 1, "the gauge")
    assert replica.metric("pods_without_sidecar") == 2
    ((kind, reason, note),) = notes(cluster, team)
    assert (kind, reason) == ("Deployment", "RestartRequired")
    assert note.startswith("2 of 2 pods run without a sidecar, the oldest since 20")
    assert note.endswith(f"restart them: kubectl -n {team} rollout restart deployment/chat")
    described = cluster.kubectl("describe", "deployment", "chat", f"--namespace={team}")
    assert "2 of 2 pods run without a sidecar" in described

    cluster.apply(injected_pod(team, "chat-6-a", cluster.get("replicaset", team, "chat-5d4f")))
    remove(cluster, team, "chat-5d4f-a", "chat-5d4f-b")
    replica.until(
        lambda: replica.metric("pods_without_sidecar") == 0 and lacking(replica) == 0, "it to be well"
    )
    replica.until(lambda: replica.metric("injected_pods") == 1, "the new pod to be seen")
    assert len(notes(cluster, team)) == 1

    cluster.apply(bare(team, "chat-5d4f-c", cluster.get("replicaset", team, "chat-5d4f")))
    replica.until(lambda: len(notes(cluster, team)) == 2, "the second lack")
    assert "1 of 2 pods run without a sidecar" in notes(cluster, team)[1][2]


def test_between_counts_of_everything_only_namespaces_in_question_are_counted(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    """Everything is counted every ten minutes; that a namespace asks is told by its watch."""
    replica = operator(TIDEGATE_COVERAGE_MS="100").wait_ready()
    cluster.apply(bare(team, "alone", None))
    cluster.kubectl("label", "namespace", team, f"{INJECT}=enabled")
    replica.until(lambda: lacking(replica) == 1, "the gauge")
    ((kind, reason, _),) = notes(cluster, team)
    assert (kind, reason) == ("Pod", "RestartRequired")
    remove(cluster, team, "alone")
    replica.until(lambda: replica.metric("pods_without_sidecar") == 0, "it to be well")


def test_another_holder_of_the_lease_does_not_tell_it_again(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    deployed(cluster, team, "chat-5d4f-a")
    first = operator(**OFTEN, **STEADY).wait_ready()
    first.until(lambda: lacking(first) == 1, "the event")
    second = operator(**OFTEN, **STEADY).wait_ready()
    assert second.metric("pods_without_sidecar") == 0

    assert first.stop() == 0

    second.until(lambda: lacking(second) == 1, "the count by the second replica")
    assert len(notes(cluster, team)) == 1


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"hostNetwork": True}, "HostNetwork", "the sidecar's ports would be taken on the node"),
        ({"os": {"name": "windows"}}, "Windows", "there is no sidecar for Windows"),
    ],
)
def test_pods_that_can_have_none_get_the_reason_and_no_advice(
    cluster: Cluster, operator: Operators, team: str, spec: dict[str, Any], reason: str, words: str
) -> None:
    deployed(cluster, team, "chat-5d4f-a", **spec)
    replica = operator(**OFTEN).wait_ready()
    replica.until(lambda: lacking(replica, reason) == 1, "the gauge")
    ((kind, told, note),) = notes(cluster, team)
    assert (kind, told) == ("Deployment", reason)
    assert words in note
    assert "restart" not in note


def test_pods_ask_by_themselves_and_by_their_namespace(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    cluster.kubectl("label", "namespace", team, f"{INJECT}=enabled")
    out = bare(team, "out", None)
    out["metadata"]["annotations"] = {INJECT: "disabled"}
    ended = bare(team, "ended", None)
    cluster.apply(bare(team, "alone", None), injected_pod(team, "well"), out, ended)
    cluster.kubectl(
        "patch",
        "pod",
        "ended",
        f"--namespace={team}",
        "--subresource=status",
        '--patch={"status": {"phase": "Succeeded"}}',
    )
    replica = operator(**OFTEN).wait_ready()
    replica.until(lambda: lacking(replica) == 1, "the gauge")
    assert replica.metric("pods_without_sidecar") == 1
    ((kind, reason, note),) = notes(cluster, team)
    assert (kind, reason) == ("Pod", "RestartRequired")
    assert note.endswith("create the pod anew")


async def test_pods_come_page_by_page_as_metadata_and_only_those_in_question(
    cluster: Cluster, account: Path, team: str
) -> None:
    """What keeps the count small: no page is larger than its limit, and no specification is sent."""
    cluster.apply(injected_pod(team, "well"), *(bare(team, f"pod-{number}", None) for number in range(5)))
    client = ClusterClient(Access(str(account)), request_ms=5_000, at_once=1)
    try:
        path = object_path("v1", "pods", team)
        arriving = client.pages(path, labels=BARE, fields=NOT_ENDED, accept=METADATA_LIST, limit=2)
        pages = [page async for page in arriving]
    finally:
        client.close()
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {pod["metadata"]["name"] for page in pages for pod in page} == {f"pod-{it}" for it in range(5)}
    assert all("spec" not in pod for page in pages for pod in page)


def test_pods_without_a_sidecar_show_in_conditions_as_they_come_and_go(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    """By a watch: everything is listed again after ten minutes, for which no test waits."""
    replica = operator().wait_ready()
    account = {"kind": "ServiceAccount", "name": "default"}
    cluster.apply(pool(team), policy(team, "all"), policy(team, "account", targetRefs=[account]))

    def programmed(reason: str, number: str = "") -> bool:
        conditions = [
            cluster.conditions("aipolicy", team, name).get("Programmed") for name in ("all", "account")
        ]
        return all(
            condition is not None and condition["reason"] == reason and number in condition["message"]
            for condition in conditions
        )

    replica.until(lambda: programmed("NoPods"), "no pods")
    cluster.apply(bare(team, "chat-0", None))
    replica.until(lambda: programmed("NoSidecars", ": 1 pod"), "one pod")
    cluster.apply(bare(team, "chat-1", None))
    replica.until(lambda: programmed("NoSidecars", ": 2 pods"), "two pods")
    remove(cluster, team, "chat-0", "chat-1")
    replica.until(lambda: programmed("NoPods"), "no pods again")


@pytest.mark.parametrize("asks", ["namespace", "workload"])
def test_pods_that_come_without_the_sidecar_that_is_asked_for_are_told_by_a_watch(
    cluster: Cluster, operator: Operators, team: str, asks: str
) -> None:
    """Also where the last count found nothing lacking: only the count of everything would look there again, ten minutes later."""
    if asks == "namespace":
        cluster.kubectl("label", "namespace", team, f"{INJECT}=enabled")
        cluster.apply(bare(team, "first", None))
        owner = None
    else:
        deployed(cluster, team, "first")
        owner = cluster.get("replicaset", team, "chat-5d4f")
    replica = operator(TIDEGATE_COVERAGE_MS="100").wait_ready()
    for name in ("first", "second", "third"):
        if name != "first":
            cluster.apply(bare(team, name, owner))
        replica.until(lambda: replica.metric("pods_without_sidecar") == 1, "the gauge")
        remove(cluster, team, name)
        replica.until(lambda: replica.metric("pods_without_sidecar") == 0, "it to be well")
