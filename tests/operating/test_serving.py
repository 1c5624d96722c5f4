"""What a pod is told, and what its word becomes in the status of objects."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tidegate_testing.operators import (
    STEADY,
    Cluster,
    OperatorProcess,
    credential,
    deployment,
    injected_pod,
    policy,
    pool,
)
from tidegate_testing.polling import PollingSidecar

from tidegate_policy.keys import KeyProblem, KeyReport, LackingKey
from tidegate_policy.poll import AUDIENCE, KEYS, format_keys

Operators = Callable[..., OperatorProcess]


def replica_set(namespace: str, name: str, owner: dict[str, object]) -> dict[str, object]:
    """What the Deployment's controller would make."""
    document = deployment(namespace, name)
    metadata = injected_pod(namespace, name, owner)["metadata"]
    return {**document, "kind": "ReplicaSet", "metadata": {**metadata, "labels": {}}}


def test_a_pod_is_known_by_what_made_what_made_it(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    cluster.apply(
        deployment(team), pool(team), policy(team, targetRefs=[{"kind": "Deployment", "name": "chat"}])
    )
    cluster.apply(replica_set(team, "chat-5d4f", cluster.get("deployment", team, "chat")))
    owner = cluster.get("replicaset", team, "chat-5d4f")
    replica = operator().wait_ready()
    cluster.apply(injected_pod(team, "chat-5d4f-x7", owner, app="chat", **{"pod-template-hash": "5d4f"}))

    envelope = PollingSidecar(cluster, home, team, "chat-5d4f-x7").has(replica)

    identity = envelope.identity
    assert (identity.workload_kind, identity.workload_name, identity.pod) == (
        "Deployment",
        "chat",
        "chat-5d4f-x7",
    )
    assert dict(identity.labels) == {"app": "chat", "tidegate.dev/injected": "true"}
    assert [source.name for source in envelope.config.sources] == ["chat"]
    replica.until(
        lambda: (
            cluster.get("aipolicy", team, "chat").get("status", {}).get("targets")
            == [{"group": "", "kind": "Deployment", "name": "chat", "pods": 1}]
        ),
        "the target's pods",
    )


def test_a_pod_under_no_policy_is_refused(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(injected_pod(team, "stray"))

    sidecar = PollingSidecar(cluster, home, team, "stray")
    sidecar.has(replica)

    assert sidecar.denials == ["no_policy"]


def test_what_sidecars_acknowledge_and_refuse_is_counted(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), policy(team), injected_pod(team, "one"), injected_pod(team, "two"))

    def counts() -> tuple[int, int, int]:
        found = cluster.get("aipolicy", team, "chat").get("status", {}).get("sidecars", {})
        return found.get("desired", 0), found.get("programmed", 0), found.get("rejected", 0)

    def is_programmed(expected: str) -> bool:
        return cluster.condition("aipolicy", team, "chat", "Programmed") == expected

    # Pods that wait for a node or an image enforce nothing and let nothing pass: nobody has to wait for them.
    replica.until(
        lambda: (
            is_programmed("True/NoPods")
            and cluster.conditions("aipolicy", team, "chat")["Programmed"]["message"]
            == "The pods concerned are starting."
        ),
        "two pods that start",
    )
    cluster.run_sidecar(team, "one", "two")
    replica.until(
        lambda: is_programmed("False/Pending") and counts() == (2, 0, 0), "two pods that are silent"
    )
    sidecars = [PollingSidecar(cluster, home, team, name) for name in ("one", "two")]
    for sidecar in sidecars:
        sidecar.has(replica, pools=["models"])
        assert not sidecar.poll(replica)
    replica.until(lambda: is_programmed("True/Programmed") and counts() == (2, 2, 0), "two acknowledgements")
    assert cluster.condition("aipolicy", team, "chat", "Ready") == "True/Ready"
    replica.until(
        lambda: cluster.get("providerpool", team, "models")["status"]["sidecars"]["programmed"] == 2,
        "the pool's count",
    )

    cluster.apply(policy(team, rateLimits=[{"name": "all", "requests": 5, "per": "1m"}]))
    first, second = sidecars
    replica.until(lambda: first.poll(replica), "the change to be served")
    assert not first.poll(replica)
    second.refuse(replica, "no such dialect")
    replica.until(lambda: is_programmed("False/Rejected") and counts() == (2, 1, 1), "the refusal")
    message = cluster.conditions("aipolicy", team, "chat")["Programmed"]["message"]
    assert f"{team}/two refused it (no such dialect)" in message
    replica.until(lambda: "Rejected" in cluster.events(team, "chat"), "the event")

    cluster.delete("pod", team, "two")
    cluster.kubectl("delete", "pod", "two", f"--namespace={team}", "--force", "--ignore-not-found")
    replica.until(
        lambda: is_programmed("True/Programmed") and counts() == (1, 1, 0), "the pod to be forgotten"
    )
    replica.until(lambda: not second.poll(replica) and second.status in (401, 404), "its token to be refused")


def test_a_key_that_a_pod_lacks_shows_in_conditions_until_it_is_there(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    authentication = {"type": "Credentials", "credentialRefs": [{"name": "openai"}]}
    provider = {"name": "openai", "type": "OpenAI", "authentication": authentication}
    cluster.apply(
        credential(team, "openai"),
        pool(team, providers=[provider]),
        policy(team),
        injected_pod(team, "one"),
        injected_pod(team, "two"),
    )
    cluster.run_sidecar(team, "one", "two")
    sidecars = [PollingSidecar(cluster, home, team, name) for name in ("one", "two")]
    for sidecar in sidecars:
        sidecar.has(replica, pools=["models"])
        sidecar.poll(replica)

    def resolved(expected: str) -> bool:
        return (
            cluster.condition("providercredential", team, "openai", "ResolvedRefs") == expected
            and cluster.condition("providerpool", team, "models", "ResolvedRefs") == expected
        )

    replica.until(lambda: resolved("True/ResolvedRefs"), "all keys to be there")
    lacking = LackingKey(namespace=team, name="openai", problem=KeyProblem.MISSING)
    others = LackingKey(namespace=home, name="openai", problem=KeyProblem.MISSING)
    sidecars[0].poll(replica, headers={KEYS: format_keys(KeyReport(lacking=(lacking, others)))})
    replica.until(lambda: resolved("False/KeyMissing"), "the missing key")
    assert cluster.condition("providercredential", team, "openai", "Ready") == "False/NotReady"
    message = cluster.conditions("providercredential", team, "openai")["ResolvedRefs"]["message"]
    assert message == (
        f"1 pod has no key for ProviderCredential {team}/openai in namespace {team} (one): the Secret tidegate-keys of "
        "that namespace is not there, or has no such key"
    )
    sidecars[0].poll(replica)
    replica.until(lambda: resolved("True/ResolvedRefs"), "the key")
    assert cluster.condition("providercredential", team, "openai", "Ready") == "True/Ready"


def test_acknowledgements_to_any_replica_reach_the_one_that_writes_status(
    cluster: Cluster, operator: Operators, team: str, home: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(cluster.control_plane.token(home, "tidegate-operator", AUDIENCE))
    leader = operator(TIDEGATE_PEER_TOKEN_FILE=str(token), **STEADY).wait_ready()
    follower = operator(TIDEGATE_PEER_TOKEN_FILE=str(token), **STEADY).wait_ready()
    leader.until(lambda: leader.leads, "the first replica to lead")
    cluster.apply(pool(team), policy(team), injected_pod(team, "one"))

    sidecar = PollingSidecar(cluster, home, team, "one")
    sidecar.has(follower, pools=["models"])

    def is_programmed() -> bool:
        assert not sidecar.poll(follower)
        return cluster.condition("aipolicy", team, "chat", "Programmed") == "True/Programmed"

    follower.until(is_programmed, "the acknowledgement to arrive")
    follower.until(lambda: follower.metric('forwards_total{result="taken"}') >= 1, "the metric")


@pytest.mark.parametrize("label", ["true", "false"])
def test_pods_without_a_sidecar_count_for_nothing(
    cluster: Cluster, operator: Operators, team: str, label: str
) -> None:
    replica = operator().wait_ready()
    pod = injected_pod(team, "one")
    pod["metadata"]["labels"] = {"tidegate.dev/injected": label}
    cluster.apply(pool(team), policy(team), pod)
    cluster.run_sidecar(team, "one")

    expected = "False/Pending" if label == "true" else "False/NoSidecars"
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Programmed") == expected, "the condition"
    )
    assert cluster.condition("aipolicy", team, "chat", "Ready") == "False/NotReady"
    replica.until(lambda: replica.metric("injected_pods") == (label == "true"), "the metric")
    # nobody has to wait for pods that are not there, nor for a sidecar in them
    cluster.kubectl("delete", "pod", "one", f"--namespace={team}", "--force", "--grace-period=0")
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Programmed") == "True/NoPods", "no pods"
    )
    assert cluster.condition("aipolicy", team, "chat", "Ready") == "True/Ready"
