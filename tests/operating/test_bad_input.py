"""Objects that are wrong, gone, in conflict or switched off: who is told what, and that nobody else is affected."""

import json
from collections.abc import Callable, Iterator

import pytest
import yaml
from tidegate_cluster.controlplane import ControlPlane
from tidegate_testing.operators import ROOT, Cluster, OperatorProcess, deployment, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar

Operators = Callable[..., OperatorProcess]

PRIVATE = {
    "providers": [
        {
            "name": "inside",
            "type": "OpenAI",
            "baseURL": "https://10.1.2.3/v1",
            "authentication": {"type": "Caller"},
        }
    ]
}
"""Valid for the schema; that the address is private, CEL cannot tell."""


@pytest.fixture(name="_without_cel")
def without_cel(cluster: Cluster) -> Iterator[None]:
    """The CRD of pools as an earlier release might have had it: no rule, nothing pruned."""
    path = ROOT / "crds" / "tidegate.dev_providerpools.yaml"
    loose = yaml.safe_load(path.read_text())
    properties = loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    properties["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    cluster.kubectl("replace", "-f", "-", stdin=json.dumps(loose))
    yield
    cluster.install()


@pytest.mark.usefixtures("_without_cel")
def test_an_object_that_slipped_past_the_schema_is_told_what_is_wrong(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(
        pool(team, providers=[{"name": "x", "type": "Telepathy"}]),
        pool(team, "good"),
        policy(team),
        policy(team, "other", poolRefs=[{"name": "good"}]),
    )

    replica.until(
        lambda: cluster.condition("providerpool", team, "models", "Accepted") == "False/Invalid",
        "a condition about the pool",
    )
    message = cluster.conditions("providerpool", team, "models")["Accepted"]["message"]
    assert "spec.providers[0].type" in message
    assert "Telepathy" in message
    assert "no earlier valid form" in message
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "ResolvedRefs") == "False/RefNotFound",
        "a condition about the policy",
    )
    replica.until(
        lambda: cluster.condition("providerpool", team, "good", "Ready") == "True/Ready",
        "a condition about the other pool",
    )


def test_an_object_that_becomes_invalid_keeps_its_last_good_form_on_every_replica(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    first = operator().wait_ready()
    cluster.apply(pool(team), policy(team), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(first, pools=["models"])
    first.until(lambda: _is_persisted(cluster, home, team, "models"), "its form to be persisted")
    assert sidecar.envelope is not None
    before = sidecar.envelope.config

    cluster.apply(pool(team, **PRIVATE))
    first.until(
        lambda: cluster.condition("providerpool", team, "models", "Accepted") == "False/Invalid",
        "a condition about the pool",
    )
    assert (
        "last valid form stays in force"
        in cluster.conditions("providerpool", team, "models")["Accepted"]["message"]
    )
    assert cluster.condition("aipolicy", team, "chat", "ResolvedRefs") == "True/ResolvedRefs"
    assert not sidecar.poll(first)
    assert sidecar.status == 304

    second = operator().wait_ready()
    newcomer = PollingSidecar(cluster, home, team, "chat-0")
    assert newcomer.has(second, pools=["models"]).config == before
    assert second.metric('invalid_objects{form="last_good",kind="ProviderPool"}') == 1

    cluster.apply(pool(team, suspend=True))
    first.until(lambda: sidecar.poll(first), "the mended form to be served")
    assert sidecar.envelope is not None
    assert sidecar.envelope.config.pools[0].suspended


def test_a_policy_whose_pool_is_deleted_is_told_its_name(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), policy(team), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"])

    cluster.delete("providerpool", team, "models")

    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "ResolvedRefs") == "False/RefNotFound",
        "a condition about the pool",
    )
    assert "ProviderPool models" in cluster.conditions("aipolicy", team, "chat")["ResolvedRefs"]["message"]
    replica.until(lambda: sidecar.poll(replica) or sidecar.pools == [], "the pool to go")
    assert sidecar.denials == ["no_policy"]


def test_of_two_policies_in_conflict_the_younger_is_told_who_decides(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), pool(team, "others"), deployment(team))
    target = [{"kind": "Deployment", "name": "chat"}]
    limit = [{"name": "all", "requests": 5, "per": "1m"}]
    cluster.apply(policy(team, "first", targetRefs=target))
    cluster.apply(
        policy(team, "second", targetRefs=target, poolRefs=[{"name": "others"}], rateLimits=limit),
        policy(team, "third", targetRefs=target, poolRefs=[{"name": "others"}]),
    )

    for name, accepted in (
        ("first", "True/Accepted"),
        ("second", "True/Conflicted"),
        ("third", "False/Conflicted"),
    ):
        replica.until(
            lambda name=name, accepted=accepted: (
                cluster.condition("aipolicy", team, name, "Accepted") == accepted
            ),
            f"{name} to be {accepted}",
        )
    assert f"AIPolicy {team}/first" in cluster.conditions("aipolicy", team, "second")["Accepted"]["message"]
    for name, ready in (("first", "True/Ready"), ("second", "False/NotReady")):
        replica.until(
            lambda name=name, ready=ready: cluster.condition("aipolicy", team, name, "Ready") == ready,
            f"{name} to be {ready}",
        )


def test_a_suspended_pool_says_so_and_its_calls_are_refused(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team, suspend=True), policy(team), injected_pod(team, "chat-0"))

    replica.until(
        lambda: cluster.condition("providerpool", team, "models", "Ready") == "False/Suspended",
        "a condition about the kill switch",
    )
    envelope = PollingSidecar(cluster, home, team, "chat-0").has(replica, pools=["models"])
    assert [it.suspended for it in envelope.config.pools] == [True]
    replica.until(lambda: "Suspended" in cluster.events(team, "models"), "the event")


def test_a_key_in_an_environment_variable_is_not_for_clusters(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(
        {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "ProviderCredential",
            "metadata": {"name": "key", "namespace": team},
            "spec": {"source": {"type": "Environment", "environment": {"variable": "OPENAI_API_KEY"}}},
        }
    )

    replica.until(
        lambda: cluster.condition("providercredential", team, "key", "Ready") == "False/NotReady",
        "a condition about the credential",
    )
    accepted = cluster.conditions("providercredential", team, "key")["Accepted"]
    assert accepted["reason"] == "NotInCluster"
    assert "tidegate run" in accepted["message"]


def test_a_deleted_namespace_takes_its_objects_and_nobody_elses(
    control_plane_with_controllers: ControlPlane, operator: Operators
) -> None:
    cluster = Cluster(control_plane_with_controllers)
    cluster.install()
    for name in ("home", "staying", "leaving"):
        cluster.kubectl("create", "namespace", name)
    replica = operator(
        kubeconfig=control_plane_with_controllers.kubeconfig, TIDEGATE_NAMESPACE="home"
    ).wait_ready()
    cluster.apply(pool("leaving", allowedNamespaces={"from": "All"}), policy("leaving"))
    cluster.apply(
        pool("staying", "own"),
        policy("staying", poolRefs=[{"name": "own"}, {"name": "models", "namespace": "leaving"}]),
    )
    replica.until(
        lambda: cluster.condition("aipolicy", "staying", "chat", "Ready") == "True/Ready", "readiness of both"
    )

    cluster.kubectl("delete", "namespace", "leaving", "--wait=false")

    replica.until(
        lambda: cluster.condition("aipolicy", "staying", "chat", "ResolvedRefs") == "False/RefNotFound",
        "the one that stays to miss a pool",
    )
    assert "leaving" in cluster.conditions("aipolicy", "staying", "chat")["ResolvedRefs"]["message"]
    replica.until(lambda: replica.metric('objects{kind="AIPolicy"}') == 1, "the end of the other policy")
    assert cluster.condition("providerpool", "staying", "own", "Ready") == "True/Ready"


def _is_persisted(cluster: Cluster, home: str, namespace: str, name: str) -> bool:
    uid = cluster.get("providerpool", namespace, name)["metadata"]["uid"]
    maps = json.loads(cluster.kubectl("get", "configmaps", "-o=json", f"--namespace={home}"))["items"]
    return any(uid in (it.get("data") or {}) for it in maps)
