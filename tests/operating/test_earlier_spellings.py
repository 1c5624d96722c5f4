"""Objects in an earlier spelling, in a cluster: their authors are told the new word, and nobody gets an empty list for it."""

from collections.abc import Callable
from typing import Any

import pytest
from tidegate_testing.operators import Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar

Operators = Callable[..., OperatorProcess]

PROVIDER = {"name": "openai", "type": "OpenAI"}

SPELLINGS: list[tuple[str, dict[str, Any], str]] = [
    (
        "AIPolicy",
        {"providerPools": [{"name": "models"}]},
        "spec.providerPools: an earlier spelling, which is not read; it is poolRefs now",
    ),
    (
        "ProviderPool",
        {"providers": [PROVIDER | {"callerCredential": True}]},
        "spec.providers[0].callerCredential: an earlier spelling, which is not read; it is authentication: {type: Caller} now",
    ),
    (
        "ProviderPool",
        {"providers": [PROVIDER | {"credentialRefs": [{"name": "key"}]}]},
        (
            "spec.providers[0].credentialRefs: an earlier spelling, which is not read; "
            "it is authentication: {type: Credentials, credentialRefs: [...]} now"
        ),
    ),
]


def in_earlier_spelling(team: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The pool `models` or the policy `chat`, as somebody wrote it before the name changed."""
    document = pool(team) if kind == "ProviderPool" else policy(team)
    document["spec"].pop("poolRefs", None)
    return document | {"spec": document["spec"] | spec}


@pytest.mark.parametrize(
    ("kind", "spec", "said"), SPELLINGS, ids=[said.partition(":")[0] for *_, said in SPELLINGS]
)
def test_what_was_in_force_stays_and_the_condition_has_the_new_word(
    cluster: Cluster, operator: Operators, team: str, home: str, kind: str, spec: dict[str, Any], said: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), policy(team), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"])

    changed = in_earlier_spelling(team, kind, spec)
    cluster.apply(changed)
    name = changed["metadata"]["name"]
    replica.until(
        lambda: cluster.condition(kind.lower(), team, name, "Accepted") == "False/Invalid",
        "a condition about the spelling",
    )
    message = cluster.conditions(kind.lower(), team, name)["Accepted"]["message"]
    assert said in message
    assert "The last valid form stays in force" in message
    assert cluster.condition(kind.lower(), team, name, "Ready") == "False/NotReady"
    assert not sidecar.poll(replica)
    assert sidecar.status == 304


def test_one_that_never_was_in_force_denies_what_it_is_about_and_says_why(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), in_earlier_spelling(team, *SPELLINGS[0][:2]), injected_pod(team, "chat-0"))
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Accepted") == "False/Invalid",
        "a condition about the spelling",
    )
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    envelope = sidecar.has(replica, pools=[])
    assert [denial.source.name for denial in envelope.config.denials if denial.source] == ["chat"]
