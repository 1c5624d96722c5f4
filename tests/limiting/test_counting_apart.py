"""What a limit counts apart, which calls it counts at all, and that both stay within bounded memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_policy.model import KeyPart, KeyType, Mode, ObjectRef, RateLimit, WorkloadIdentity
from tidegate_sidecar.policies.base import Facts
from tidegate_sidecar.policies.gcra import ACQUIRED, SWEEP_ABOVE, SWEEP_STEPS, Gcra
from tidegate_sidecar.policies.rate import MAX_MODELS_REMEMBERED, MAX_VALUE_LENGTH, RateGrant, RateLimiter

SECOND = 1_000_000_000


def limiter(*key: KeyPart, models: tuple[str, ...] = ("*",), max_keys: int = 1_000) -> RateLimiter:
    limit = RateLimit(
        name="calls",
        source=ObjectRef(kind="AIPolicy", namespace="team-a", name="chat"),
        mode=Mode.ENFORCE,
        requests=1,
        per_ms=1_000,
        burst=1,
        key=key,
        models=models,
    )
    return RateLimiter(limit, WorkloadIdentity(namespace="team-a", workload_name="chat"), max_keys=max_keys)


def call(model: str = "gpt-4o", consumer: str = "anonymous", provider: str = "", **headers: str) -> Facts:
    return Facts(model=model, consumer=consumer, headers=headers, provider=provider)


def admits(rule: RateLimiter, facts: Facts, now_ns: int = 0) -> bool:
    return isinstance(rule.admit(facts, now_ns), RateGrant)


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        (KeyPart(type=KeyType.CONSUMER), call(consumer="ann"), call(consumer="ben")),
        (KeyPart(type=KeyType.MODEL), call(model="gpt-4o"), call(model="claude-opus-4")),
        (KeyPart(type=KeyType.PROVIDER), call(provider="openai"), call(provider="azure")),
        (KeyPart(type=KeyType.HEADER, header="tier"), call(tier="free"), call(tier="paid")),
        (KeyPart(type=KeyType.HEADER, header="tier"), call(), call(tier="paid")),
    ],
)
def test_each_value_of_the_key_has_the_whole_limit(part: KeyPart, one: Facts, other: Facts) -> None:
    for key in [(part,), (KeyPart(type=KeyType.NAMESPACE), part), (part, KeyPart(type=KeyType.CONSUMER))]:
        rule = limiter(*key)
        assert admits(rule, one)
        assert admits(rule, other)
        assert not admits(rule, one)
        assert rule.keys == 2


@pytest.mark.parametrize("kind", [KeyType.NAMESPACE, KeyType.WORKLOAD, KeyType.POD, KeyType.SERVICE_ACCOUNT])
def test_the_pods_own_facts_count_all_its_calls_together(kind: KeyType) -> None:
    rule = limiter(KeyPart(type=kind))
    assert admits(rule, call(consumer="ann", model="a"))
    assert not admits(rule, call(consumer="ben", model="b"))


def test_only_a_key_with_the_provider_counts_each_attempt() -> None:
    for kind in KeyType:
        rule = limiter(KeyPart(type=KeyType.CONSUMER), KeyPart(type=kind, header="x"))
        assert rule.per_attempt is (kind is KeyType.PROVIDER)


def test_values_of_any_length_are_told_apart_and_kept_short() -> None:
    rule = limiter(KeyPart(type=KeyType.HEADER, header="tier"))
    long = "x" * 8_000
    values = [
        long,
        long + "y",
        "x" * MAX_VALUE_LENGTH,
        "x" * (MAX_VALUE_LENGTH + 1),
        "\udcff" * 100,
        "\udcfe" * 100,
    ]
    for value in values:
        assert admits(rule, call(tier=value))
        assert not admits(rule, call(tier=value))
        assert len(rule.key_of(call(tier=value))) <= MAX_VALUE_LENGTH + 1


@pytest.mark.parametrize(
    ("pattern", "counted", "free"),
    [
        ("gpt-4o", ["gpt-4o"], ["gpt-4o-mini", "xgpt-4o", ""]),
        ("gpt-*", ["gpt-", "gpt-4o"], ["gpt", "my-gpt-4o"]),
        ("*-mini", ["gpt-4o-mini", "-mini"], ["mini", "gpt-4o-mini-2024"]),
        ("gpt*mini", ["gptmini", "gpt-4o-mini"], ["gpt", "gpt-mini-x", "gptmin"]),
        ("ab*ba", ["abba", "ab-ba"], ["aba"]),
        ("*4*o*", ["4o", "gpt-4o", "4-o-"], ["o4", "gpt-o4"]),
        ("a[b]?", ["a[b]?"], ["ab", "abc", "a[b]x"]),
        ("g.t", ["g.t"], ["gpt"]),
    ],
)
def test_a_limit_counts_the_models_that_its_patterns_name(
    pattern: str, counted: list[str], free: list[str]
) -> None:
    rule = limiter(KeyPart(type=KeyType.MODEL), models=("nothing", pattern))
    for model in counted:
        assert admits(rule, call(model=model))
        assert not admits(rule, call(model=model)), model
    for model in free:
        assert [admits(rule, call(model=model)) for _ in range(3)] == [True] * 3, model


def test_model_names_without_end_take_no_memory_without_end() -> None:
    rule = limiter(KeyPart(type=KeyType.WORKLOAD), models=("gpt-*",))
    for number in range(3 * MAX_MODELS_REMEMBERED):
        assert admits(rule, call(model=f"m{number}"))
    assert len(rule._counted) <= MAX_MODELS_REMEMBERED
    assert admits(rule, call(model="gpt-4o"))
    assert not admits(rule, call(model="gpt-4o"))


def test_a_pattern_full_of_stars_is_matched_in_no_time() -> None:
    rule = limiter(KeyPart(type=KeyType.WORKLOAD), models=("*a" * 60 + "*b",))
    assert admits(rule, call(model="a" * 256))


class TestTooManyKeys:
    def test_new_keys_share_one_counter_while_all_are_live(self) -> None:
        rule = limiter(KeyPart(type=KeyType.CONSUMER), max_keys=3)
        admitted = [admits(rule, call(consumer=f"c{number}")) for number in range(6)]
        assert admitted == [True, True, True, True, False, False]  # c3 takes the one shared unit
        assert (rule.keys, rule.overflowed) == (3, 1)

    def test_keys_whose_units_have_come_back_make_room(self) -> None:
        rule = limiter(KeyPart(type=KeyType.CONSUMER), max_keys=3)
        for number in range(60):
            assert admits(rule, call(consumer=f"c{number}"), number * SECOND)
        assert (rule.keys, rule.overflowed) == (3, 0)

    def test_who_used_the_shared_counter_does_not_start_afresh_with_one_of_its_own(self) -> None:
        gcra = Gcra(count=1, per_ns=10 * SECOND, burst=2, max_keys=1)
        assert gcra.acquire("a", 0) == ACQUIRED
        assert [gcra.acquire("b", 5 * SECOND) for _ in range(2)] == [ACQUIRED, ACQUIRED]
        # At 11 s "a" has passed and makes room for "b", which has used two units six seconds ago.
        assert gcra.acquire("b", 11 * SECOND) != ACQUIRED
        assert gcra.acquire("b", 15 * SECOND) == ACQUIRED

    def test_passed_keys_are_dropped_faster_than_new_ones_come(self) -> None:
        gcra = Gcra(count=1, per_ns=SECOND, burst=1)
        for number in range(20_000):
            gcra.acquire(f"k{number}", number * SECOND)
        assert len(gcra) <= SWEEP_ABOVE + SWEEP_STEPS

    @settings(deadline=None, max_examples=400)
    @given(
        st.integers(1, 3),
        st.integers(1, 5),
        st.lists(
            st.tuples(
                st.sampled_from("abcdef"),
                st.sampled_from([0, 0, 1, 3, 7, 10, 40]),
                st.integers(1, 3),
                st.sampled_from([0, 0, 0, -3, -1, 2]),
            ),
            max_size=60,
        ),
    )
    def test_no_key_ever_gets_more_than_its_limit(
        self, max_keys: int, burst: int, steps: list[tuple[str, int, int, int]]
    ) -> None:
        gcra = Gcra(count=1, per_ns=10, burst=burst, max_keys=max_keys)
        alone = {key: Gcra(count=1, per_ns=10, burst=burst) for key in "abcdef"}
        now_ns = 0
        for key, gap, weight, delta in steps:
            now_ns += gap
            if gcra.acquire(key, now_ns, weight) == ACQUIRED:
                # Whatever is admitted, a limit for this key alone would have admitted too.
                assert alone[key].acquire(key, now_ns, weight) == ACQUIRED
                gcra.correct(key, max(delta, -weight), now_ns + 1)
                alone[key].correct(key, max(delta, -weight), now_ns + 1)
                now_ns += 1
            assert gcra.remaining(key, now_ns) <= alone[key].remaining(key, now_ns)
            assert len(gcra) <= max_keys
