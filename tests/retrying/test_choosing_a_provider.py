"""Who is asked next: priorities in order, weights within one, nobody twice."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.policies.select import Candidate, choose

ALMOST_ONE = 1 - 2**-53


def test_calls_are_shared_by_weight() -> None:
    candidates = [Candidate(id=0, weight=1), Candidate(id=1, weight=0), Candidate(id=2, weight=3)]
    chosen = Counter(found.id for step in range(1_000) if (found := choose(candidates, step / 1_000)))
    assert chosen == {0: 250, 2: 750}


def test_failover_goes_by_priority_and_ends() -> None:
    candidates = [
        Candidate(id=0, priority=5),
        Candidate(id=1, priority=0, weight=9),
        Candidate(id=2, priority=0),
        Candidate(id=3, priority=1),
    ]
    order: list[int] = []
    while (found := choose(candidates, 0.0, tried=set(order))) is not None:
        order.append(found.id)
    assert order == [1, 2, 3, 0]


def test_weight_zero_serves_only_when_nothing_else_of_its_priority_is_left() -> None:
    candidates = [
        Candidate(id=0, weight=0),
        Candidate(id=1),
        Candidate(id=2, weight=0),
        Candidate(id=3, priority=1),
    ]
    for chance in (0.0, 0.5, ALMOST_ONE):
        assert choose(candidates, chance) == candidates[1]
    assert choose(candidates, 0.0, tried={1}) == candidates[0]
    assert choose(candidates, 0.5, tried={1}) == candidates[2]
    assert choose(candidates, 0.5, tried={0, 1, 2}) == candidates[3]


def test_a_provider_that_is_not_available_is_passed_over() -> None:
    candidates = [Candidate(id=0), Candidate(id=1, priority=1)]
    asked: list[int] = []

    def is_available(candidate: Candidate) -> bool:
        asked.append(candidate.id)
        return candidate.id == 1

    assert choose(candidates, 0.0, is_available=is_available) == candidates[1]
    assert choose(candidates, 0.0, tried={1}, is_available=is_available) is None
    assert asked == [0, 1, 0]  # who was tried is not asked about


def test_nobody_is_left() -> None:
    assert choose([], 0.3) is None
    assert choose([Candidate(id=0)], 0.3, tried={0}) is None


def test_a_chance_of_one_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="chance"):
        choose([Candidate(id=0)], 1.0)


pools = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1_000)), max_size=8).map(
    lambda rows: [Candidate(id=at, priority=row[0], weight=row[1]) for at, row in enumerate(rows)]
)


@settings(deadline=None)
@given(pools, st.floats(0, ALMOST_ONE), st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)))
def test_the_chosen_one_is_untried_available_and_of_the_lowest_priority(
    candidates: list[Candidate], chance: float, tried: set[int], out: set[int]
) -> None:
    left = [it for it in candidates if it.id not in tried and it.id not in out]
    found = choose(candidates, chance, tried=tried, is_available=lambda it: it.id not in out)
    if found is None:
        assert not left
        return
    assert found in left
    assert found.priority == min(it.priority for it in left)
    rivals = [it for it in left if it.priority == found.priority]
    assert found.weight > 0 or not any(it.weight for it in rivals)
    assert found == choose(rivals, chance)
