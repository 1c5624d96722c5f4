"""A limit admits exactly what `burst + rate * time` allows, over any stretch of time, and says when to come back."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_policy.model import KeyPart, KeyType, Mode, ObjectRef, RateLimit, WorkloadIdentity
from tidegate_sidecar.policies.base import Facts, Outcome, Rejected, Sent
from tidegate_sidecar.policies.gcra import ACQUIRED, Gcra
from tidegate_sidecar.policies.rate import RateGrant, RateLimiter

SECOND = 1_000_000_000
SOURCE = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")
CALL = Facts(model="gpt-4o", consumer="anonymous", headers={})


def limiter(*, requests: int = 60, per_ms: int = 60_000, burst: int = 1) -> RateLimiter:
    limit = RateLimit(
        name="calls",
        source=SOURCE,
        mode=Mode.ENFORCE,
        requests=requests,
        per_ms=per_ms,
        burst=burst,
        key=(KeyPart(type=KeyType.WORKLOAD),),
    )
    return RateLimiter(limit, WorkloadIdentity(namespace="team-a"))


def admits(rule: RateLimiter, now_ns: int) -> bool:
    return isinstance(rule.admit(CALL, now_ns), RateGrant)


class Log:
    """The definition itself: remembers every admitted call, and compares all of them each time."""

    def __init__(self, count: int, per_ns: int, burst: int) -> None:
        self.rate = Fraction(count, per_ns)
        self.burst = burst
        self.admitted: list[int] = []

    def admit(self, now_ns: int) -> bool:
        for since in [*self.admitted, now_ns]:
            within = sum(1 for at in self.admitted if at >= since)
            if within + 1 > self.burst + self.rate * (now_ns - since):
                return False
        self.admitted.append(now_ns)
        return True


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """A limit, and instants that press on it: at once, exactly when a unit is free, one nanosecond off."""
    count = draw(st.one_of(st.sampled_from([1, 3, 7, 60, 999]), st.integers(1, 10**9)))
    per_ns = draw(st.one_of(st.sampled_from([1, 10, 3 * SECOND, 60 * SECOND]), st.integers(1, 10**17)))
    burst = draw(st.one_of(st.integers(1, 6), st.integers(1, 10**9)))
    unit_ns = -(-per_ns // count)
    gaps = st.one_of(
        st.just(0),
        st.sampled_from(
            [max(0, unit_ns - 1), unit_ns, unit_ns + 1, max(0, per_ns - 1), per_ns, burst * unit_ns]
        ),
        st.integers(0, 3 * unit_ns),
    )
    now_ns = draw(st.sampled_from([0, 1, 7 * SECOND, 10**15 + 1, 2**63]))
    instants = []
    for gap in draw(st.lists(gaps, max_size=40)):
        now_ns += gap
        instants.append(now_ns)
    return count, per_ns, burst, instants


@settings(deadline=None, max_examples=400)
@given(schedules())
def test_a_limit_agrees_with_a_log_of_all_calls(schedule: tuple[int, int, int, list[int]]) -> None:
    count, per_ns, burst, instants = schedule
    gcra, log = Gcra(count=count, per_ns=per_ns, burst=burst), Log(count, per_ns, burst)
    for now_ns in instants:
        assert (gcra.acquire("k", now_ns) == ACQUIRED) == log.admit(now_ns)


@settings(deadline=None)
@given(schedules())
def test_what_remains_is_what_would_be_admitted_at_once(schedule: tuple[int, int, int, list[int]]) -> None:
    count, per_ns, burst, instants = schedule
    burst = min(burst, 50)
    gcra = Gcra(count=count, per_ns=per_ns, burst=burst)
    for now_ns in instants:
        gcra.acquire("k", now_ns)
    now_ns = instants[-1] if instants else 0
    promised = gcra.remaining("k", now_ns)
    admitted = 0
    while gcra.acquire("k", now_ns) == ACQUIRED:
        admitted += 1
    assert admitted == promised


@settings(deadline=None)
@given(
    st.integers(1, 5_000),
    st.integers(1, 100_000),
    st.integers(1, 5),
    st.integers(0, 10**16),
    st.integers(0, 10**7),
)
def test_a_refused_call_is_admitted_after_the_time_it_was_told_and_not_a_millisecond_before(
    count: int, per_ms: int, burst: int, start_ns: int, later_ns: int
) -> None:
    gcra = Gcra(count=count, per_ns=per_ms * 1_000_000, burst=burst)
    for _ in range(burst):
        assert gcra.acquire("k", start_ns) == ACQUIRED
    wait_ms = gcra.acquire("k", start_ns + later_ns)
    if wait_ms == ACQUIRED:
        return
    assert wait_ms >= 1
    if wait_ms > 1:
        assert gcra.acquire("k", start_ns + later_ns + (wait_ms - 1) * 1_000_000) != ACQUIRED
    assert gcra.acquire("k", start_ns + later_ns + wait_ms * 1_000_000) == ACQUIRED


def test_seven_per_three_seconds_are_seven_per_three_seconds_for_ever() -> None:
    rule = limiter(requests=7, per_ms=3_000, burst=7)
    start_ns = 10**15 + 1
    for _ in range(7):
        assert admits(rule, start_ns)
    refused = rule.admit(CALL, start_ns)
    assert isinstance(refused, Rejected)
    assert refused.retry_after_ms == 429  # 3 s / 7 is 428.57 ms
    # The units come back at 3/7 s each: after k whole periods exactly 7 * k more, no rounding adds up.
    admitted = 0
    for step in range(1, 7_001):
        if admits(rule, start_ns + -(-step * 3 * SECOND // 7)):
            admitted += 1
    assert admitted == 7_000
    assert not admits(rule, start_ns + 3_000 * SECOND)


def test_a_refusal_names_the_rule_its_object_and_the_limit() -> None:
    rule = limiter(requests=60, per_ms=60_000, burst=1)
    assert admits(rule, 0)
    refused = rule.admit(CALL, 250_000_000)
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.source, refused.limit) == ("calls", SOURCE, "60 per 1m, burst 1")
    assert (refused.retry_after_ms, refused.remaining, refused.never) == (750, 0, False)


def test_a_refused_call_leaves_no_trace() -> None:
    rule = limiter(burst=1)
    assert admits(rule, 0)
    for now_ns in range(0, SECOND, SECOND // 10):
        assert not admits(rule, now_ns)
    assert admits(rule, SECOND)
    assert rule.outstanding == 2


@pytest.mark.parametrize("sent", [Sent.NOT_SENT, Sent.SENT])
def test_a_call_counts_whatever_becomes_of_it_later(sent: Sent) -> None:
    rule = limiter(burst=1)
    grant = rule.admit(CALL, 0)
    assert isinstance(grant, RateGrant)
    grant.settle(Outcome(sent), 0)
    assert rule.outstanding == 0
    assert not admits(rule, 0)


@pytest.mark.parametrize("wrong", [{"requests": 0}, {"per_ms": 0}, {"burst": 0}])
def test_a_limit_that_could_never_admit_is_refused_when_it_is_built(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        limiter(**wrong)
