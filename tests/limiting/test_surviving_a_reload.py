"""A reload forgives nothing that was used under the same rule, and no call slips between old and new."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_policy.model import KeyPart, KeyType, Mode, ObjectRef, RateLimit, WorkloadIdentity
from tidegate_sidecar.policies.base import NOT_ADMITTED, Facts, Outcome, Sent
from tidegate_sidecar.policies.gcra import Gcra
from tidegate_sidecar.policies.rate import RateGrant, RateLimiter

SECOND = 1_000_000_000
CALL = Facts(model="gpt-4o", consumer="ann", headers={})
CHAT = WorkloadIdentity(namespace="team-a", workload_name="chat")


def limiter(
    *,
    requests: int = 60,
    per_ms: int = 60_000,
    burst: int = 5,
    kind: KeyType = KeyType.CONSUMER,
    mode: Mode = Mode.ENFORCE,
    identity: WorkloadIdentity = CHAT,
    max_keys: int = 100,
) -> RateLimiter:
    limit = RateLimit(
        name="calls",
        source=ObjectRef(kind="AIPolicy", namespace="team-a", name="chat"),
        mode=mode,
        requests=requests,
        per_ms=per_ms,
        burst=burst,
        key=(KeyPart(type=kind),),
    )
    return RateLimiter(limit, identity, max_keys=max_keys)


def reloaded(before: RateLimiter, after: RateLimiter, now_ns: int) -> RateLimiter:
    after.carry(before, now_ns)
    return after


def admitted(rule: RateLimiter, facts: Facts, now_ns: int) -> RateGrant:
    grant = rule.admit(facts, now_ns)
    assert isinstance(grant, RateGrant)
    return grant


def admits(rule: RateLimiter, now_ns: int) -> bool:
    return isinstance(rule.admit(CALL, now_ns), RateGrant)


def used(rule: RateLimiter, times: int, now_ns: int = 0) -> RateLimiter:
    for _ in range(times):
        admitted(rule, CALL, now_ns)
    return rule


def left(rule: RateLimiter, now_ns: int) -> int:
    return rule.remaining(rule.key_of(CALL), now_ns)


def test_an_unchanged_limit_goes_on_to_the_nanosecond() -> None:
    rule = reloaded(used(limiter(requests=7, per_ms=3_000), 5), limiter(requests=7, per_ms=3_000), 1)
    assert not admits(rule, 428_571_428)
    assert admits(rule, 428_571_429)


def test_a_change_of_mode_keeps_what_was_counted() -> None:
    rule = reloaded(used(limiter(mode=Mode.SHADOW), 5), limiter(), 1)
    assert not admits(rule, 1)


def test_a_larger_burst_leaves_used_units_used() -> None:
    rule = reloaded(used(limiter(burst=5), 5), limiter(burst=8), 0)
    assert left(rule, 0) == 3


def test_a_smaller_burst_counts_at_most_itself_as_used() -> None:
    rule = reloaded(used(limiter(burst=5), 5), limiter(burst=2), 0)
    assert left(rule, 0) == 0
    assert left(rule, 1 * SECOND) == 1


def test_a_unit_that_is_partly_back_counts_as_used() -> None:
    rule = reloaded(used(limiter(burst=5), 2), limiter(requests=600, burst=5), SECOND // 2)
    assert left(rule, SECOND // 2) == 3  # one and a half units were out: two are


def test_another_key_or_another_workload_starts_afresh() -> None:
    assert left(reloaded(used(limiter(), 5), limiter(kind=KeyType.MODEL), 0), 0) == 5
    assert left(reloaded(used(limiter(), 5), limiter(), 0), 0) == 0
    other = WorkloadIdentity(namespace="team-b", workload_name="chat")
    by_workload = used(limiter(kind=KeyType.WORKLOAD), 5)
    assert left(reloaded(by_workload, limiter(kind=KeyType.WORKLOAD, identity=other), 0), 0) == 5
    assert left(reloaded(by_workload, limiter(kind=KeyType.WORKLOAD), 0), 0) == 0


def test_calls_that_began_before_the_reload_count_with_those_after_it() -> None:
    before, after = limiter(burst=2), limiter(burst=3)
    first = admitted(before, CALL, 0)
    after.carry(before, 1)
    second, third = admitted(before, CALL, 2), admitted(after, CALL, 2)
    assert not admits(after, 2)
    assert not admits(before, 2)
    for grant in (first, second, third):
        grant.settle(Outcome(Sent.SENT), 3)
    assert (before.outstanding, after.outstanding) == (0, 0)


def test_what_was_taken_before_the_reload_is_given_back_to_both() -> None:
    before, after = limiter(burst=1), limiter(burst=1)
    grant = admitted(before, CALL, 0)
    after.carry(before, 0)
    grant.settle(NOT_ADMITTED, 0)
    assert admits(after, 0)


def test_the_shared_counter_of_too_many_keys_is_carried_over() -> None:
    before = limiter(burst=2, max_keys=1)
    used(before, 1)
    late = Facts(model="gpt-4o", consumer="ben", headers={})
    for _ in range(2):
        admitted(before, late, 0)
    after = reloaded(before, limiter(requests=30, burst=2), 0)
    assert not isinstance(after.admit(late, 0), RateGrant)
    assert after.overflowed == 2


def test_a_debt_of_a_correction_stays_a_debt() -> None:
    """Three units above a burst of five are three above a burst of two."""
    gcra = Gcra(count=1, per_ns=SECOND, burst=5)
    gcra.correct("ann", 8, 0)
    gcra.reshape(count=2, per_ns=SECOND, burst=2, now_ns=0)
    assert gcra.acquire("ann", 0) == 2_000  # the debt and one unit of the bucket, two a second
    assert gcra.remaining("ann", 0) == 0


limits = st.tuples(st.integers(1, 50), st.integers(1, 5_000), st.integers(1, 8))


@settings(deadline=None, max_examples=300)
@given(limits, limits, st.lists(st.integers(0, 2 * SECOND), max_size=20), st.integers(0, 2 * SECOND))
def test_a_reload_never_gives_back_more_than_time_did(
    old: tuple[int, int, int], new: tuple[int, int, int], gaps: list[int], pause: int
) -> None:
    before = limiter(requests=old[0], per_ms=old[1], burst=old[2])
    now_ns = 0
    for gap in gaps:
        now_ns += gap
        before.admit(CALL, now_ns)
    now_ns += pause
    in_use = old[2] - left(before, now_ns)
    after = reloaded(before, limiter(requests=new[0], per_ms=new[1], burst=new[2]), now_ns)
    if old == new:
        assert new[2] - left(after, now_ns) == in_use
    else:
        assert new[2] - left(after, now_ns) == min(in_use, new[2])
    # and nothing is worse than an empty bucket: it is whole again after burst / rate
    whole_ns = now_ns + -(-new[2] * new[1] * 1_000_000 // new[0])
    assert left(after, whole_ns) == new[2]
