"""What follows from each way in which an attempt can fail; every verdict of a dialect is one of them."""

import pytest

from tidegate_policy.model import RetryOn
from tidegate_sidecar.dialects.base import Verdict
from tidegate_sidecar.policies.choice import Candidate
from tidegate_sidecar.policies.failures import KIND_OF, TRAITS, Counts, FailureKind
from tidegate_sidecar.policies.standing import Standing
from tidegate_sidecar.routing.refusal import Case

SECOND = 1_000_000_000
SAME_ONLY_ELSEWHERE = {FailureKind.ACCOUNT_EXHAUSTED}
WHATEVER_RETRY_ON_SAYS = {FailureKind.KEY_REFUSED, FailureKind.MODEL_UNAVAILABLE}
RULES_OF_OURS = {FailureKind.NOT_ACCEPTED, FailureKind.NOT_JUDGED}
NOT_AT_ALL = {FailureKind.CALLER_ERROR, FailureKind.UNREADABLE, FailureKind.NOT_JUDGED}


def test_every_kind_has_its_row() -> None:
    assert set(TRAITS) == set(FailureKind)


def test_every_verdict_but_served_is_a_kind_of_failure() -> None:
    assert set(KIND_OF) == set(Verdict) - {Verdict.SERVED}
    assert all(kind.value == verdict.value for verdict, kind in KIND_OF.items())


def test_every_word_of_retry_on_permits_something() -> None:
    assert {traits.retry_on for traits in TRAITS.values()} == {None, *RetryOn}


@pytest.mark.parametrize("kind", list(FailureKind))
def test_who_may_be_asked_after_it(kind: FailureKind) -> None:
    traits = TRAITS[kind]
    final = WHATEVER_RETRY_ON_SAYS | NOT_AT_ALL
    assert traits.again_here == (kind not in final | SAME_ONLY_ELSEWHERE)
    assert traits.elsewhere == (kind not in NOT_AT_ALL)
    assert (traits.retry_on is None) == (kind in final | RULES_OF_OURS)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_where_it_counts(kind: FailureKind) -> None:
    """What a limit, a key, a model's name, the caller or a rule is to blame for is no news of the provider's health."""
    expected = Counts.MODEL
    if kind in {FailureKind.CONNECT_FAILURE, FailureKind.CONNECT_TIMEOUT}:
        expected = Counts.PROVIDER
    elif kind in WHATEVER_RETRY_ON_SAYS | RULES_OF_OURS | {
        FailureKind.RATE_LIMITED,
        FailureKind.ACCOUNT_EXHAUSTED,
        FailureKind.CALLER_ERROR,
    }:
        expected = Counts.NOWHERE
    assert TRAITS[kind].counts is expected


@pytest.mark.parametrize("kind", list(FailureKind))
def test_what_the_caller_is_told_is_a_case_of_refusals(kind: FailureKind) -> None:
    assert TRAITS[kind].told.name in Case.__members__


class TestStanding:
    @pytest.mark.parametrize("kind", list(FailureKind))
    def test_who_may_not_be_asked_again_is_refused_for_the_call(self, kind: FailureKind) -> None:
        standing = Standing(Candidate(id=0))
        standing.failed(kind, 0)
        assert standing.is_refused == (not TRAITS[kind].again_here)

    def test_a_provider_that_says_not_to_retry_is_refused_for_the_call(self) -> None:
        standing = Standing(Candidate(id=0))
        standing.failed(FailureKind.OVERLOADED, 0, may_retry=False)
        assert standing.is_refused
        assert standing.wait_ms(0) is None

    def test_patience_that_was_asked_for_runs_out(self) -> None:
        standing = Standing(Candidate(id=0))
        standing.failed(FailureKind.RATE_LIMITED, SECOND, retry_after_ms=2_000)
        assert [standing.wait_ms(at) for at in (SECOND, 3 * SECOND - 1, 3 * SECOND)] == [2_000, 1, 0]
        assert repr(standing) == "<Standing 0: asked 0 times, usable>"
