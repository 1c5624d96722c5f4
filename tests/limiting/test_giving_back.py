"""Rules decide together: a refused call takes nothing from any of them, and each admitted one is settled once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_policy.model import KeyPart, KeyType, Mode, ObjectRef, RateLimit, WorkloadIdentity
from tidegate_sidecar.policies.base import Call, PolicySet, Rejected, Settlement
from tidegate_sidecar.policies.cells import Cells
from tidegate_sidecar.policies.rate import RateLimiter

SECOND = 1_000_000_000
SOURCE = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")


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


def call(consumer: str = "ann", provider: str = "") -> Call:
    return Call(model="gpt-4o", consumer=consumer, headers={}, provider=provider)


class Scripted:
    """A policy that answers what it was told to, and writes down what it was asked."""

    def __init__(
        self, name: str, log: list[str], *, refuses: bool = False, mode: Mode = Mode.ENFORCE
    ) -> None:
        self.name, self.log, self.refuses, self.mode = name, log, refuses, mode

    def admit(self, call: Call, now_ns: int) -> Rejected | None:
        del call
        self.log.append(f"admit {self.name} at {now_ns}")
        refusal = Rejected(rule=self.name, source=SOURCE, retry_after_ms=1, limit="", remaining=0)
        return refusal if self.refuses else None

    def settle(self, call: Call, settlement: Settlement, now_ns: int) -> None:
        del call
        self.log.append(f"{settlement.value} {self.name} at {now_ns}")


def test_rules_before_the_one_that_refuses_get_back_what_they_gave_last_first() -> None:
    log: list[str] = []
    rules = PolicySet(
        [Scripted("a", log), Scripted("b", log), Scripted("c", log, refuses=True), Scripted("d", log)]
    )
    result = rules.admit(call(), 5)
    assert result.rejected is not None
    assert result.rejected.rule == "c"
    assert log == ["admit a at 5", "admit b at 5", "admit c at 5", "NotAdmitted b at 5", "NotAdmitted a at 5"]


def test_shadow_rules_see_only_calls_that_are_really_admitted() -> None:
    log: list[str] = []
    rules = PolicySet([Scripted("shadow", log, mode=Mode.SHADOW), Scripted("enforced", log, refuses=True)])
    assert rules.admit(call(), 0).would_reject == ()
    assert log == ["admit enforced at 0"]


def test_a_shadow_rule_that_would_have_refused_holds_nothing_of_the_call() -> None:
    log: list[str] = []
    rules = PolicySet(
        [
            Scripted("s1", log, mode=Mode.SHADOW, refuses=True),
            Scripted("a", log),
            Scripted("s2", log, mode=Mode.SHADOW),
        ]
    )
    each = call()
    result = rules.admit(each, 0)
    assert result.rejected is None
    assert [refusal.rule for refusal in result.would_reject] == ["s1"]
    log.clear()
    rules.settle(each, Settlement.SENT, 1)
    assert log == ["Sent s2 at 1", "Sent a at 1"]
    assert each.passed_over == ()


def test_call_rules_and_attempt_rules_settle_the_same_call_each_for_themselves() -> None:
    per_call = limiter("per-call", burst=1, mode=Mode.SHADOW)
    per_try = limiter("per-try", burst=1, mode=Mode.SHADOW, key=KeyType.PROVIDER)
    call_rules, attempt_rules = PolicySet([per_call]), PolicySet([per_try])
    for expected in [0, 1]:
        each = call(provider="openai")
        assert len(call_rules.admit(each, 0).would_reject) == expected
        for _ in range(2):
            attempt_rules.admit(each, 0)
            attempt_rules.settle(each, Settlement.SENT, 1)
        call_rules.settle(each, Settlement.SENT, 1)
    assert (per_call.outstanding, per_try.outstanding) == (0, 0)


def test_a_shadow_rule_counts_what_it_would_count_if_it_were_enforced() -> None:
    enforced, shadow = limiter("r", burst=2), limiter("r", burst=2, mode=Mode.SHADOW)
    for now_ns in range(0, 5 * SECOND, SECOND // 5):
        refused = PolicySet([enforced]).admit(call(), now_ns).rejected
        noted = PolicySet([shadow]).admit(call(), now_ns).would_reject
        assert noted == ((refused,) if refused else ())


def test_an_empty_set_admits_everything() -> None:
    assert PolicySet().admit(call(), 0) == (None, ())
    PolicySet().settle(call(), Settlement.SENT, 1)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from([0, 0, 1, 428_571_428, 428_571_429])), max_size=30
    ),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_what_is_given_back_in_the_same_instant_leaves_no_trace(
    burst: int, steps: list[tuple[str, int]], extra: int, max_keys: int
) -> None:
    """Two limits see the same calls; one of them is also asked for cells that it gets back at once."""
    plain = Cells(count=7, per_ns=3 * SECOND, burst=burst, max_keys=max_keys)
    tried = Cells(count=7, per_ns=3 * SECOND, burst=burst, max_keys=max_keys)
    now_ns = 10**15 + 1
    for key, gap in steps:
        now_ns += gap
        taken = sum(tried.take(key, now_ns) is None for _ in range(extra))
        for _ in range(taken):
            tried.give_back(key, now_ns)
        assert tried.remaining(key, now_ns) == plain.remaining(key, now_ns)
        assert tried.take(key, now_ns) == plain.take(key, now_ns)
        assert tried.overflowed == plain.overflowed


def test_a_cell_that_is_given_back_later_stays_used() -> None:
    """With 1 per 1 s, giving back A's cell at 1 s would let B and C in at once."""
    cells = Cells(count=1, per_ns=SECOND, burst=1)
    assert cells.take("a", 0) is None
    assert cells.take("a", SECOND) is None
    cells.give_back("a", SECOND + 1)
    assert cells.take("a", SECOND + 1) is not None


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "ben", "cy"]),
            st.sampled_from([0, 0, 100_000_000, 500_000_000]),
            st.sampled_from(list(Settlement)),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_after_any_sequence_of_calls_nothing_is_outstanding(
    steps: list[tuple[str, int, Settlement, int]],
) -> None:
    """Calls overlap: each is settled some steps after it was admitted."""
    every = [
        limiter("consumer", burst=3, max_keys=2),
        limiter("shadow", burst=1, mode=Mode.SHADOW),
        limiter("workload", burst=4, key=KeyType.WORKLOAD),
    ]
    rules = PolicySet(every)
    now_ns = 0
    open_calls: list[tuple[int, Call, Settlement]] = []
    for index, (consumer, gap, settlement, later) in enumerate(steps):
        now_ns += gap
        each = call(consumer)
        if rules.admit(each, now_ns).rejected is None:
            if settlement is Settlement.NOT_ADMITTED:
                rules.settle(each, settlement, now_ns)
            else:
                open_calls.append((index + later, each, settlement))
        for due in [item for item in open_calls if item[0] <= index]:
            open_calls.remove(due)
            rules.settle(due[1], due[2], now_ns)
        assert every[0].outstanding == len(open_calls)
    for _, each, settlement in open_calls:
        rules.settle(each, settlement, now_ns)
    assert [rule.outstanding for rule in every] == [0, 0, 0]
