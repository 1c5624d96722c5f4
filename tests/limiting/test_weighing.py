"""Calls of more than one unit, whose weight may be an estimate that is corrected when the truth is known."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.policies.gcra import ACQUIRED, NEVER, Gcra

SECOND = 1_000_000_000


@dataclass
class Log:
    """The definition itself: keeps every call and every correction, and adds up all of them each time."""

    rate: Fraction
    burst: int
    entries: list[tuple[int, int]] = field(default_factory=list)

    def acquire(self, weight: int, now_ns: int) -> bool:
        since_then = weight
        if since_then > self.burst:
            return False
        for at, each in reversed(self.entries):
            since_then += each
            if since_then > self.burst + self.rate * (now_ns - at):
                return False
        self.entries.append((now_ns, weight))
        return True

    def correct(self, delta: int, now_ns: int) -> None:
        self.entries.append((now_ns, delta))


limits = st.tuples(
    st.one_of(st.sampled_from([1, 3, 7, 999]), st.integers(1, 10**6)),
    st.one_of(st.sampled_from([1, 10, 3 * SECOND]), st.integers(1, 10**12)),
    st.integers(1, 40),
)
"""Count, period, burst."""

steps = st.lists(
    st.tuples(
        st.sampled_from(
            [0, 0, 5, 10, 30, 100, 600]
        ),  # time that passes, in tenths of what one unit takes to come back
        st.integers(-1, 1),  # and one nanosecond off
        st.integers(1, 45),  # weight
        st.one_of(st.none(), st.integers(-45, 45)),  # by how much it is corrected
        st.integers(0, 4),  # after how many steps
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(limits, steps)
def test_weights_and_corrections_agree_with_a_log_of_all(
    limit: tuple[int, int, int], schedule: list[tuple[int, int, int, int | None, int]]
) -> None:
    count, per_ns, burst = limit
    gcra, log = Gcra(count=count, per_ns=per_ns, burst=burst), Log(Fraction(count, per_ns), burst)
    under_way: list[tuple[int, int]] = []
    now_ns = 10**15 + 1
    for index, (tenths, off_ns, weight, delta, later) in enumerate(schedule):
        now_ns += max(0, tenths * per_ns // (10 * count) + off_ns)
        waited = gcra.acquire("k", now_ns, weight)
        assert (waited == ACQUIRED) == log.acquire(weight, now_ns)
        assert (waited == NEVER) == (weight > burst)
        if waited == ACQUIRED and delta is not None:
            under_way.append((index + later, max(delta, -weight)))
        for due in [it for it in under_way if it[0] <= index]:
            under_way.remove(due)
            gcra.correct("k", due[1], now_ns)
            log.correct(due[1], now_ns)


@settings(max_examples=200)
@given(limits, steps)
def test_what_was_really_used_exceeds_a_limit_by_estimates_alone(
    limit: tuple[int, int, int], schedule: list[tuple[int, int, int, int | None, int]]
) -> None:
    """By what calls under way at the beginning gave back, and by how much calls within were estimated too low."""
    count, per_ns, burst = limit
    gcra = Gcra(count=count, per_ns=per_ns, burst=burst)
    calls: list[tuple[int, int, int, int]] = []  # when, weight, delta, when that was known
    pending: list[tuple[int, int, int, int]] = []
    now_ns = 0
    for index, (tenths, off_ns, weight, delta, later) in enumerate(schedule):
        now_ns += max(0, tenths * per_ns // (10 * count) + off_ns)
        if gcra.acquire("k", now_ns, weight) == ACQUIRED:
            pending.append((index + later, now_ns, weight, max(delta or 0, -weight)))
        for due in [it for it in pending if it[0] <= index]:
            pending.remove(due)
            gcra.correct("k", due[3], now_ns)
            calls.append((*due[1:], now_ns))
    calls += [(at, weight, 0, now_ns) for _, at, weight, _ in pending]
    for since_ns, *_ in calls:
        used = sum(weight + delta for at, weight, delta, _ in calls if at >= since_ns)
        given_back = sum(-delta for at, _, delta, known in calls if at < since_ns <= known and delta < 0)
        too_low = sum(delta for at, _, delta, _ in calls if at >= since_ns and delta > 0)
        last_ns = max(at for at, *_ in calls)
        assert used <= burst + Fraction(count, per_ns) * (last_ns - since_ns) + given_back + too_low


@given(
    st.integers(1, 5_000), st.integers(1, 100_000), st.integers(1, 50), st.integers(1, 60), st.integers(0, 60)
)
def test_a_refused_weight_is_admitted_after_the_time_it_was_told_and_not_a_millisecond_before(
    count: int, per_ms: int, burst: int, weight: int, debt: int
) -> None:
    gcra = Gcra(count=count, per_ns=per_ms * 1_000_000, burst=burst)
    gcra.correct("k", burst + debt, 0)
    wait_ms = gcra.acquire("k", 0, weight)
    if weight > burst:
        assert wait_ms == NEVER
        return
    assert wait_ms >= 1
    assert wait_ms == 1 or gcra.acquire("k", (wait_ms - 1) * 1_000_000, weight) != ACQUIRED
    assert gcra.acquire("k", wait_ms * 1_000_000, weight) == ACQUIRED


@pytest.mark.parametrize("used", [0, 3, 10])
def test_a_weight_above_the_burst_is_refused_for_good_and_takes_nothing(used: int) -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=10)
    gcra.correct("k", used, 0)
    assert gcra.acquire("k", 0, 11) == NEVER
    assert gcra.remaining("k", 0) == 10 - used
    assert gcra.acquire("other", 0, 11) == NEVER


def test_what_was_estimated_too_high_is_there_for_the_next() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=10)
    assert gcra.acquire("k", 0, 10) == ACQUIRED
    assert gcra.acquire("k", 0, 7) == 7_000
    gcra.correct("k", -7, 0)
    assert gcra.acquire("k", 0, 7) == ACQUIRED


def test_no_more_is_given_back_than_is_still_in_use() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=10)
    assert gcra.acquire("k", 0, 10) == ACQUIRED
    gcra.correct("k", -10, 9 * SECOND)
    assert gcra.remaining("k", 9 * SECOND) == 10


def test_what_was_estimated_too_low_is_a_debt_that_the_next_ones_wait_for() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=10)
    assert gcra.acquire("k", 0, 10) == ACQUIRED
    gcra.correct("k", 5, 0)
    assert gcra.remaining("k", 0) == 0
    assert gcra.acquire("k", 0) == 6_000


def test_a_debt_begins_when_it_is_known_and_not_when_the_call_began() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=10)
    assert gcra.acquire("k", 0) == ACQUIRED
    gcra.correct("k", 10, 100 * SECOND)
    assert gcra.remaining("k", 109 * SECOND) == 9
    gcra.correct("k", -10, 200 * SECOND)
    assert gcra.remaining("k", 200 * SECOND) == 10


def test_a_correction_for_a_key_that_was_forgotten_still_counts() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=2, max_keys=1)
    assert gcra.acquire("a", 0) == ACQUIRED
    assert gcra.acquire("b", 5 * SECOND) == ACQUIRED  # in the place of "a", whose unit has come back
    gcra.correct("a", 2, 5 * SECOND)
    assert gcra.acquire("a", 5 * SECOND) != ACQUIRED


def test_what_others_use_of_the_shared_counter_is_not_given_back() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=2, max_keys=1)
    assert gcra.acquire("a", 0, 2) == ACQUIRED
    assert gcra.acquire("b", 0, 2) == ACQUIRED
    gcra.correct("c", -2, 0)
    gcra.correct("b", -2, 0)
    assert gcra.acquire("b", 0) != ACQUIRED
