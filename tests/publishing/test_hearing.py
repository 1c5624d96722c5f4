"""Whose silence counts: neither a pod that starts nor a replica that just began to lead makes an object look out of force."""

from __future__ import annotations

from tidegate_operator.index.pods import Pod
from tidegate_operator.publish.hearing import Hearing

S = 1_000_000_000


def a_pod(*, has_begun: bool) -> Pod:
    return Pod(
        uid="chat",
        namespace="team",
        name="chat",
        version=1,
        labels={},
        service_account="default",
        owner=None,
        has_begun=has_begun,
    )


RUNS, WAITS = a_pod(has_begun=True), a_pod(has_begun=False)


def leading(since_ns: int = 0) -> Hearing:
    hearing = Hearing(20 * S)
    hearing.leading(since_ns, is_leading=True)
    return hearing


def test_a_sidecar_that_never_ran_may_be_silent_for_ever() -> None:
    hearing = leading()
    hearing.look(10_000 * S)
    assert hearing.is_starting(WAITS)


def test_a_sidecar_that_begins_has_some_time_and_its_end_is_told_once() -> None:
    hearing = leading()
    hearing.look(99 * S)
    hearing.begun(["chat"], 100 * S)
    assert not hearing.look(119 * S)
    assert hearing.is_starting(RUNS)
    assert hearing.look(120 * S)
    assert not hearing.is_starting(RUNS)
    assert not hearing.look(121 * S)


def test_a_sidecar_that_was_first_seen_when_it_ran_has_none() -> None:
    assert not leading().is_starting(RUNS)


def test_one_that_began_under_a_former_leader_may_have_been_heard_by_it() -> None:
    hearing = Hearing(20 * S)
    hearing.begun(["chat"], 100 * S)
    hearing.leading(101 * S, is_leading=True)
    assert not hearing.is_starting(RUNS)


def test_a_new_leader_hears_everybody_before_it_says_who_is_silent() -> None:
    hearing = leading(100 * S)
    assert not hearing.look(119 * S)
    assert (hearing.is_settled, hearing.fresh_ns) == (False, 100 * S)
    hearing.leading(119 * S, is_leading=True)
    assert hearing.look(120 * S)
    assert (hearing.is_settled, hearing.fresh_ns) == (True, None)
    assert not hearing.look(121 * S)


def test_whoever_leads_again_begins_again() -> None:
    hearing = leading()
    hearing.look(20 * S)
    hearing.leading(30 * S, is_leading=False)
    hearing.leading(40 * S, is_leading=True)
    assert not hearing.is_settled


def test_without_patience_silence_counts_at_once() -> None:
    hearing = Hearing(0)
    hearing.leading(5, is_leading=True)
    hearing.begun(["chat"], 5)
    hearing.look(5)
    assert hearing.is_settled
    assert not hearing.is_starting(RUNS)
