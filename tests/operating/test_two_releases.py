"""A rolling upgrade and a rollback: replicas of two releases serve the same sidecars, and the newer one watches one kind more."""

from collections.abc import Callable, Iterator

import pytest
import tidegate_newer
from tidegate_testing.operators import STEADY, Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar
from tidegate_testing.prepared import PreparedProgram

from tidegate_operator.cluster.rights import OPERATOR

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


def limited(namespace: str, requests: int) -> dict[str, object]:
    return policy(namespace, rateLimits=[{"name": "all", "requests": requests, "per": "1m"}])


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
    answers = [
        older_one.metric(f'answers_total{{result="{result}"}}') for result in ("newer_release", "behind")
    ]
    assert answers[0] >= 1, "once it has seen the change itself, it is the release that counts"
    assert sum(answers) == 6

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
