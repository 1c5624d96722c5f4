"""Workloads of other API groups: Argo Rollouts and OpenKruise are targets like Kubernetes' own, known by who made their pods."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.waiting import wait_until
from tidegate_testing.objects import Objects
from tidegate_testing.operators import (
    WITHIN_S,
    Cluster,
    OperatorProcess,
    deployment,
    injected_pod,
    policy,
    pool,
)
from tidegate_testing.polling import PollingSidecar

Operators = Callable[..., OperatorProcess]

ARGO = ("argoproj.io", "v1alpha1", "Rollout", "rollouts")
KRUISE = (
    ("apps.kruise.io", "v1alpha1", "CloneSet", "clonesets"),
    ("apps.kruise.io", "v1beta1", "StatefulSet", "statefulsets"),
)


def definition(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    """A definition of such a kind, as far as a policy has to do with it: its objects own pods."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": anything},
                }
            ],
        },
    }


@pytest.fixture
def objects(cluster: Cluster) -> Iterator[Objects]:
    """Of a cluster that serves these kinds for the length of the test; words such as statefulset mean nothing else to others."""
    objects = Objects(cluster.control_plane)
    definitions = [definition(*it) for it in (ARGO, *KRUISE)]
    for it in definitions:
        objects.apply(it)
    wait_until(
        lambda: all(serves(cluster.control_plane, *it) for it in (ARGO, *KRUISE)),
        within_s=WITHIN_S,
        what="the kinds of Argo and OpenKruise",
    )
    yield objects
    for it in definitions:
        objects.delete("customresourcedefinitions", "", it["metadata"]["name"])


def serves(control_plane: ControlPlane, group: str, version: str, _kind: str, plural: str) -> bool:
    return control_plane.request("GET", f"/apis/{group}/{version}/{plural}").status == 200


def made(objects: Objects, team: str, group: str, version: str, kind: str) -> dict[str, Any]:
    """An object `chat` of a kind, as the server has it."""
    metadata = {"name": "chat", "namespace": team}
    return objects.apply(
        {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": metadata, "spec": {"replicas": 1}}
    )


def replica_set(objects: Objects, team: str, rollout: dict[str, Any]) -> dict[str, Any]:
    """What the controller of Argo makes: a ReplicaSet of Kubernetes' own."""
    metadata = injected_pod(team, "chat-5d4f", rollout)["metadata"] | {"labels": {}}
    return objects.apply({**deployment(team, "chat-5d4f"), "kind": "ReplicaSet", "metadata": metadata})


def test_rollouts_and_workloads_of_openkruise_are_governed_and_their_namesakes_are_not(
    cluster: Cluster, operator: Operators, team: str, home: str, objects: Objects
) -> None:
    targets = [{"group": group, "kind": kind, "name": "chat"} for group, _, kind, _ in (ARGO, *KRUISE)]
    cluster.apply(pool(team), policy(team, targetRefs=targets))
    owners = {
        "rollout": replica_set(objects, team, made(objects, team, *ARGO[:3])),
        "cloneset": made(objects, team, *KRUISE[0][:3]),
        "advanced": made(objects, team, *KRUISE[1][:3]),
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
