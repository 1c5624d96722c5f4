"""What opens a breaker, how it finds out that the provider is well again, and which results do not count."""

from dataclasses import replace

import pytest

from tidegate_policy.model import Breaker
from tidegate_sidecar.policies.breaker import (
    PROBE_WAIT_MS,
    TRANSITIONS,
    CircuitBreaker,
    Event,
    Result,
    State,
    Ticket,
)

SECOND = 1_000_000_000
CONFIG = Breaker(
    consecutive_failures=5,
    failure_rate_percent=50,
    slow_call_percent=80,
    slow_first_token_ms=30_000,
    minimum_requests=20,
    window_ms=10_000,
    open_for_ms=60_000,
    max_open_for_ms=300_000,
)


def make(breaker: CircuitBreaker, result: Result, now_ns: int, *, slow: bool | None = False) -> None:
    """One attempt that is admitted and settled at once."""
    ticket = breaker.admit(now_ns)
    assert ticket is not None
    breaker.settle(ticket, result, slow=slow, now_ns=now_ns)


def opened(now_ns: int = 0, config: Breaker = CONFIG) -> CircuitBreaker:
    breaker = CircuitBreaker(config)
    for _ in range(config.consecutive_failures):
        make(breaker, Result.FAILURE, now_ns)
    assert breaker.state_at(now_ns) is State.OPEN
    return breaker


def probe(breaker: CircuitBreaker, now_ns: int) -> Ticket:
    ticket = breaker.admit(now_ns)
    assert ticket is not None
    assert breaker.state_at(now_ns) is State.HALF_OPEN
    return ticket


def test_the_table_has_the_changes_and_nothing_else() -> None:
    assert {(*row, after) for row, after in TRANSITIONS.items()} == {
        (State.CLOSED, Event.TRIPPED, State.OPEN),
        (State.OPEN, Event.TIME_OVER, State.HALF_OPEN),
        (State.HALF_OPEN, Event.PROBE_SUCCEEDED, State.CLOSED),
        (State.HALF_OPEN, Event.PROBE_FAILED, State.OPEN),
    }


class TestOpening:
    def test_failures_in_a_row_open_it(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(4):
            make(breaker, Result.FAILURE, 0)
        assert breaker.state_at(0) is State.CLOSED
        make(breaker, Result.FAILURE, 0)
        assert breaker.state_at(0) is State.OPEN
        assert breaker.reason == "5 failures in a row"
        assert breaker.admit(0) is None
        assert repr(breaker) == "<CircuitBreaker Open: 5 failures in a row>"

    def test_a_success_ends_the_row_and_a_neutral_attempt_does_not(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for result in [Result.FAILURE] * 4 + [Result.SUCCESS] + [Result.FAILURE, Result.NEUTRAL] * 4:
            make(breaker, result, 0)
        assert breaker.state_at(0) is State.CLOSED
        make(breaker, Result.FAILURE, 0)
        assert breaker.state_at(0) is State.OPEN

    def test_a_neutral_probe_closes_nothing(self) -> None:
        breaker = opened()
        make(breaker, Result.NEUTRAL, 60 * SECOND)
        assert breaker.state_at(60 * SECOND) is State.HALF_OPEN

    def test_neutral_attempts_alone_never_open_it(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(1_000):
            make(breaker, Result.NEUTRAL, 0, slow=True)
        assert repr(breaker) == "<CircuitBreaker Closed>"

    def test_the_share_of_failures_opens_it_from_the_minimum_on(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(9):
            make(breaker, Result.FAILURE, 0)
            make(breaker, Result.SUCCESS, 0)
        make(breaker, Result.FAILURE, 0)
        assert breaker.state_at(0) is State.CLOSED
        make(breaker, Result.SUCCESS, 0)  # the twentieth, and half of them failed
        assert breaker.state_at(0) is State.OPEN
        assert breaker.reason == "50 % of 20 attempts failed within 10s"

    def test_failures_that_left_the_window_do_not_count(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(9):
            make(breaker, Result.SUCCESS, 0)
            make(breaker, Result.FAILURE, 0)
        for _ in range(2):
            make(breaker, Result.SUCCESS, 10 * SECOND)
        assert breaker.state_at(10 * SECOND) is State.CLOSED

    def test_the_share_of_slow_streams_opens_it(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for number in range(20):
            assert breaker.state_at(0) is State.CLOSED
            make(breaker, Result.SUCCESS, 0, slow=None)  # no stream: dilutes nothing
            make(breaker, Result.SUCCESS, 0, slow=number >= 4)
        assert breaker.state_at(0) is State.OPEN
        assert breaker.reason == "80 % of 20 streams were slow within 10s"


class TestProbing:
    def test_it_stays_open_until_its_time_is_over(self) -> None:
        breaker = opened()
        assert breaker.retry_after_ms(0) == 60_000
        assert breaker.retry_after_ms(60 * SECOND - 1) == 1
        assert breaker.admit(60 * SECOND - 1) is None
        assert breaker.state_at(60 * SECOND) is State.HALF_OPEN
        assert breaker.retry_after_ms(60 * SECOND) == 0
        assert breaker.admit(60 * SECOND) is not None

    def test_exactly_one_attempt_is_the_probe(self) -> None:
        breaker = opened()
        ticket = probe(breaker, 60 * SECOND)
        assert [breaker.admit(61 * SECOND) for _ in range(5)] == [None] * 5
        assert breaker.retry_after_ms(61 * SECOND) == PROBE_WAIT_MS
        breaker.settle(ticket, Result.SUCCESS, slow=False, now_ns=62 * SECOND)
        assert breaker.state_at(62 * SECOND) is State.CLOSED
        assert None not in [breaker.admit(62 * SECOND) for _ in range(5)]

    def test_each_failed_probe_doubles_the_time_up_to_the_maximum_and_a_good_one_resets_it(self) -> None:
        breaker = opened()
        now_ns, waits = 0, []
        for _ in range(5):
            waits.append(breaker.retry_after_ms(now_ns))
            now_ns += waits[-1] * 1_000_000
            breaker.settle(probe(breaker, now_ns), Result.FAILURE, slow=None, now_ns=now_ns)
        assert waits == [60_000, 120_000, 240_000, 300_000, 300_000]
        assert breaker.reason == "the probe failed"
        now_ns += 300 * SECOND
        breaker.settle(probe(breaker, now_ns), Result.SUCCESS, slow=None, now_ns=now_ns)
        for _ in range(5):
            make(breaker, Result.FAILURE, now_ns)
        assert breaker.retry_after_ms(now_ns) == 60_000

    def test_an_abandoned_probe_makes_room_for_the_next(self) -> None:
        breaker = opened()
        first = probe(breaker, 60 * SECOND)
        breaker.settle(first, Result.NEUTRAL, slow=None, now_ns=61 * SECOND)
        assert breaker.retry_after_ms(61 * SECOND) == 0
        second = probe(breaker, 61 * SECOND)
        assert breaker.admit(61 * SECOND) is None
        # A ticket that was settled says nothing any more.
        breaker.settle(first, Result.SUCCESS, slow=None, now_ns=61 * SECOND)
        assert breaker.state_at(61 * SECOND) is State.HALF_OPEN
        breaker.settle(second, Result.SUCCESS, slow=None, now_ns=61 * SECOND)
        assert breaker.state_at(61 * SECOND) is State.CLOSED

    def test_a_slow_probe_has_failed(self) -> None:
        breaker = opened()
        breaker.settle(probe(breaker, 60 * SECOND), Result.SUCCESS, slow=True, now_ns=60 * SECOND)
        assert breaker.state_at(60 * SECOND) is State.OPEN
        assert breaker.reason == "the probe was slow"

    def test_it_forgets_what_was_counted_before_it_opened(self) -> None:
        config = replace(CONFIG, open_for_ms=1_000)
        breaker = opened(config=config)
        breaker.settle(probe(breaker, SECOND), Result.SUCCESS, slow=None, now_ns=SECOND)
        for result in (
            [Result.FAILURE] * 4 + [Result.SUCCESS]
        ) * 3:  # 15 attempts; with the 5 before it were 20
            make(breaker, result, SECOND)
        assert breaker.state_at(SECOND) is State.CLOSED


class TestLateResults:
    @pytest.mark.parametrize("result", list(Result))
    def test_attempts_from_before_the_opening_change_nothing(self, result: Result) -> None:
        breaker = CircuitBreaker(CONFIG)
        early = [breaker.admit(0) for _ in range(30)]
        for ticket in early[:5]:
            assert ticket is not None
            breaker.settle(ticket, Result.FAILURE, slow=None, now_ns=0)
        for ticket in early[5:10]:  # while open
            assert ticket is not None
            breaker.settle(ticket, result, slow=True, now_ns=SECOND)
        assert breaker.retry_after_ms(0) == 60_000
        ticket = probe(breaker, 60 * SECOND)
        for late in early[10:20]:  # while the probe is out
            assert late is not None
            breaker.settle(late, result, slow=True, now_ns=60 * SECOND)
        assert breaker.state_at(60 * SECOND) is State.HALF_OPEN
        breaker.settle(ticket, Result.SUCCESS, slow=False, now_ns=60 * SECOND)
        for late in early[20:]:  # and after it is closed again
            assert late is not None
            breaker.settle(late, result, slow=True, now_ns=60 * SECOND)
        assert breaker.state_at(60 * SECOND) is State.CLOSED

    def test_changes_are_counted_by_the_state_they_went_to(self) -> None:
        breaker = opened()
        assert breaker.transitions == {State.CLOSED: 0, State.OPEN: 1, State.HALF_OPEN: 0}
        breaker.settle(probe(breaker, 60 * SECOND), Result.NEUTRAL, slow=None, now_ns=60 * SECOND)
        breaker.settle(probe(breaker, 60 * SECOND), Result.SUCCESS, slow=None, now_ns=60 * SECOND)
        assert breaker.transitions == {State.CLOSED: 1, State.OPEN: 1, State.HALF_OPEN: 1}


class TestStreams:
    """The beginning of a stream is answer enough for a probe, and for nothing else."""

    def test_a_probe_that_begins_to_answer_closes_it_and_its_rest_is_an_attempt_like_any_other(self) -> None:
        breaker = opened()
        ticket = breaker.answered(probe(breaker, 60 * SECOND), slow=False, now_ns=61 * SECOND)
        assert breaker.state_at(61 * SECOND) is State.CLOSED
        for _ in range(4):
            make(breaker, Result.FAILURE, 62 * SECOND)
        breaker.settle(ticket, Result.FAILURE, slow=False, now_ns=63 * SECOND)
        assert breaker.state_at(63 * SECOND) is State.OPEN
        assert breaker.reason == "5 failures in a row"

    def test_a_probe_that_begins_too_late_has_failed_and_its_rest_says_nothing(self) -> None:
        breaker = opened()
        ticket = breaker.answered(probe(breaker, 60 * SECOND), slow=True, now_ns=61 * SECOND)
        assert breaker.retry_after_ms(61 * SECOND) == 120_000
        assert breaker.reason == "the probe was slow"
        breaker.settle(ticket, Result.SUCCESS, slow=True, now_ns=62 * SECOND)
        assert breaker.state_at(62 * SECOND) is State.OPEN

    def test_a_stream_from_before_the_opening_is_never_the_probe(self) -> None:
        """It begins while the breaker is half open, before or after the probe has gone out."""
        breaker = CircuitBreaker(CONFIG)
        early = [breaker.admit(0) for _ in range(3)]
        for _ in range(5):
            make(breaker, Result.FAILURE, 0)
        settled = []
        for ticket in early:
            assert ticket is not None
            settled.append(breaker.answered(ticket, slow=False, now_ns=60 * SECOND))
            assert breaker.state_at(60 * SECOND) is State.HALF_OPEN
            assert breaker.would_admit(60 * SECOND)
        assert settled == early
        the_probe = probe(breaker, 60 * SECOND)
        assert breaker.answered(settled[0], slow=False, now_ns=60 * SECOND) == settled[0]
        assert breaker.admit(60 * SECOND) is None  # one probe at a time
        for ticket in settled:
            breaker.settle(ticket, Result.SUCCESS, slow=False, now_ns=60 * SECOND)
        assert breaker.state_at(60 * SECOND) is State.HALF_OPEN
        breaker.settle(the_probe, Result.SUCCESS, slow=False, now_ns=60 * SECOND)
        assert breaker.state_at(60 * SECOND) is State.CLOSED

    def test_the_beginning_of_any_other_stream_changes_nothing(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(4):
            make(breaker, Result.FAILURE, 0)
        ticket = breaker.admit(0)
        assert ticket is not None
        assert breaker.answered(ticket, slow=False, now_ns=0) == ticket
        make(breaker, Result.FAILURE, 0)
        assert breaker.state_at(0) is State.OPEN


class TestNewNumbers:
    def test_failures_in_a_row_and_in_the_window_go_on(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(4):
            make(breaker, Result.FAILURE, 0)
        breaker.reconfigure(replace(CONFIG, open_for_ms=1_000), 0)
        make(breaker, Result.FAILURE, 0)
        assert breaker.retry_after_ms(0) == 1_000

    def test_it_stays_open_but_no_longer_than_the_new_maximum(self) -> None:
        breaker = opened()
        breaker.reconfigure(replace(CONFIG, open_for_ms=1_000), 10 * SECOND)
        assert breaker.retry_after_ms(10 * SECOND) == 50_000
        breaker.reconfigure(replace(CONFIG, open_for_ms=1_000, max_open_for_ms=2_000), 10 * SECOND)
        assert breaker.retry_after_ms(10 * SECOND) == 2_000
        later_ns = 12 * SECOND
        breaker.settle(probe(breaker, later_ns), Result.FAILURE, slow=None, now_ns=later_ns)
        assert breaker.retry_after_ms(later_ns) == 2_000

    def test_a_window_of_another_length_starts_empty(self) -> None:
        breaker = CircuitBreaker(CONFIG)
        for _ in range(9):
            make(breaker, Result.FAILURE, 0)
            make(breaker, Result.SUCCESS, 0)
        breaker.reconfigure(replace(CONFIG, window_ms=20_000), 0)
        for _ in range(2):
            make(breaker, Result.SUCCESS, 0)
        assert breaker.state_at(0) is State.CLOSED
