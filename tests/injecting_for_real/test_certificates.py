"""Certificates and authorities change while pods are created, and no admission fails."""

from __future__ import annotations

from pathlib import Path

from injecting_site.injector import InjectorProcess, next_bundle, patch_trust
from injecting_site.load import EACH, pods_being_created
from injecting_site.objects import Namespace

from tidegate_operator.certificates.bundle import Bundle


def test_no_admission_fails_while_everything_is_replaced(team: Namespace, injector: InjectorProcess) -> None:
    """A leaf is renewed, a new authority is announced, signs, and the old one is forgotten: as the operator does it."""

    def replace(bundle: Bundle) -> None:
        # the Secret reaches the injector and the bundle the API server at different moments, in either order
        injector.write(bundle)
        more(EACH)
        patch_trust(team.control_plane, bundle.trust)
        more(EACH)

    def more(count: int) -> None:
        target = len(results) + count
        team.until(lambda: len(results) >= target, f"{count} more pods")

    first = injector.bundle
    with pods_being_created(team) as results:
        more(EACH)
        renewed = next_bundle(first, days_ago=20, names=("renewed",))
        assert renewed.leaf != first.leaf
        replace(renewed)
        announced = next_bundle(renewed, days_ago=20, names=("renewed",))
        assert announced.successor is not None
        replace(announced)
        succeeded = next_bundle(announced, days_ago=10, names=("renewed",))
        assert succeeded.authority == announced.successor
        replace(succeeded)
        forgotten = Bundle(authority=succeeded.authority, leaf=succeeded.leaf)
        replace(forgotten)
    assert [result for result in results if result] == []
    assert injector.log.count("serving the certificate") >= 4


def test_two_replicas_take_turns_without_a_lost_admission(
    team: Namespace, injector: InjectorProcess, tmp_path: Path
) -> None:
    """A replica that goes answers for a while: whoever still has its address loses nothing."""
    other = InjectorProcess(tmp_path, injector.bundle, DRAIN_MS="5000")
    other.start()
    with pods_being_created(team) as results:
        point_to(team, other)
        target = len(results) + EACH
        team.until(lambda: len(results) >= target, "pods by the other replica")
        team.until(lambda: other.asked("pods") > 0, "a pod that the other replica was asked about")
        point_to(team, injector)
        other.stop()
        target = len(results) + EACH
        team.until(lambda: len(results) >= target, "pods by the first replica")
    assert [result for result in results if result] == []


def point_to(team: Namespace, injector: InjectorProcess) -> None:
    """What a Service does when its endpoints change."""
    from injecting_site.injector import configurations  # noqa: PLC0415 - for this alone

    for path, document in configurations(injector).items():
        named = f"{path}/{document['metadata']['name']}"
        found = team.control_plane.request("GET", named).json()
        document["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        answer = team.control_plane.request("PUT", named, body=document)
        assert answer.status == 200, answer.text
