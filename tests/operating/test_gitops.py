"""What Flux and Argo CD take from a status, by the rules of kstatus: they wait for what comes, and never for what may not come."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from tidegate_testing.operators import policy, pool

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.compile.compiler import compile_snapshot
from tidegate_operator.index.objects import Objects
from tidegate_operator.index.snapshot import Workload
from tidegate_operator.publish.acks import objects_in
from tidegate_operator.status.builders import BUILDERS, Memo
from tidegate_operator.status.facts import Pods, gather
from tidegate_operator.status.merge import merge
from tidegate_operator.status.model import Sidecars
from tidegate_operator.status.population import Place, Tally, governed, questions

CHAT = Workload(namespace="team", kind="Deployment", name="chat", labels={"app": "chat"})


class Progress(StrEnum):
    """What kstatus says of an object."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def kstatus(document: Mapping[str, Any]) -> Progress:
    """As sigs.k8s.io/cli-utils computes it for a kind without rules of its own."""
    metadata, status = document["metadata"], document.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Progress.TERMINATING
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return Progress.IN_PROGRESS
    conditions = {it["type"]: it["status"] for it in status.get("conditions") or ()}
    if conditions.get("Reconciling") == "True":
        return Progress.IN_PROGRESS
    if conditions.get("Stalled") == "True":
        return Progress.FAILED
    return Progress.CURRENT if conditions.get("Ready", "True") == "True" else Progress.IN_PROGRESS


KEYED = {
    "name": "x",
    "type": "OpenAI",
    "baseURL": "https://api.example.com/v1",
    "authentication": {"type": "Credentials", "credentialRefs": [{"name": "key"}]},
}
OBJECTS = (
    pool("team", providers=[KEYED]),
    policy("team", targetRefs=[{"kind": "Deployment", "name": "chat"}]),
    {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ClusterAIPolicy",
        "metadata": {"name": "floor"},
        "spec": {"namespaceSelector": {}, "allowModels": ["*"]},
    },
    {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ProviderCredential",
        "metadata": {"name": "key", "namespace": "team"},
        "spec": {"source": {"type": "Secret", "secret": {"key": "openai"}}},
    },
)


class Cluster:
    """Four objects, one of each kind, and the status that each comes to have."""

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self.objects = Objects()
        self.documents: dict[str, dict[str, Any]] = {}
        self.memo = Memo()
        for version, document in enumerate(documents, start=1):
            metadata = {
                "generation": 3,
                **document["metadata"],
                "uid": f"uid-{version}",
                "resourceVersion": str(version),
            }
            self.documents[document["kind"]] = {**document, "metadata": metadata}
            self.objects.seen(document["kind"], self.documents[document["kind"]])

    def has(self, *, pods: int = 0, bare: int = 0, programmed: int = 0) -> dict[str, str]:
        """With so many pods; of each kind what kstatus says, and why it is or is not programmed."""
        held = self.objects.held
        compilation = compile_snapshot(self.objects.snapshot((CHAT,)))
        sidecars = Sidecars(desired=pods, programmed=programmed)
        concerned = objects_in(compilation.configs[compilation.workloads[CHAT]]) if pods else ()
        counts = governed(held.values(), {CHAT: pods} if pods else {})
        place = Place("team", "Deployment", "chat")
        assert place in questions(held.values(), counts) or pods
        facts = gather(
            compilation,
            held,
            frozenset(held),
            dict.fromkeys(concerned, sidecars),
            Pods(governed=counts, bare={place: bare}),
        )
        found = {}
        for ref, wanted in self.memo.statuses(facts).items():
            document = self.documents[ref.kind]
            merged = merge(document.get("status") or {}, wanted, "2026-11-21T10:00:00Z").status
            if merged is not None:
                document["status"] = merged
            reasons = {it["type"]: it["reason"] for it in document["status"]["conditions"]}
            found[ref.kind] = f"{kstatus(document)}/{reasons['Programmed']}"
        return found


def test_nobody_waits_for_pods_that_are_not_there_and_everybody_for_those_that_are() -> None:
    """From no pod to one and back, for each kind."""
    cluster = Cluster(*OBJECTS)
    without = {
        "AIPolicy": "Current/NoPods",
        "ClusterAIPolicy": "Current/NotUsed",
        "ProviderCredential": "Current/NotUsed",
        "ProviderPool": "Current/NotUsed",
    }
    assert without.keys() == BUILDERS.keys()
    assert cluster.has() == without
    assert cluster.has(pods=1) == dict.fromkeys(BUILDERS, "InProgress/Pending")
    assert cluster.has(pods=1, programmed=1) == dict.fromkeys(BUILDERS, "Current/Programmed")
    assert cluster.has() == without


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda it: it.name)
def test_an_object_that_no_operator_has_seen_is_in_progress(kind: Any) -> None:
    """The API server writes this status as the object is created: without one, kstatus takes it for settled."""
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
    assert kstatus({"metadata": {"generation": 1}, "status": status}) is Progress.IN_PROGRESS


def test_pods_that_nobody_governs_make_their_own_policy_wait_and_nothing_else() -> None:
    assert Cluster(*OBJECTS).has(bare=3) == {
        "AIPolicy": "InProgress/NoSidecars",
        "ClusterAIPolicy": "Current/NotUsed",
        "ProviderCredential": "Current/NotUsed",
        "ProviderPool": "Current/NotUsed",
    }


@pytest.mark.parametrize("document", OBJECTS, ids=lambda it: it["kind"])
def test_an_object_that_changed_is_in_progress_until_its_new_form_has_been_looked_at(
    document: dict[str, Any],
) -> None:
    cluster = Cluster(*OBJECTS)
    cluster.has(pods=1, programmed=1)
    changed = cluster.documents[document["kind"]]
    changed["metadata"]["generation"] += 1
    assert kstatus(changed) is Progress.IN_PROGRESS
    changed["metadata"]["resourceVersion"] = "9"
    cluster.objects.seen(document["kind"], changed)
    assert cluster.has(pods=1, programmed=1)[document["kind"]] == "Current/Programmed"


def test_a_cluster_policy_that_chooses_no_namespace_is_not_used_and_ready() -> None:
    *_, floor, _ = OBJECTS
    nowhere = {**floor, "spec": {"namespaceSelector": {"matchLabels": {"team": "none"}}}}
    assert Cluster(OBJECTS[1], nowhere).has()["ClusterAIPolicy"] == "Current/NotUsed"


def a_pod(name: str, owner: tuple[str, str, str] | None, **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "team", "uid": name, "labels": labels}
    if owner is not None:
        api, kind, made_by = owner
        metadata["ownerReferences"] = [
            {"apiVersion": api, "kind": kind, "name": made_by, "uid": made_by, "controller": True}
        ]
    return {"metadata": metadata}


def test_pods_without_a_sidecar_are_counted_for_what_made_them() -> None:
    places = [
        Place("team", kind, name)
        for kind, name in (
            ("Deployment", "chat"),
            ("StatefulSet", "chat"),
            ("CronJob", "nightly"),
            ("Namespace", "team"),
            ("pods", "by-label"),
        )
    ]
    held = Objects()
    by_label = policy("team", "by-label", selector={"matchLabels": {"app": "chat"}})
    by_label["metadata"] |= {"uid": "u", "resourceVersion": "1", "generation": 1}
    held.seen("AIPolicy", by_label)
    (place,) = questions(held.held.values(), {})
    spec = held.held[next(iter(held.held))].stored.spec
    tally = Tally(places, {place: spec.selector})
    terminating = a_pod("going", ("apps/v1", "StatefulSet", "chat"))
    terminating["metadata"]["deletionTimestamp"] = "2026-11-21T10:00:00Z"
    injected = {"tidegate.dev/injected": "true"}
    tally.take(
        [
            a_pod("a", ("apps/v1", "ReplicaSet", "chat-5d4f"), app="chat", **{"pod-template-hash": "5d4f"}),
            a_pod("b", ("apps/v1", "ReplicaSet", "chat-5d4f"), **{"pod-template-hash": "other"}),
            a_pod("c", ("apps.kruise.io/v1beta1", "StatefulSet", "chat")),
            a_pod("d", ("batch/v1", "Job", "nightly-28900000")),
            a_pod("e", ("apps/v1", "StatefulSet", "chat"), **injected),
            a_pod("alone", None),
            terminating,
        ]
    )
    assert [tally.counts[it] for it in places] == [1, 0, 1, 5, 1]
