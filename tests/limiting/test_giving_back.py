"""Rules decide together: a refused call takes nothing from any of them, and each grant is settled once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_policy.model import KeyPart, KeyType, Mode, ObjectRef, RateLimit, WorkloadIdentity
from tidegate_sidecar.policies.base import (
    NOT_ADMITTED,
    NOT_SENT,
    NOTHING_ADMITTED,
    Admitted,
    Facts,
    Grant,
    Outcome,
    PolicySet,
    Rejected,
    Sent,
    settle_all,
)
from tidegate_sidecar.policies.gcra import ACQUIRED, Gcra
from tidegate_sidecar.policies.rate import RateLimiter

SECOND = 1_000_000_000
SOURCE = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")
SENT = Outcome(Sent.SENT)


def limiter(
    name: str, *, burst: int, mode: Mode = Mode.ENFORCE, key: KeyType = KeyType.CONSUMER, max_keys: int = 100
) -> RateLimiter:
    limit = RateLimit(
        name=name,
        source=SOURCE,
        mode=mode,
        requests=7,
        per_ms=3_000,
        burst=burst,
        key=(KeyPart(type=key),),
    )
    return RateLimiter(limit, WorkloadIdentity(), max_keys=max_keys)


def call(consumer: str = "ann", provider: str = "") -> Facts:
    return Facts(model="gpt-4o", consumer=consumer, headers={}, provider=provider)


def admitted(rules: PolicySet, facts: Facts, now_ns: int) -> Admitted:
    result = rules.admit(facts, now_ns)
    assert isinstance(result, Admitted)
    return result


class Scripted:
    """A policy that answers what it was told to, and writes down what it was asked. It is its own grant."""

    def __init__(
        self, name: str, log: list[str], *, refuses: bool = False, mode: Mode = Mode.ENFORCE
    ) -> None:
        self.name, self.log, self.refuses, self.mode = name, log, refuses, mode

    def admit(self, facts: Facts, now_ns: int) -> Grant | Rejected:
        del facts
        self.log.append(f"admit {self.name} at {now_ns}")
        refusal = Rejected(rule=self.name, source=SOURCE, retry_after_ms=1, limit="", remaining=0)
        return refusal if self.refuses else self

    def settle(self, outcome: Outcome, now_ns: int) -> None:
        self.log.append(f"{outcome.sent.value} {self.name} at {now_ns}")


def test_rules_before_the_one_that_refuses_get_back_what_they_gave_last_first() -> None:
    log: list[str] = []
    rules = PolicySet(
        (Scripted("a", log), Scripted("b", log), Scripted("c", log, refuses=True), Scripted("d", log))
    )
    result = rules.admit(call(), 5)
    assert isinstance(result, Rejected)
    assert result.rule == "c"
    assert log == ["admit a at 5", "admit b at 5", "admit c at 5", "NotAdmitted b at 5", "NotAdmitted a at 5"]


def test_shadow_rules_see_only_calls_that_are_really_admitted() -> None:
    log: list[str] = []
    rules = PolicySet((Scripted("shadow", log, mode=Mode.SHADOW), Scripted("enforced", log, refuses=True)))
    assert isinstance(rules.admit(call(), 0), Rejected)
    assert log == ["admit enforced at 0"]


def test_a_shadow_rule_that_would_have_refused_holds_nothing_of_the_call() -> None:
    log: list[str] = []
    rules = PolicySet(
        (
            Scripted("s1", log, mode=Mode.SHADOW, refuses=True),
            Scripted("a", log),
            Scripted("s2", log, mode=Mode.SHADOW),
        )
    )
    result = admitted(rules, call(), 0)
    assert [refusal.rule for refusal in result.would_reject] == ["s1"]
    log.clear()
    settle_all(result.grants, SENT, 1)
    assert log == ["Sent s2 at 1", "Sent a at 1"]


def test_grants_of_the_call_and_of_its_attempts_are_settled_each_for_itself() -> None:
    """Two attempts of one call at a time, as a hedge makes them, get in nobody's way."""
    per_call = limiter("per-call", burst=1)
    per_attempt = limiter("per-attempt", burst=1, key=KeyType.PROVIDER)
    of_call = admitted(PolicySet((per_call,)), call(), 0)
    attempts = PolicySet((per_attempt,))
    first, second = (
        admitted(attempts, call(provider="openai"), 0),
        admitted(attempts, call(provider="azure"), 0),
    )
    assert isinstance(attempts.admit(call(provider="openai"), 0), Rejected)
    settle_all(first.grants, SENT, 1)
    settle_all(second.grants, NOT_SENT, 1)
    settle_all(of_call.grants, SENT, 1)
    assert (per_call.outstanding, per_attempt.outstanding) == (0, 0)


def test_a_shadow_rule_counts_what_it_would_count_if_it_were_enforced() -> None:
    enforced, shadow = limiter("r", burst=2), limiter("r", burst=2, mode=Mode.SHADOW)
    for now_ns in range(0, 5 * SECOND, SECOND // 5):
        refused = PolicySet((enforced,)).admit(call(), now_ns)
        noted = admitted(PolicySet((shadow,)), call(), now_ns).would_reject
        assert noted == ((refused,) if isinstance(refused, Rejected) else ())


def test_an_empty_set_admits_everything() -> None:
    assert PolicySet().admit(call(), 0) == NOTHING_ADMITTED


def test_a_grant_outlives_the_facts_it_was_given_for() -> None:
    rule = limiter("r", burst=1)
    grant = admitted(PolicySet((rule,)), call("ann"), 0).grants[0]
    assert rule.remaining("ann", 0) == 0
    grant.settle(NOT_ADMITTED, 0)
    assert (rule.remaining("ann", 0), rule.outstanding, rule.keys) == (1, 0, 0)


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 6),
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from([0, 0, 1, 428_571_428, 428_571_429]),
            st.integers(1, 3),
            st.lists(st.integers(1, 3), max_size=3),
        ),
        max_size=30,
    ),
    st.integers(1, 3),
)
def test_what_is_given_back_in_the_same_instant_leaves_no_trace(
    burst: int, steps: list[tuple[str, int, int, list[int]]], max_keys: int
) -> None:
    """Two limits see the same calls; one of them is also asked for units that it gets back at once."""
    plain = Gcra(count=7, per_ns=3 * SECOND, burst=burst, max_keys=max_keys)
    asked = Gcra(count=7, per_ns=3 * SECOND, burst=burst, max_keys=max_keys)
    now_ns = 10**15 + 1
    for key, gap, weight, extra in steps:
        now_ns += gap
        taken = [weight for weight in extra if asked.acquire(key, now_ns, weight) == ACQUIRED]
        for each in reversed(taken):
            asked.refund(key, now_ns, each)
        assert asked.remaining(key, now_ns) == plain.remaining(key, now_ns)
        assert asked.acquire(key, now_ns, weight) == plain.acquire(key, now_ns, weight)
        assert asked.overflowed == plain.overflowed


def test_a_key_that_was_known_keeps_its_place_and_a_new_one_takes_none() -> None:
    gcra = Gcra(count=1, per_ns=SECOND, burst=4, max_keys=2)
    for key, weight in (("a", 1), ("b", 3), ("c", 3)):  # "c" by the shared counter
        assert gcra.acquire(key, 0, weight) == ACQUIRED
    assert gcra.acquire("b", 0) == ACQUIRED
    gcra.refund("b", 0)
    assert len(gcra) == 2
    assert gcra.acquire("d", SECOND) == ACQUIRED  # in the place of "a"
    gcra.refund("d", SECOND)
    assert len(gcra) == 1


def test_a_unit_that_is_given_back_later_stays_used() -> None:
    """With 1 per 1 s, giving back A's unit at 1 s would let B and C in at once."""
    gcra = Gcra(count=1, per_ns=SECOND, burst=1)
    assert gcra.acquire("a", 0) == ACQUIRED
    assert gcra.acquire("a", SECOND) == ACQUIRED
    gcra.refund("a", SECOND + 1)
    assert gcra.acquire("a", SECOND + 1) != ACQUIRED


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "ben", "cy"]),
            st.sampled_from([0, 0, 100_000_000, 500_000_000]),
            st.sampled_from([NOT_ADMITTED, NOT_SENT, SENT]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_after_any_sequence_of_calls_nothing_is_outstanding(
    steps: list[tuple[str, int, Outcome, int]],
) -> None:
    """Calls overlap: each is settled some steps after it was admitted."""
    every = [
        limiter("consumer", burst=3, max_keys=2),
        limiter("shadow", burst=1, mode=Mode.SHADOW),
        limiter("workload", burst=4, key=KeyType.WORKLOAD),
    ]
    rules = PolicySet(tuple(every))
    now_ns = 0
    under_way: list[tuple[int, tuple[Grant, ...], Outcome]] = []
    for index, (consumer, gap, outcome, later) in enumerate(steps):
        now_ns += gap
        result = rules.admit(call(consumer), now_ns)
        if isinstance(result, Admitted):
            if outcome is NOT_ADMITTED:
                settle_all(result.grants, outcome, now_ns)
            else:
                under_way.append((index + later, result.grants, outcome))
        for due in [item for item in under_way if item[0] <= index]:
            under_way.remove(due)
            settle_all(due[1], due[2], now_ns)
        assert every[0].outstanding == len(under_way)
    for _, grants, outcome in under_way:
        settle_all(grants, outcome, now_ns)
    assert [rule.outstanding for rule in every] == [0, 0, 0]
