"""A rolling upgrade and a rollback: replicas of two releases serve the same sidecars, and the newer one watches one kind more."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tidegate_newer
from tidegate_testing.operators import STEADY, Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar
from tidegate_testing.prepared import PreparedProgram

from tidegate_operator.cluster.rights import OPERATOR
from tidegate_policy.poll import AUDIENCE

Operators = Callable[..., OperatorProcess]


@pytest.fixture(scope="session")
def newer_program() -> Iterator[PreparedProgram]:
    with PreparedProgram("tidegate_newer") as prepared:
        yield prepared


@pytest.fixture
def newer(
    operator: Operators, newer_program: PreparedProgram, cluster: Cluster, home: str
) -> Iterator[Operators]:
    """Starts replicas of the later release, whose kind and rights are installed."""
    definition = tidegate_newer.definition()
    cluster.apply(definition)
    cluster.kubectl(
        "wait", "--for=condition=Established", f"crd/{definition['metadata']['name']}", "--timeout=30s"
    )
    rights = tidegate_newer.manifests(f"system:serviceaccount:{home}:{OPERATOR.name}")
    cluster.apply(*rights)
    yield lambda **settings: operator(program=newer_program, **settings)
    for document in (*rights, definition):
        cluster.delete(document["kind"].lower(), "", document["metadata"]["name"])


def limited(namespace: str, requests: int, name: str = "all") -> dict[str, object]:
    return policy(namespace, rateLimits=[{"name": name, "requests": requests, "per": "1m"}])


def test_what_a_newer_release_has_told_is_not_taken_back_while_it_lives_and_replaced_when_it_is_gone(
    cluster: Cluster, operator: Operators, newer: Operators, team: str, home: str
) -> None:
    older_one = operator(**STEADY).wait_ready()
    newer_one = newer(**STEADY).wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(newer_one, pools=["models"], limits={"all": 5})

    def kinds() -> set[str]:
        assert sidecar.envelope is not None
        return {kind for kind, _ in sidecar.envelope.as_of.versions}

    assert "AIBudget" in kinds()

    # both in turn, as the Service leads a sidecar to them
    for requests in (6, 7):
        cluster.apply(limited(team, requests))
        newer_one.until(
            lambda requests=requests: sidecar.poll(newer_one) and sidecar.limits == {"all": requests},
            "the change by the newer release",
        )
        for _ in range(3):
            assert not sidecar.poll(older_one)
            assert sidecar.status == 304
    assert "AIBudget" in kinds()

    def is_told_of_the_release() -> bool:
        """Once it has seen the change itself, it is the release that counts."""
        assert not sidecar.poll(older_one)
        return older_one.metric('answers_total{result="newer_release"}') >= 1

    older_one.until(is_told_of_the_release, "it to have seen as much")

    assert newer_one.stop() == 0
    cluster.apply(policy(team, suspend=True))
    older_one.until(
        lambda: sidecar.poll(older_one) and sidecar.denials == ["suspended"],
        "the kill switch by the older release",
    )
    assert "AIBudget" not in kinds()
    older_one.until(
        lambda: any("EnforcementReduced" in event for event in cluster.events(team, "chat-0")),
        "an event about what is enforced no longer",
    )

    # and forward again
    again = newer(**STEADY).wait_ready()
    cluster.apply(limited(team, 8))
    again.until(lambda: sidecar.poll(again) and sidecar.limits == {"all": 8}, "the change after the upgrade")
    assert "AIBudget" in kinds()


def test_an_upgrade_and_a_rollback_lose_no_rule_no_word_and_no_object_that_was_valid(
    cluster: Cluster, operator: Operators, newer: Operators, team: str, home: str, tmp_path: Path
) -> None:
    """The newer release says more in its messages, has a field that sidecars do not read yet, and refuses a name."""
    token = tmp_path / "token"
    token.write_text(cluster.control_plane.token(home, OPERATOR.name, AUDIENCE))
    peers = {"TIDEGATE_PEER_TOKEN_FILE": str(token), **STEADY}
    older_one = operator(**peers).wait_ready()
    older_one.until(lambda: older_one.leads, "the older release to lead")
    cluster.apply(pool(team), limited(team, 5, tidegate_newer.REFUSED), injected_pod(team, "chat-0"))
    cluster.run_sidecar(team, "chat-0")
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(older_one, pools=["models"], limits={tidegate_newer.REFUSED: 5})
    older_one.until(lambda: is_persisted(cluster, home, team), "its form to be persisted")

    # the newer release keeps what the older one has accepted, and its words reach the older one that leads
    newer_one = newer(**peers).wait_ready()
    sidecar.has(newer_one, limits={tidegate_newer.REFUSED: 5})
    assert sidecar.denials == []

    def is_programmed() -> bool:
        assert not sidecar.poll(newer_one)
        return cluster.condition("aipolicy", team, "chat", "Programmed") == "True/Programmed"

    newer_one.until(is_programmed, "the acknowledgement by way of the newer release")
    assert older_one.metric("unknown_fields_total") >= 1

    # upgraded: the condition says what to change, and the rule stays in force
    assert older_one.stop() == 0
    newer_one.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Accepted") == "False/Invalid",
        "a condition by the newer release",
    )
    message = cluster.conditions("aipolicy", team, "chat")["Accepted"]["message"]
    assert "spec.rateLimits[0].name: choose another name" in message
    assert "last valid form stays in force" in message
    assert not sidecar.poll(newer_one)
    assert (sidecar.status, sidecar.denials) == (304, [])

    # a rule that today's sidecars cannot read is withheld as a whole, and the answer names the object
    cluster.apply(limited(team, 6, tidegate_newer.QUEUED))
    newer_one.until(lambda: not sidecar.poll(newer_one) and sidecar.status == 406, "the refusal")
    assert f"because of queue of AIPolicy {team}/chat" in sidecar.problem["message"]
    assert sidecar.limits == {tidegate_newer.REFUSED: 5}

    # rolled back
    back = operator(**peers).wait_ready()
    assert newer_one.stop() == 0
    back.until(
        lambda: sidecar.poll(back) and sidecar.limits == {tidegate_newer.QUEUED: 6},
        "the rule by the older release",
    )
    back.until(
        lambda: (
            not sidecar.poll(back) and cluster.condition("aipolicy", team, "chat", "Ready") == "True/Ready"
        ),
        "the older release to find everything well",
    )


def is_persisted(cluster: Cluster, home: str, namespace: str) -> bool:
    uid = cluster.get("aipolicy", namespace, "chat")["metadata"]["uid"]
    maps = json.loads(cluster.kubectl("get", "configmaps", "-o=json", f"--namespace={home}"))["items"]
    return any(uid in (it.get("data") or {}) for it in maps)
