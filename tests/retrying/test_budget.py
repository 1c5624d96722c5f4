"""Attempts that ask a provider again are a small share of calls, so that retries do not prolong a failure."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.policies.retry_budget import BUDGET_FLOOR, BUDGET_WINDOW_NS, RetryBudget
from tidegate_sidecar.policies.window import BUCKETS

SECOND = 1_000_000_000


def granted(budget: RetryBudget, now_ns: int) -> int:
    count = 0
    while budget.take(now_ns):
        count += 1
    return count


def test_a_few_retries_are_allowed_without_any_traffic() -> None:
    assert granted(RetryBudget(20), 0) == BUDGET_FLOOR


def test_traffic_earns_its_share() -> None:
    budget = RetryBudget(20)
    for _ in range(100):
        budget.on_call(0)
    assert granted(budget, 0) == BUDGET_FLOOR + 20


def test_zero_percent_allows_none_at_all() -> None:
    budget = RetryBudget(0)
    for _ in range(100):
        budget.on_call(0)
    assert granted(budget, 0) == 0


def test_calls_and_retries_are_forgotten_after_ten_seconds() -> None:
    budget = RetryBudget(20)
    for _ in range(100):
        budget.on_call(0)
    granted(budget, 5 * SECOND)
    assert granted(budget, 10 * SECOND) == 0  # the calls are gone, the retries are not
    assert granted(budget, 15 * SECOND) == BUDGET_FLOOR


def test_a_reload_does_not_refill_it() -> None:
    before, after = RetryBudget(20), RetryBudget(20)
    granted(before, 0)
    after.carry(before, 0)
    assert granted(after, 0) == 0


def test_to_look_whether_there_is_room_charges_nothing() -> None:
    budget = RetryBudget(20)
    assert all(budget.has_room(0) for _ in range(3 * BUDGET_FLOOR))
    assert granted(budget, 0) == BUDGET_FLOOR
    assert not budget.has_room(0)


@settings(deadline=None)
@given(
    st.integers(0, 100),
    st.lists(
        st.tuples(st.sampled_from([0, 1, SECOND // 3, SECOND, 4 * SECOND]), st.booleans()), max_size=200
    ),
)
def test_no_window_has_more_retries_than_its_share_and_the_floor(
    percent: int, steps: list[tuple[int, bool]]
) -> None:
    budget = RetryBudget(percent)
    calls: list[int] = []
    again: list[int] = []
    now_ns = 0
    bucket_ns = BUDGET_WINDOW_NS // BUCKETS
    for gap, is_call in steps:
        now_ns += gap
        if is_call:
            budget.on_call(now_ns)
            calls.append(now_ns)
        elif budget.has_room(now_ns) == budget.take(now_ns) is True:
            again.append(now_ns)
            oldest = now_ns // bucket_ns - BUCKETS
            seen = sum(1 for at in calls if at // bucket_ns > oldest)
            asked = sum(1 for at in again if at // bucket_ns > oldest)
            assert asked * 100 <= BUDGET_FLOOR * 100 + percent * seen
            assert percent > 0
