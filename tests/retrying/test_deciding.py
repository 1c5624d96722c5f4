"""What follows a failed try: another provider at once, the same one after a pause, or nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_policy.model import Retry, RetryOn
from tidegate_sidecar.policies.retry import (
    BUDGET_FLOOR,
    Again,
    Decision,
    MoveOn,
    RetryBudget,
    Stop,
    backoff_ms,
    decide,
)

ALMOST_ONE = 1 - 2**-53
CONFIG = Retry(
    max_attempts=3,
    retry_on=(RetryOn.RATE_LIMITED, RetryOn.SERVER_ERROR),
    backoff_base_ms=1_000,
    backoff_max_ms=60_000,
    budget_percent=20,
)


def decided(
    *,
    config: Retry = CONFIG,
    budget: RetryBudget | None = None,
    attempts: int = 1,
    kind: RetryOn | None = RetryOn.SERVER_ERROR,
    retry_after_ms: int | None = None,
    another: bool = False,
    left_ms: int = 600_000,
    jitter: float = 0.5,
    unusable: bool = False,
) -> Decision:
    return decide(
        config,
        budget or RetryBudget(config.budget_percent),
        attempts=attempts,
        kind=kind,
        retry_after_ms=retry_after_ms,
        another=another,
        left_ms=left_ms,
        jitter=jitter,
        now_ns=0,
        unusable=unusable,
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"another": True}, MoveOn()),
        ({"another": True, "attempts": 2}, MoveOn()),
        ({"another": True, "attempts": 3}, Stop("3 tries were made, the most allowed")),
        ({"another": True, "left_ms": 0}, Stop("the deadline is over")),
        ({"another": True, "kind": None}, Stop("such a failure is not tried again")),
        ({"another": True, "kind": RetryOn.TIMEOUT}, Stop("such a failure is not tried again")),
        ({"another": True, "retry_after_ms": 3_600_000}, MoveOn()),
        ({"another": True, "kind": None, "unusable": True}, MoveOn()),
        ({"kind": None, "unusable": True}, Stop("the provider cannot be used and there is no other")),
        ({}, Again(500)),
        ({"attempts": 2}, Again(1_000)),
        ({"jitter": 0.0}, Again(0)),
        ({"jitter": ALMOST_ONE}, Again(1_000)),
        ({"retry_after_ms": 2_000}, Again(2_500)),
        ({"retry_after_ms": 0}, Again(500)),
        ({"retry_after_ms": 60_000}, Again(60_000)),
        (
            {"retry_after_ms": 60_001},
            Stop("the provider asks to wait 60001 ms, the longest pause is 60000 ms"),
        ),
        ({"left_ms": 501}, Again(500)),
        ({"left_ms": 500}, Stop("the deadline comes before the next try")),
        ({"left_ms": 2_000, "retry_after_ms": 2_000}, Stop("the deadline comes before the next try")),
        ({"config": replace(CONFIG, max_attempts=1)}, Stop("1 tries were made, the most allowed")),
        (
            {"config": replace(CONFIG, budget_percent=0)},
            Stop("tries that ask again are limited to 0 % of calls"),
        ),
    ],
)
def test_a_failed_try_is_followed_by(case: dict[str, object], expected: Decision) -> None:
    assert decided(**case) == expected  # type: ignore[arg-type] # the table's cells are the arguments


@given(
    attempts=st.integers(1, 5),
    kind=st.one_of(st.none(), st.sampled_from(list(RetryOn))),
    retry_after_ms=st.one_of(st.none(), st.integers(0, 200_000)),
    another=st.booleans(),
    unusable=st.booleans(),
    left_ms=st.integers(-10, 200_000),
    jitter=st.floats(0, ALMOST_ONE),
)
def test_a_pause_respects_the_provider_the_maximum_and_the_deadline(
    *,
    attempts: int,
    kind: RetryOn | None,
    retry_after_ms: int | None,
    another: bool,
    unusable: bool,
    left_ms: int,
    jitter: float,
) -> None:
    budget = RetryBudget(20)
    decision = decided(
        budget=budget,
        attempts=attempts,
        kind=kind,
        retry_after_ms=retry_after_ms,
        another=another,
        left_ms=left_ms,
        jitter=jitter,
        unusable=unusable,
    )
    left_over = sum(budget.take(0) for _ in range(2 * BUDGET_FLOOR))
    assert left_over == BUDGET_FLOOR - isinstance(decision, Again)
    if isinstance(decision, Again):
        assert not another
        assert not unusable
        assert (retry_after_ms or 0) <= decision.wait_ms <= CONFIG.backoff_max_ms
        assert decision.wait_ms < left_ms
    if not isinstance(decision, Stop):
        assert attempts < CONFIG.max_attempts
        assert kind in CONFIG.retry_on or unusable


@given(st.integers(1, 100_000), st.floats(0, ALMOST_ONE), st.integers(1, 10**9), st.integers(1, 10**9))
def test_the_pause_doubles_up_to_its_maximum_and_jitter_spreads_it_from_zero(
    attempt: int, jitter: float, base_ms: int, max_ms: int
) -> None:
    ceiling_ms = min(max_ms, base_ms * 2 ** min(attempt - 1, 32))
    assert 0 <= backoff_ms(attempt, base_ms, max_ms, jitter) <= ceiling_ms
    assert backoff_ms(attempt, base_ms, max_ms, 0.0) == 0
    assert backoff_ms(attempt, base_ms, max_ms, ALMOST_ONE) == ceiling_ms
