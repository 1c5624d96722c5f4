"""Two writers of one policy: each adds targets and pools of its own, told apart by what identifies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from tidegate_samples.server import collection

from tidegate_operator.api.kinds import API_VERSION, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_samples.server import Reply, Server

POLICY: Final = KINDS["AIPolicy"]

OWN: Final = {"kind": "StatefulSet", "name": "chat"}
OF_OPENKRUISE: Final = {"group": "apps.kruise.io", "kind": "StatefulSet", "name": "chat"}
ROLLOUT: Final = {"group": "argoproj.io", "kind": "Rollout", "name": "chat"}


@pytest.fixture
def path(server: Server, namespace: str) -> Iterator[str]:
    """Where the policy is written by the tests."""
    path = f"{collection(POLICY, namespace)}/chat"
    yield path
    server.send("DELETE", path)


def write(server: Server, path: str, manager: str, **spec: list[dict[str, Any]]) -> Reply:
    body = {"apiVersion": API_VERSION, "kind": POLICY.name, "metadata": {"name": "chat"}, "spec": spec}
    return server.apply(path, body, manager)


def targets(reply: Reply) -> list[tuple[str, str, str]]:
    assert reply.complaints == []
    return [(it["group"], it["kind"], it["name"]) for it in reply.document["spec"]["targetRefs"]]


def test_targets_are_told_apart_by_group_kind_and_name(server: Server, path: str) -> None:
    assert targets(write(server, path, "team", targetRefs=[OWN])) == [("", "StatefulSet", "chat")]
    both = [
        ("", "StatefulSet", "chat"),
        ("apps.kruise.io", "StatefulSet", "chat"),
        ("argoproj.io", "Rollout", "chat"),
    ]
    assert targets(write(server, path, "platform", targetRefs=[OF_OPENKRUISE, ROLLOUT])) == both
    assert targets(write(server, path, "team", targetRefs=[OWN])) == both


def test_whoever_takes_a_target_away_takes_that_one_alone(server: Server, path: str) -> None:
    write(server, path, "team", targetRefs=[OWN])
    write(server, path, "platform", targetRefs=[OF_OPENKRUISE, ROLLOUT])
    after = write(server, path, "platform", targetRefs=[ROLLOUT])
    assert targets(after) == [("", "StatefulSet", "chat"), ("argoproj.io", "Rollout", "chat")]


def test_a_group_that_is_empty_is_the_same_as_none(server: Server, path: str) -> None:
    """Written by one and left out by the other, it is one target of both."""
    write(server, path, "team", targetRefs=[OWN])
    assert targets(write(server, path, "platform", targetRefs=[{"group": "", **OWN}])) == [
        ("", "StatefulSet", "chat")
    ]


def test_pools_are_told_apart_by_name_and_namespace(server: Server, path: str) -> None:
    write(server, path, "team", targetRefs=[OWN], poolRefs=[{"name": "models"}])
    shared = {"name": "models", "namespace": "ai-platform"}
    reply = write(server, path, "platform", targetRefs=[OWN], poolRefs=[shared])
    assert reply.complaints == []
    found = [(it["name"], it["namespace"]) for it in reply.document["spec"]["poolRefs"]]
    assert found == [("models", ""), ("models", "ai-platform")]
