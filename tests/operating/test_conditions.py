"""From what a compile found to conditions: each is of the vocabulary, says why, and names what a person has to mend."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing.operators import policy, pool

from tidegate_operator.api.conditions import REASONS
from tidegate_operator.api.status import ConditionStatus
from tidegate_operator.compile.compiler import compile_snapshot
from tidegate_operator.index.objects import Objects
from tidegate_operator.index.snapshot import Workload
from tidegate_operator.status.builders import Memo
from tidegate_operator.status.facts import Pods, gather
from tidegate_operator.status.model import MAX_MESSAGE, MissingKey, Sidecars, WantedStatus
from tidegate_operator.status.population import Place, governed
from tidegate_policy.model import ObjectRef

CHAT = Workload(
    namespace="team", kind="Deployment", name="chat", labels={"app": "chat"}, service_account="chat"
)


def found(
    *documents: Mapping[str, Any],
    workloads: Mapping[Workload, int] | None = None,
    sidecars: Mapping[ObjectRef, Sidecars] | None = None,
    bare: Mapping[Place, int] | None = None,
    missing_keys: Mapping[ObjectRef, tuple[MissingKey, ...]] | None = None,
) -> dict[str, WantedStatus]:
    """Name of each object to its status; of two objects with one name, the policy's."""
    objects = Objects()
    for version, document in enumerate(documents, start=1):
        metadata = {
            "generation": 1,
            **document["metadata"],
            "uid": f"uid-{version}",
            "resourceVersion": str(version),
        }
        objects.seen(document["kind"], {**document, "metadata": metadata})
    pods = {CHAT: 2} if workloads is None else dict(workloads)
    snapshot = objects.snapshot(pods)
    known = Pods(governed=governed(objects.held.values(), pods), bare=bare or {})
    gathered = gather(
        compile_snapshot(snapshot),
        objects.held,
        snapshot.in_force,
        sidecars or {},
        known,
        missing_keys=missing_keys,
    )
    return {ref.name: status for ref, status in Memo().statuses(gathered).items()}


def said(status: WantedStatus) -> dict[str, str]:
    return {it.type.value: f"{it.status.value}/{it.reason.value}" for it in status.conditions}


def message(status: WantedStatus, condition: str) -> str:
    (text,) = [it.message for it in status.conditions if it.type.value == condition]
    return text


def test_a_policy_in_force() -> None:
    status = found(pool("team"), policy("team", targetRefs=[{"kind": "Deployment", "name": "chat"}]))["chat"]
    assert said(status) == {
        "Accepted": "True/Accepted",
        "ResolvedRefs": "True/ResolvedRefs",
        "Programmed": "True/NoPods",
        "Ready": "True/Ready",
    }
    assert status.targets is not None
    assert [(it.kind, it.name, it.pods) for it in status.targets] == [("Deployment", "chat", 2)]


def test_targets_count_their_pods_each_in_its_own_way() -> None:
    targets = [
        {"kind": "Namespace", "name": "team"},
        {"kind": "ServiceAccount", "name": "chat"},
        {"kind": "Deployment", "name": "absent"},
        {"kind": "Namespace", "name": "another"},
    ]
    other = Workload(namespace="team", kind="Job", name="batch")
    elsewhere = Workload(namespace="another", kind="Job", name="batch")
    status = found(
        pool("team"), policy("team", targetRefs=targets), workloads={CHAT: 2, other: 1, elsewhere: 5}
    )["chat"]
    assert status.targets is not None
    assert [it.pods for it in status.targets] == [3, 2, 0, 0]
    assert said(status)["Accepted"] == "False/Invalid"
    assert "its own namespace alone" in message(status, "Accepted")


def test_a_policy_all_of_whose_targets_are_missing_is_not_accepted_and_one_of_two_is_unresolved() -> None:
    absent = {"kind": "Deployment", "name": "absent"}
    present = {"kind": "Deployment", "name": "chat"}
    assert (
        said(found(pool("team"), policy("team", targetRefs=[absent]))["chat"])["Accepted"]
        == "False/TargetNotFound"
    )
    partly = found(pool("team"), policy("team", targetRefs=[absent, present]))["chat"]
    assert said(partly) == {
        "Accepted": "True/Accepted",
        "ResolvedRefs": "False/TargetNotFound",
        "Programmed": "True/NoPods",
        "Ready": "False/NotReady",
    }
    assert "there is no Deployment absent" in message(partly, "ResolvedRefs")


def test_what_may_get_pods_yet_is_not_missing() -> None:
    """A ServiceAccount or labels of pods that are scaled to zero are not to be told from wrong ones."""
    for choice in (
        {"targetRefs": [{"kind": "ServiceAccount", "name": "later"}]},
        {"selector": {"matchLabels": {"app": "later"}}},
    ):
        status = found(pool("team"), policy("team", **choice))["chat"]
        assert said(status)["Accepted"] == "True/Accepted"
        assert said(status)["Programmed"] == "True/NoPods"
        assert said(status)["Ready"] == "True/Ready"


def test_a_target_whose_pods_all_go_without_a_sidecar_makes_a_policy_unready() -> None:
    refs = [{"kind": "Deployment", "name": "chat"}, {"kind": "StatefulSet", "name": "index"}]
    other = Workload(namespace="team", kind="StatefulSet", name="index")
    ref = ObjectRef(kind="AIPolicy", namespace="team", name="chat")
    status = found(
        pool("team"),
        policy("team", targetRefs=refs),
        workloads={CHAT: 2, other: 0},
        sidecars={ref: Sidecars(desired=2, programmed=2)},
        bare={Place("team", "StatefulSet", "index"): 3},
    )["chat"]
    assert said(status)["Programmed"] == "False/NoSidecars"
    assert said(status)["Ready"] == "False/NotReady"
    assert "StatefulSet index: 3 pods run, none of them has a sidecar" in message(status, "Programmed")
    # one governed pod is enough: that others lack theirs is told by events about the workload
    place = Place("team", "Deployment", "chat")
    assert said(found(pool("team"), policy("team", targetRefs=refs[:1]), bare={place: 3})["chat"])[
        "Programmed"
    ] == ("True/NoPods")


def keyed() -> dict[str, Any]:
    """A pool that uses the credential `key`."""
    provider = {
        "name": "x",
        "type": "OpenAI",
        "baseURL": "https://api.example.com/v1",
        "authentication": {"type": "Credentials", "credentialRefs": [{"name": "key"}]},
    }
    return pool("team", providers=[provider])


def key(*, suspend: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ProviderCredential",
        "metadata": {"name": "key", "namespace": "team"},
        "spec": {"source": {"type": "Secret", "secret": {"key": "openai"}}, "suspend": suspend},
    }


def test_a_key_that_sidecars_lack_shows_in_the_conditions_of_credential_and_pool() -> None:
    ref = ObjectRef(kind="ProviderCredential", namespace="team", name="key")
    models = ObjectRef(kind="ProviderPool", namespace="team", name="models")
    missing = (
        MissingKey(ref, "team", "Missing", 5, ("a", "b", "c")),
        MissingKey(ref, "team-b", "Unusable", 1, ("d",)),
        MissingKey(ref, "team-c", "NotMounted", 1, ("e",)),
        MissingKey(ref, "team-d", "Expired", 1, ("f",)),
    )
    statuses = found(keyed(), key(), missing_keys={ref: missing, models: missing})
    for name in ("key", "models"):
        assert said(statuses[name])["ResolvedRefs"] == "False/KeyMissing"
        assert said(statuses[name])["Ready"] == "False/NotReady"
        assert message(statuses[name], "ResolvedRefs") == (
            "5 pods have no key for ProviderCredential team/key in namespace team (a, b, c and 2 more): the Secret "
            "tidegate-keys of that namespace is not there, or has no such key; "
            "1 pod has no key for ProviderCredential team/key in namespace team-b (d): the Secret tidegate-keys has one "
            "that is empty, or holds characters that no header can carry; "
            "1 pod has no key for ProviderCredential team/key in namespace team-c (e): no Secret with keys is mounted in "
            "the sidecar; "
            "1 pod has no key for ProviderCredential team/key in namespace team-d (f): it cannot be used"
        )
    well = found(keyed(), key())
    assert said(well["key"])["ResolvedRefs"] == said(well["models"])["ResolvedRefs"] == "True/ResolvedRefs"
    suspended = found(keyed(), key(suspend=True), missing_keys={models: missing})
    assert said(suspended["models"])["ResolvedRefs"] == "False/RefSuspended"


def test_a_suspended_credential_shows_in_the_conditions_of_its_pool() -> None:
    statuses = found(keyed(), key(suspend=True))
    assert said(statuses["key"])["Ready"] == "False/Suspended"
    assert said(statuses["models"])["ResolvedRefs"] == "False/RefSuspended"
    assert said(statuses["models"])["Ready"] == "False/NotReady"
    assert said(found(keyed())["models"])["ResolvedRefs"] == "False/RefNotFound"


def test_a_suspended_pool_shows_in_the_conditions_of_every_policy_that_names_it() -> None:
    """Their calls through it are refused, so they are not fully in force; another pool of a policy goes on."""
    platform = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ClusterAIPolicy",
        "metadata": {"name": "floor"},
        "spec": {"namespaceSelector": {}, "poolRefs": [{"name": "models", "namespace": "team"}]},
    }
    both = policy("team", poolRefs=[{"name": "models"}, {"name": "spare"}])
    statuses = found(
        pool("team", suspend=True), pool("team", "spare"), both, platform, sidecars=serving(both, platform)
    )
    for name in ("chat", "floor"):
        assert said(statuses[name])["Accepted"] == "True/Accepted"
        assert said(statuses[name])["ResolvedRefs"] == "False/RefSuspended"
        assert said(statuses[name])["Ready"] == "False/NotReady"
    assert message(statuses["chat"], "ResolvedRefs") == (
        "spec.poolRefs[0]: ProviderPool team/models is suspended: calls through it are refused"
    )
    assert said(statuses["models"])["Ready"] == "False/Suspended"
    assert said(statuses["spare"])["Ready"] == "True/Ready"
    resumed = found(pool("team"), pool("team", "spare"), both, platform, sidecars=serving(both, platform))
    assert said(resumed["chat"])["Ready"] == said(resumed["floor"])["Ready"] == "True/Ready"


def serving(*documents: Mapping[str, Any]) -> dict[ObjectRef, Sidecars]:
    """One sidecar enforces each of them."""
    return {
        ObjectRef(
            kind=it["kind"], namespace=it["metadata"].get("namespace", ""), name=it["metadata"]["name"]
        ): Sidecars(desired=1, programmed=1)
        for it in documents
    }


def test_what_get_shows_of_lists_and_selectors() -> None:
    """A column has one text: of a list it would have the first item alone."""
    targets = [{"kind": "Deployment", "name": name} for name in ("chat", "search")]
    rollout = {"group": "argoproj.io", "kind": "Rollout", "name": "agent"}
    selector = {
        "matchLabels": {"tier": "web", "app": "chat"},
        "matchExpressions": [
            {"key": "team", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }
    names = [{"name": name, "type": "OpenAI"} for name in ("a", "b", "c", "d", "e")]
    statuses = found(
        policy("team", "some", targetRefs=[*targets, rollout]),
        policy("team", "labels", selector=selector),
        policy("team", "all", selector={}),
        pool("team", providers=names),
    )
    assert {name: dict(status.shown) for name, status in statuses.items()} == {
        "some": {"appliesTo": "Deployment/chat, Deployment/search, Rollout.argoproj.io/agent"},
        "labels": {"appliesTo": "app=chat,tier=web,team in (a,b),!old"},
        "all": {"appliesTo": "all pods"},
        "models": {"providerNames": "a, b, c and 2 more"},
    }


def test_sidecars_that_lag_and_those_that_refuse() -> None:
    ref = ObjectRef(kind="AIPolicy", namespace="team", name="chat")
    documents = (pool("team"), policy("team"))

    def programmed(sidecars: Sidecars) -> tuple[str, str]:
        status = found(*documents, sidecars={ref: sidecars})["chat"]
        return said(status)["Programmed"], message(status, "Programmed")

    assert programmed(Sidecars(desired=2, programmed=2))[0] == "True/Programmed"
    words, why = programmed(Sidecars(desired=2, programmed=1, lagging=("team/chat-1 has not been heard",)))
    assert words == "False/Pending"
    assert "1 of 2" in why
    assert "team/chat-1" in why
    assert programmed(Sidecars(desired=2, programmed=1, rejected=1))[0] == "False/Rejected"


def test_a_message_is_bounded() -> None:
    pools = [{"name": f"absent-{number}"} for number in range(16)]
    many = [policy("team", f"p{number}", poolRefs=pools) for number in range(3)]
    for status in found(*many).values():
        assert all(len(it.message) <= MAX_MESSAGE for it in status.conditions)


OBJECTS = [
    pool("team"),
    pool("team", "models", suspend=True),
    pool("team", "models", providers=[]),
    pool("team", "inside", providers=[{"name": "x", "type": "OpenAI", "baseURL": "https://10.0.0.1/v1"}]),
    pool(
        "team",
        "keyed",
        providers=[
            {
                "name": "x",
                "type": "OpenAI",
                "authentication": {"type": "Credentials", "credentialRefs": [{"name": "key"}]},
            }
        ],
    ),
    policy("team"),
    policy("team", "chat", poolRefs=[{"name": "absent"}]),
    policy("team", "other", targetRefs=[{"kind": "Deployment", "name": "chat"}], timeouts={"request": "1m"}),
    policy("team", "third", targetRefs=[{"kind": "Deployment", "name": "chat"}], timeouts={"request": "2m"}),
    policy("team", "loose", selector={"matchLabels": {"app": "chat"}}, suspend=True),
    policy("team", "wrong", rateLimits="many"),
    {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ClusterAIPolicy",
        "metadata": {"name": "floor"},
        "spec": {"namespaceSelector": {}},
    },
    {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ProviderCredential",
        "metadata": {"name": "key", "namespace": "team"},
        "spec": {"source": {"type": "Environment", "environment": {"variable": "KEY"}}},
    },
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(OBJECTS), unique_by=lambda it: (it["kind"], it["metadata"]["name"])))
def test_every_condition_is_of_the_vocabulary_and_ready_sums_up(documents: list[dict[str, Any]]) -> None:
    for status in found(*documents).values():
        for condition in status.conditions:
            assert condition.reason in REASONS[condition.type]
            assert condition.message
        *others, ready = status.conditions
        assert ready.type.value == "Ready"
        if ready.status is ConditionStatus.TRUE:
            assert all(it.status is ConditionStatus.TRUE for it in others)


def test_what_no_fact_touches_keeps_its_status_and_the_rest_gets_another() -> None:
    objects = Objects()
    for version, document in enumerate((pool("team"), policy("team")), start=1):
        metadata = {
            "generation": 1,
            **document["metadata"],
            "uid": f"uid-{version}",
            "resourceVersion": str(version),
        }
        objects.seen(document["kind"], {**document, "metadata": metadata})
    compilation, memo = compile_snapshot(objects.snapshot({})), Memo()
    refs = {ref.kind: ref for ref in objects.held}
    every = frozenset(objects.held)
    nobody = Pods(governed={}, bare={})
    first = memo.statuses(gather(compilation, objects.held, every, {}, nobody))
    again = memo.statuses(
        gather(compilation, objects.held, every, {refs["AIPolicy"]: Sidecars(desired=1)}, nobody)
    )
    assert again[refs["ProviderPool"]] is first[refs["ProviderPool"]]
    assert said(again[refs["AIPolicy"]])["Programmed"] == "False/Pending"
