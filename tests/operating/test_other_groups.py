"""Workloads of other API groups: Argo Rollouts and OpenKruise are targets like Kubernetes' own, known by who made their pods."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tidegate_testing.objects import Objects
from tidegate_testing.operators import Cluster, OperatorProcess, deployment, injected_pod, policy, pool
from tidegate_testing.other_groups import (
    ADVANCED_STATEFUL_SET,
    CLONE_SET,
    FOREIGN_KINDS,
    ROLLOUT,
    foreign_kinds,
)
from tidegate_testing.polling import PollingSidecar

Operators = Callable[..., OperatorProcess]


@pytest.fixture
def objects(cluster: Cluster) -> Iterator[Objects]:
    """Of a cluster that serves these kinds."""
    with foreign_kinds(cluster.control_plane) as objects:
        yield objects


def replica_set(objects: Objects, team: str, rollout: dict[str, Any]) -> dict[str, Any]:
    """What the controller of Argo makes: a ReplicaSet of Kubernetes' own."""
    metadata = injected_pod(team, "chat-5d4f", rollout)["metadata"] | {"labels": {}}
    return objects.apply({**deployment(team, "chat-5d4f"), "kind": "ReplicaSet", "metadata": metadata})


def test_rollouts_and_workloads_of_openkruise_are_governed_and_their_namesakes_are_not(
    cluster: Cluster, operator: Operators, team: str, home: str, objects: Objects
) -> None:
    targets = [{"group": group, "kind": kind, "name": "chat"} for group, _, kind, _ in FOREIGN_KINDS]
    cluster.apply(pool(team), policy(team, targetRefs=targets))
    owners = {
        "rollout": replica_set(objects, team, objects.apply(ROLLOUT.document(team))),
        "cloneset": objects.apply(CLONE_SET.document(team)),
        "advanced": objects.apply(ADVANCED_STATEFUL_SET.document(team)),
        "namesake": {**deployment(team), "kind": "StatefulSet", "metadata": {"name": "chat", "uid": "own"}},
    }
    governed = [name for name in owners if name != "namesake"]
    for name, owner in owners.items():
        objects.apply(injected_pod(team, name, owner, app="chat"))
    cluster.run_sidecar(team, *owners)
    replica = operator().wait_ready()

    sidecars = {name: PollingSidecar(cluster, home, team, name) for name in owners}
    kinds = {}
    for name, sidecar in sidecars.items():
        envelope = sidecar.has(replica, pools=["models"] if name in governed else [])
        kinds[name] = envelope.identity.workload_kind
        sidecar.poll(replica)  # with which it says that the configuration is in force
    assert kinds == {
        "rollout": "Rollout.argoproj.io",
        "cloneset": "CloneSet.apps.kruise.io",
        "advanced": "StatefulSet.apps.kruise.io",
        "namesake": "StatefulSet",
    }
    assert {name for name, it in sidecars.items() if it.denials} == {"namesake"}

    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Ready") == "True/Ready",
        "readiness of the policy",
    )
    status = cluster.get("aipolicy", team, "chat")["status"]
    assert {kind: it["reason"] for kind, it in cluster.conditions("aipolicy", team, "chat").items()} == {
        "Accepted": "Accepted",
        "ResolvedRefs": "ResolvedRefs",
        "Programmed": "Programmed",
        "Ready": "Ready",
    }
    assert status["sidecars"] == {"desired": 3, "programmed": 3, "rejected": 0}
    assert [(it["group"], it["kind"], it["pods"]) for it in status["targets"]] == [
        ("argoproj.io", "Rollout", 1),
        ("apps.kruise.io", "CloneSet", 1),
        ("apps.kruise.io", "StatefulSet", 1),
    ]
    printed = cluster.kubectl("get", "aipolicies", f"--namespace={team}")
    assert (
        "Rollout.argoproj.io/chat, CloneSet.apps.kruise.io/chat, StatefulSet.apps.kruise.io/chat" in printed
    )
