"""Who is asked: priorities in order, weights within one."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.policies.choice import Candidate, choose, lowest

ALMOST_ONE = 1 - 2**-53


def test_calls_are_shared_by_weight() -> None:
    candidates = [Candidate(id=0, weight=1), Candidate(id=1, weight=0), Candidate(id=2, weight=3)]
    chosen = Counter(found.id for step in range(1_000) if (found := choose(candidates, step / 1_000)))
    assert chosen == {0: 250, 2: 750}


def test_failover_goes_by_priority_and_ends() -> None:
    left = [
        Candidate(id=0, priority=5),
        Candidate(id=1, priority=0, weight=9),
        Candidate(id=2, priority=0),
        Candidate(id=3, priority=1),
    ]
    order: list[int] = []
    while (found := choose(left, 0.0)) is not None:
        left.remove(found)
        order.append(found.id)
    assert order == [1, 2, 3, 0]


def test_weight_zero_serves_only_when_nothing_else_of_its_priority_is_left() -> None:
    first, second, third, backup = (
        Candidate(id=0, weight=0),
        Candidate(id=1),
        Candidate(id=2, weight=0),
        Candidate(id=3, priority=1),
    )
    for chance in (0.0, 0.5, ALMOST_ONE):
        assert choose([first, second, third, backup], chance) == second
    assert choose([first, third, backup], 0.0) == first
    assert choose([first, third, backup], 0.5) == third
    assert choose([backup], 0.5) == backup


def test_nobody_is_left() -> None:
    assert choose([], 0.3) is None
    assert lowest([]) == []


pools = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.integers(0, 5), st.integers(0, 10**18))), max_size=8
).map(lambda rows: [Candidate(id=at, priority=row[0], weight=row[1]) for at, row in enumerate(rows)])


@settings(deadline=None)
@given(pools, st.floats(0, ALMOST_ONE))
def test_the_chosen_one_is_of_the_lowest_priority_and_has_a_weight_if_anybody_has(
    candidates: list[Candidate], chance: float
) -> None:
    found = choose(candidates, chance)
    if found is None:
        assert not candidates
        return
    rivals = lowest(candidates)
    assert {it.priority for it in rivals} == {min(it.priority for it in candidates)}
    assert found in rivals
    assert found.weight > 0 or not any(it.weight for it in rivals)
    assert found == choose(rivals, chance) == choose(candidates, chance)
