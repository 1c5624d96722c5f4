"""What follows a failed attempt: somebody else at once, a pause, or nothing; and what the call is told in the end."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_policy.model import Retry, RetryOn
from tidegate_sidecar.policies.choice import Candidate
from tidegate_sidecar.policies.failures import FailureKind
from tidegate_sidecar.policies.planner import (
    Ask,
    GiveUp,
    Step,
    WaitThenAsk,
    after_pause,
    backoff_ms,
    first_step,
    next_step,
)
from tidegate_sidecar.policies.retry_budget import BUDGET_FLOOR, RetryBudget
from tidegate_sidecar.policies.standing import Cause, Standing, Unavailable

ALMOST_ONE = 1 - 2**-53
MS = 1_000_000
RETRY = Retry(
    max_attempts=3,
    retry_on=(RetryOn.RATE_LIMITED, RetryOn.SERVER_ERROR),
    backoff_base_ms=1_000,
    backoff_max_ms=60_000,
    budget_percent=20,
)
NO_KEY = Unavailable(Cause.KEY, "its key is missing")


def limited(retry_after_ms: int | None) -> Unavailable:
    return Unavailable(Cause.LIMIT, "its limit is reached", retry_after_ms)


def cooling(retry_after_ms: int) -> Unavailable:
    return Unavailable(Cause.COOLING, "it asked for patience", retry_after_ms)


def broken(retry_after_ms: int) -> Unavailable:
    return Unavailable(Cause.BREAKER, "its circuit breaker is open", retry_after_ms)


def at(
    place: int,
    *,
    priority: int = 0,
    asked: int = 0,
    is_refused: bool = False,
    unavailable: Unavailable | None = None,
    patience_ms: int = 0,
) -> Standing:
    standing = Standing(Candidate(id=place, priority=priority))
    standing.asked = asked
    standing.is_refused = is_refused
    standing.unavailable = unavailable
    standing.not_before_ns = patience_ms * MS
    return standing


def step(
    *standings: Standing,
    retry: Retry = RETRY,
    budget: RetryBudget | None = None,
    failure: FailureKind = FailureKind.SERVER_ERROR,
    left_ms: int = 600_000,
    jitter: float = 0.5,
) -> Step:
    return next_step(
        standings,
        failure,
        budget or RetryBudget(retry.budget_percent),
        retry=retry,
        left_ms=left_ms,
        chance=0.5,
        jitter=jitter,
        now_ns=0,
    )


def used_up() -> RetryBudget:
    budget = RetryBudget(20)
    for _ in range(BUDGET_FLOOR):
        assert budget.take(0)
    return budget


class TestMovingOn:
    def test_whoever_was_not_asked_is_asked_at_once_the_lowest_priority_first(self) -> None:
        failed, backup, last = at(0, asked=1), at(1, priority=1), at(2, priority=2)
        assert step(failed, last, backup, budget=used_up()) == Ask(backup)

    @pytest.mark.parametrize("failure", [FailureKind.KEY_REFUSED, FailureKind.MODEL_UNAVAILABLE])
    def test_a_refused_key_and_a_missing_model_move_on_whatever_retry_on_says(
        self, failure: FailureKind
    ) -> None:
        failed, backup = at(0, asked=1, is_refused=True), at(1)
        assert step(failed, backup, failure=failure, retry=replace(RETRY, retry_on=())) == Ask(backup)

    @pytest.mark.parametrize(
        ("failure", "why"),
        [
            (FailureKind.CALLER_ERROR, "CallerError is not helped by another attempt"),
            (FailureKind.UNREADABLE, "Unreadable is not helped by another attempt"),
            (FailureKind.TIMEOUT, "Timeout is not retried (retry.retryOn has no Timeout)"),
            (
                FailureKind.CONNECT_TIMEOUT,
                "ConnectTimeout is not retried (retry.retryOn has no ConnectFailure)",
            ),
        ],
    )
    def test_what_another_attempt_would_not_mend_is_final(self, failure: FailureKind, why: str) -> None:
        given_up = step(at(0, asked=1), at(1), failure=failure)
        assert given_up == GiveUp(why, retry_after_ms=None, is_busy=False)

    @pytest.mark.parametrize("failure", [FailureKind.SERVER_ERROR, FailureKind.KEY_REFUSED])
    def test_attempts_are_bounded_wherever_they_go(self, failure: FailureKind) -> None:
        given_up = step(at(0, asked=1), at(1, asked=2), at(2), failure=failure)
        assert isinstance(given_up, GiveUp)
        assert given_up.why == "3 attempts were made, the most allowed (retry.maxAttempts)"
        one = step(at(0, asked=1), at(1), retry=replace(RETRY, max_attempts=1))
        assert isinstance(one, GiveUp)
        assert one.why == "1 attempt was made, the most allowed (retry.maxAttempts)"

    def test_nothing_follows_the_deadline(self) -> None:
        given_up = step(at(0, asked=1), at(1), left_ms=0)
        assert isinstance(given_up, GiveUp)
        assert given_up.why == "the deadline is over"


class TestPausing:
    @pytest.mark.parametrize(
        ("attempts", "jitter", "patience_ms", "left_ms", "expected"),
        [
            (1, 0.5, 0, 600_000, 500),
            (2, 0.5, 0, 600_000, 1_000),
            (1, 0.0, 0, 600_000, 0),
            (1, ALMOST_ONE, 0, 600_000, 1_000),
            (1, 0.5, 2_000, 600_000, 2_500),
            (1, 0.5, 60_000, 600_000, 60_000),
            (1, 0.5, 59_900, 600_000, 60_000),
            (1, 0.5, 0, 501, 500),
            (1, 0.5, 0, 500, "the deadline comes before the next attempt"),
            (1, 0.5, 2_000, 2_000, "the deadline comes before the next attempt"),
            (
                1,
                0.5,
                60_001,
                600_000,
                "the next provider can be asked in 60001 ms, the longest pause is 60000 ms",
            ),
        ],
    )
    def test_the_same_provider_is_asked_again_after(
        self, attempts: int, jitter: float, patience_ms: int, left_ms: int, expected: int | str
    ) -> None:
        found = step(at(0, asked=attempts, patience_ms=patience_ms), jitter=jitter, left_ms=left_ms)
        if isinstance(expected, int):
            assert found == WaitThenAsk(expected)
        else:
            assert isinstance(found, GiveUp)
            assert found.why == expected

    @pytest.mark.parametrize(
        "backup",
        [
            at(1, priority=1, unavailable=NO_KEY),
            at(1, priority=1, unavailable=broken(60_000)),
            at(1, priority=1, unavailable=broken(600_000)),
            at(1, priority=1, unavailable=limited(None)),
            at(1, priority=1, asked=1, is_refused=True),
            at(1, priority=-1, unavailable=NO_KEY),
        ],
    )
    def test_a_backup_that_cannot_be_used_disables_no_retry(self, backup: Standing) -> None:
        assert isinstance(step(at(0, asked=1), backup), WaitThenAsk)

    def test_a_refused_key_is_not_asked_again_and_the_other_is(self) -> None:
        refused, flaky = at(0, asked=1, is_refused=True), at(1, priority=1, asked=1)
        assert step(refused, flaky) == WaitThenAsk(1_000)
        assert step(refused, flaky, failure=FailureKind.KEY_REFUSED) == WaitThenAsk(1_000)
        assert after_pause([refused, flaky], RetryBudget(20), left_ms=1, chance=0.0, now_ns=0) == Ask(flaky)

    def test_nobody_pauses_for_an_attempt_that_the_budget_would_not_allow(self) -> None:
        given_up = step(at(0, asked=1), budget=used_up())
        assert isinstance(given_up, GiveUp)
        assert given_up.why == (
            "attempts that ask a provider again are limited to 20 % of calls (retry.budgetPercent)"
        )

    def test_whoever_comes_back_soonest_is_waited_for(self) -> None:
        failed = at(0, asked=1, patience_ms=20_000)
        backup = at(1, priority=1, unavailable=limited(2_000))
        assert step(failed, backup) == WaitThenAsk(2_500)
        assert step(failed, backup, budget=used_up()) == WaitThenAsk(2_500), "it was not asked before"

    def test_where_the_budget_is_used_up_who_was_not_asked_before_is_waited_for(self) -> None:
        assert step(at(0, asked=1), at(1, unavailable=limited(2_000)), budget=used_up()) == WaitThenAsk(2_500)

    def test_patience_that_was_asked_for_outlasts_a_shorter_reason(self) -> None:
        failed = at(0, asked=1, unavailable=cooling(2_000), patience_ms=5_000)
        assert step(failed) == WaitThenAsk(5_500)

    def test_planning_charges_nothing(self) -> None:
        budget = RetryBudget(20)
        for _ in range(10):
            assert isinstance(step(at(0, asked=1), budget=budget), WaitThenAsk)
        assert sum(budget.take(0) for _ in range(10)) == BUDGET_FLOOR


class TestAfterThePause:
    def test_those_who_were_asked_least_come_first(self) -> None:
        first, second, third = at(0, asked=2), at(1, priority=1, asked=1), at(2, priority=2, asked=1)
        step = after_pause([first, second, third], RetryBudget(20), left_ms=1, chance=0.5, now_ns=0)
        assert step == Ask(second)

    def test_a_provider_that_came_back_meanwhile_takes_no_budget(self) -> None:
        failed, backup = at(0, asked=1), at(1, priority=1)
        assert after_pause([failed, backup], used_up(), left_ms=1, chance=0.5, now_ns=0) == Ask(backup)

    @pytest.mark.parametrize(
        ("standing", "left_ms", "why"),
        [
            (at(0, asked=1), 0, "the deadline is over"),
            (at(0, asked=1, unavailable=broken(5)), 1, "no provider came back during the pause"),
            (at(0, asked=1, patience_ms=5), 1, "no provider came back during the pause"),
            (
                at(0, asked=1),
                1,
                "attempts that ask a provider again are limited to 20 % of calls (retry.budgetPercent)",
            ),
        ],
    )
    def test_where_nobody_can_be_asked_it_gives_up(self, standing: Standing, left_ms: int, why: str) -> None:
        given_up = after_pause([standing], used_up(), left_ms=left_ms, chance=0.5, now_ns=0)
        assert isinstance(given_up, GiveUp)
        assert given_up.why == why


class TestTheFirstStep:
    def test_it_asks_the_lowest_priority_that_can_be_asked(self) -> None:
        out, backup = at(0, unavailable=broken(1_000)), at(1, priority=1)
        assert first_step([out, backup], 0.5, 0) == Ask(backup)

    @pytest.mark.parametrize(
        ("standings", "retry_after_ms", "is_busy"),
        [
            ([at(0, unavailable=cooling(5_000)), at(1, unavailable=limited(3_000))], 3_000, True),
            ([at(0, unavailable=cooling(5_000)), at(1, unavailable=NO_KEY)], 5_000, True),
            ([at(0, unavailable=cooling(5_000)), at(1, unavailable=broken(3_000))], 3_000, False),
            ([at(0, unavailable=broken(5_000))], 5_000, False),
            ([at(0, unavailable=limited(None))], None, True),
            ([at(0, unavailable=NO_KEY)], None, False),
            ([], None, False),
        ],
    )
    def test_where_nobody_can_be_asked_it_says_when_and_whether_that_is_a_fault(
        self, standings: list[Standing], retry_after_ms: int | None, is_busy: bool
    ) -> None:
        given_up = first_step(standings, 0.5, 0)
        assert given_up == GiveUp("no provider can be asked now", retry_after_ms, is_busy)


def test_after_a_failure_too_it_says_when_somebody_is_back() -> None:
    failed = at(0, asked=1, patience_ms=3_600_000)
    given_up = step(failed, at(1, unavailable=cooling(120_000)), failure=FailureKind.RATE_LIMITED)
    assert isinstance(given_up, GiveUp)
    assert (given_up.retry_after_ms, given_up.is_busy) == (120_000, True)


@given(st.integers(1, 100_000), st.floats(0, ALMOST_ONE), st.integers(1, 10**9), st.integers(1, 10**9))
def test_the_pause_doubles_up_to_its_maximum_and_jitter_spreads_it_from_zero(
    attempts: int, jitter: float, base_ms: int, max_ms: int
) -> None:
    ceiling_ms = min(max_ms, base_ms * 2 ** min(attempts - 1, 32))
    assert 0 <= backoff_ms(attempts, base_ms, max_ms, jitter) <= ceiling_ms
    assert backoff_ms(attempts, base_ms, max_ms, 0.0) == 0
    assert backoff_ms(attempts, base_ms, max_ms, ALMOST_ONE) == ceiling_ms
