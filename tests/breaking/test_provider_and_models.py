"""A provider has a breaker for getting a connection, and one for each model: what fails in one does not close the others."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_policy.model import Breaker
from tidegate_sidecar.policies.breaker import PROBE_WAIT_MS, Result, State
from tidegate_sidecar.policies.breakers import (
    LEAST_WAIT_MS,
    MAX_MODELS,
    OTHERS,
    PROVIDER,
    Breakers,
    Tickets,
    result_of_leaving,
)
from tidegate_sidecar.policies.standing import Cause, Unavailable

SECOND = 1_000_000_000
CONFIG = Breaker(
    consecutive_failures=3,
    failure_rate_percent=50,
    slow_call_percent=80,
    slow_first_token_ms=30_000,
    minimum_requests=20,
    window_ms=10_000,
    open_for_ms=60_000,
    max_open_for_ms=300_000,
)


def admitted(breakers: Breakers, model: str, now_ns: int = 0) -> Tickets:
    assert breakers.standing(model, now_ns) is None
    tickets = breakers.admit(model, now_ns)
    assert tickets is not None
    return tickets


def make(breakers: Breakers, model: str, result: Result, now_ns: int = 0) -> None:
    """One attempt over a connection that was there."""
    tickets = admitted(breakers, model, now_ns)
    breakers.connected(tickets, Result.NEUTRAL, now_ns)
    breakers.settle(model, tickets, result, slow=None, now_ns=now_ns)


def fail_to_connect(breakers: Breakers, model: str, now_ns: int = 0) -> None:
    tickets = admitted(breakers, model, now_ns)
    breakers.connected(tickets, Result.FAILURE, now_ns)
    breakers.settle(model, tickets, Result.NEUTRAL, slow=None, now_ns=now_ns)


def states(breakers: Breakers, now_ns: int = 0) -> dict[str, State]:
    return {model: breaker.state_at(now_ns) for model, breaker in breakers.each()}


def test_a_model_that_fails_leaves_the_others_alone() -> None:
    breakers = Breakers(CONFIG)
    make(breakers, "gpt-4o", Result.SUCCESS)
    for _ in range(3):
        make(breakers, "o3", Result.FAILURE)
    assert breakers.admit("o3", 0) is None
    assert breakers.standing("o3", 0) == Unavailable(
        Cause.BREAKER, "its circuit breaker is open (3 failures in a row)", 60_000
    )
    make(breakers, "gpt-4o", Result.SUCCESS)
    assert states(breakers) == {PROVIDER: State.CLOSED, "gpt-4o": State.CLOSED, "o3": State.OPEN}


def test_a_provider_that_cannot_be_connected_to_is_left_alone_for_all_models() -> None:
    breakers = Breakers(CONFIG)
    for model in ("gpt-4o", "o3", "gpt-4o"):
        fail_to_connect(breakers, model)
    assert breakers.admit("never asked", 0) is None
    assert breakers.standing("never asked", 0) == Unavailable(
        Cause.BREAKER, "its circuit breaker for connections is open (3 failures in a row)", 60_000
    )
    assert states(breakers) == {PROVIDER: State.OPEN}


def test_a_connection_that_was_there_tells_nothing_of_the_provider() -> None:
    breakers = Breakers(CONFIG)
    for _ in range(2):
        fail_to_connect(breakers, "gpt-4o")
        make(breakers, "gpt-4o", Result.SUCCESS)
    fail_to_connect(breakers, "gpt-4o")
    assert states(breakers)[PROVIDER] is State.OPEN


def test_a_new_connection_ends_the_row_of_failures() -> None:
    breakers = Breakers(CONFIG)
    for result in (Result.FAILURE, Result.FAILURE, Result.SUCCESS, Result.FAILURE, Result.FAILURE):
        tickets = admitted(breakers, "gpt-4o")
        breakers.connected(tickets, result, 0)
        breakers.settle("gpt-4o", tickets, Result.NEUTRAL, slow=None, now_ns=0)
    assert states(breakers)[PROVIDER] is State.CLOSED


class TestProbes:
    def test_a_probe_of_the_provider_is_settled_as_soon_as_it_is_connected(self) -> None:
        breakers = Breakers(CONFIG)
        for _ in range(3):
            fail_to_connect(breakers, "gpt-4o")
        now_ns = 60 * SECOND
        tickets = admitted(breakers, "gpt-4o", now_ns)
        assert breakers.admit("o3", now_ns) is None
        refused = breakers.standing("o3", now_ns)
        assert refused is not None
        assert refused.retry_after_ms == PROBE_WAIT_MS
        breakers.connected(tickets, Result.SUCCESS, now_ns)
        assert breakers.admit("o3", now_ns) is not None
        breakers.settle("gpt-4o", tickets, Result.FAILURE, slow=None, now_ns=now_ns)
        assert states(breakers, now_ns) == {PROVIDER: State.CLOSED, "gpt-4o": State.CLOSED}

    @pytest.mark.parametrize("is_told", [True, False])
    def test_a_probe_that_used_a_connection_that_was_there_leaves_none_behind(self, is_told: bool) -> None:
        breakers = Breakers(CONFIG)
        for _ in range(3):
            fail_to_connect(breakers, "gpt-4o")
        now_ns = 60 * SECOND
        tickets = admitted(breakers, "gpt-4o", now_ns)
        if is_told:
            breakers.connected(tickets, Result.NEUTRAL, now_ns)
            assert breakers.standing("gpt-4o", now_ns) is None, "while the answer is still awaited"
        breakers.settle("gpt-4o", tickets, Result.SUCCESS, slow=None, now_ns=now_ns)
        assert states(breakers, now_ns)[PROVIDER] is State.HALF_OPEN
        assert breakers.standing("gpt-4o", now_ns) is None

    def test_a_probe_of_a_model_that_could_not_be_connected_makes_room_for_the_next(self) -> None:
        breakers = Breakers(CONFIG)
        for _ in range(3):
            make(breakers, "gpt-4o", Result.FAILURE)
        now_ns = 60 * SECOND
        fail_to_connect(breakers, "gpt-4o", now_ns)
        assert states(breakers, now_ns) == {PROVIDER: State.CLOSED, "gpt-4o": State.HALF_OPEN}
        assert breakers.standing("gpt-4o", now_ns) is None

    def test_neither_probes_while_the_other_admits_nobody(self) -> None:
        breakers = Breakers(CONFIG)
        for _ in range(3):
            make(breakers, "gpt-4o", Result.FAILURE)
        for _ in range(3):
            fail_to_connect(breakers, "o3", 30 * SECOND)
        now_ns = 60 * SECOND  # the model's time is over, the provider's is not
        assert breakers.admit("gpt-4o", now_ns) is None
        assert breakers.standing("gpt-4o", now_ns) == Unavailable(
            Cause.BREAKER, "its circuit breaker for connections is open (3 failures in a row)", 30_000
        )
        now_ns = 90 * SECOND
        make(breakers, "gpt-4o", Result.SUCCESS, now_ns)
        assert states(breakers, now_ns) == {PROVIDER: State.HALF_OPEN, "gpt-4o": State.CLOSED}

    def test_a_stream_that_begins_closes_the_breaker_of_its_model(self) -> None:
        breakers = Breakers(CONFIG)
        early = admitted(breakers, "gpt-4o")
        for _ in range(3):
            make(breakers, "gpt-4o", Result.FAILURE)
        now_ns = 60 * SECOND
        assert breakers.answered("gpt-4o", early, slow=False, now_ns=now_ns) == early
        assert states(breakers, now_ns)["gpt-4o"] is State.HALF_OPEN
        tickets = admitted(breakers, "gpt-4o", now_ns)
        rest = breakers.answered("gpt-4o", tickets, slow=False, now_ns=now_ns)
        assert rest != tickets
        assert states(breakers, now_ns)["gpt-4o"] is State.CLOSED
        breakers.settle("gpt-4o", rest, Result.SUCCESS, slow=False, now_ns=now_ns)


class TestManyModels:
    def test_further_models_share_one(self) -> None:
        breakers = Breakers(CONFIG)
        for number in range(MAX_MODELS):
            make(breakers, f"m{number}", Result.SUCCESS)
        for model in ("further", "another", "further"):
            make(breakers, model, Result.FAILURE)
        assert breakers.standing("a third", 0) is not None
        assert breakers.standing("m7", 0) is None
        assert states(breakers)[OTHERS] is State.OPEN
        assert len(states(breakers)) == MAX_MODELS + 2

    def test_names_that_nobody_serves_take_no_place(self) -> None:
        breakers = Breakers(CONFIG)
        for number in range(3 * MAX_MODELS):
            make(breakers, f"invented-{number}", Result.NEUTRAL)
        assert states(breakers) == {PROVIDER: State.CLOSED}
        for _ in range(3):
            make(breakers, "gpt-4o", Result.FAILURE)
        assert states(breakers) == {PROVIDER: State.CLOSED, "gpt-4o": State.OPEN}

    def test_attempts_that_began_before_a_model_had_its_own_count_on_it(self) -> None:
        breakers = Breakers(CONFIG)
        under_way = [admitted(breakers, "gpt-4o") for _ in range(4)]
        for tickets in under_way:
            breakers.settle("gpt-4o", tickets, Result.FAILURE, slow=None, now_ns=0)
        assert states(breakers)["gpt-4o"] is State.OPEN

    @given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(Result)), max_size=80))
    def test_no_attempt_is_lost_whatever_models_come(self, steps: list[tuple[int, Result]]) -> None:
        """Each model with its own breaker opens after three failures in a row, and no earlier."""
        breakers = Breakers(CONFIG, max_models=4)
        rows: dict[str, int] = {}
        for number, result in steps:
            model = f"m{number}"
            place = model if model in rows or len(rows) < 4 else OTHERS
            tickets = breakers.admit(model, 0)
            assert (tickets is None) == (rows.get(place, 0) >= 3)
            if tickets is None:
                continue
            breakers.settle(model, tickets, result, slow=None, now_ns=0)
            if result is not Result.NEUTRAL:
                rows[place] = rows.get(place, 0) + 1 if result is Result.FAILURE else 0


class TestReload:
    def test_state_goes_on_with_the_new_numbers(self) -> None:
        before, after = (
            Breakers(CONFIG),
            Breakers(replace(CONFIG, consecutive_failures=4, max_open_for_ms=1_000)),
        )
        for _ in range(3):
            make(before, "o3", Result.FAILURE)
        make(before, "gpt-4o", Result.FAILURE)
        after.carry(before, 0)
        refused = after.standing("o3", 0)
        assert refused is not None
        assert refused.retry_after_ms == 1_000
        for model, failures in (("gpt-4o", 2), ("new", 3)):
            for _ in range(failures):
                make(after, model, Result.FAILURE)
            assert states(after)[model] is State.CLOSED
            make(after, model, Result.FAILURE)
            assert states(after)[model] is State.OPEN

    def test_an_attempt_under_way_settles_with_those_that_admitted_it(self) -> None:
        before, after = Breakers(CONFIG), Breakers(CONFIG)
        for _ in range(3):
            make(before, "gpt-4o", Result.FAILURE)
        now_ns = 60 * SECOND
        tickets = admitted(before, "gpt-4o", now_ns)
        after.carry(before, now_ns)
        assert after.admit("gpt-4o", now_ns) is None  # the probe is out still
        before.settle("gpt-4o", tickets, Result.SUCCESS, slow=None, now_ns=now_ns)
        assert after.standing("gpt-4o", now_ns) is None

    def test_what_one_of_both_learns_of_a_new_model_the_other_knows(self) -> None:
        before, after = Breakers(CONFIG), Breakers(CONFIG)
        after.carry(before, 0)
        for _ in range(3):
            make(before, "gpt-4o", Result.FAILURE)
        assert after.admit("gpt-4o", 0) is None


class TestCallersWhoLeave:
    @pytest.mark.parametrize(
        ("waited_ms", "answered_meanwhile", "result"),
        [
            (30_001, True, Result.FAILURE),
            (30_001, False, Result.FAILURE),
            (30_000, True, Result.NEUTRAL),
            (30_000, False, Result.FAILURE),
            (1, True, Result.NEUTRAL),
            (LEAST_WAIT_MS, False, Result.FAILURE),
            (LEAST_WAIT_MS - 1, False, Result.NEUTRAL),
        ],
    )
    def test_leaving_counts_where_the_provider_had_time_or_answered_nobody(
        self, waited_ms: int, answered_meanwhile: bool, result: Result
    ) -> None:
        found = result_of_leaving(
            waited_ms=waited_ms, slow_first_token_ms=30_000, answered_meanwhile=answered_meanwhile
        )
        assert found is result

    def test_what_was_answered_is_remembered_for_each_model(self) -> None:
        breakers = Breakers(CONFIG)
        assert not breakers.answered_since("gpt-4o", 0)
        make(breakers, "gpt-4o", Result.SUCCESS, 5)
        assert breakers.answered_since("gpt-4o", 5)
        assert not breakers.answered_since("gpt-4o", 6)
        assert not breakers.answered_since("o3", 0)
        breakers.answered("o3", admitted(breakers, "o3", 7), slow=True, now_ns=7)
        assert breakers.answered_since("o3", 7)
        for result in (Result.FAILURE, Result.NEUTRAL):
            make(breakers, "o3", result, 9)
        assert not breakers.answered_since("o3", 8)


def test_it_shows_what_it_knows() -> None:
    breakers = Breakers(CONFIG)
    for _ in range(3):
        make(breakers, "o3", Result.FAILURE)
    assert repr(breakers) == (
        "<Breakers {'': <CircuitBreaker Closed>, 'o3': <CircuitBreaker Open: 3 failures in a row>}>"
    )
