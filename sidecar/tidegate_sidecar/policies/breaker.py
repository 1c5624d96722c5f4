"""Circuit breaker: leaves something alone that fails or has become slow, and finds out when it is well again.

Rules of this file. Every change of state is a row of `TRANSITIONS`; code only finds out which event happened and does
what entering a state demands. An attempt is admitted under a ticket, the number of the period it was admitted in; each
change of state begins a new period, and so does a probe that came to no verdict. A result settles into its own period:
when that is over, it changes nothing.

Theory of operation. Closed lets every attempt through and counts results until one of three triggers is reached. Open
lets none through until its time is over; then the first attempt becomes the probe, the only one of HalfOpen. A good
probe closes the breaker; a bad one opens it again for twice the time, up to a maximum; one without a verdict (the
caller left, the provider refused it for its rate) makes room for the next probe.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final, NewType

from tidegate_policy.model import Breaker
from tidegate_policy.units import format_duration
from tidegate_sidecar.policies.window import Window

Ticket = NewType("Ticket", int)
"""The period in which an attempt was admitted; whoever holds one settles it exactly once."""

PROBE_WAIT_MS: Final = 1_000
"""What a caller is told to wait while a probe is under way: nobody knows how long that takes."""

_MS_NS: Final = 1_000_000


class State(StrEnum):
    """Whether attempts go through."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class Result(Enum):
    """What an attempt says about who was asked."""

    SUCCESS = "Success"
    FAILURE = "Failure"
    NEUTRAL = "Neutral"
    """Nothing: refused for its rate, an error of the caller's own, a call that was cancelled. It does not count, ends no
    row of failures, and closes nothing."""


class Event(StrEnum):
    """What may change the state."""

    TRIPPED = "Tripped"
    """What was counted reached a trigger."""
    TIME_OVER = "TimeOver"
    """An attempt is to be made and the breaker has been open for long enough."""
    PROBE_SUCCEEDED = "ProbeSucceeded"
    PROBE_FAILED = "ProbeFailed"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.TIME_OVER): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
}
"""What each event makes of the state in which it can happen."""


_COUNTERS: Final = 4
_ATTEMPTS, _FAILED, _TIMED, _SLOW = range(_COUNTERS)
"""What the window counts."""

_GOOD: Final = {None: (_ATTEMPTS,), False: (_ATTEMPTS, _TIMED), True: (_ATTEMPTS, _TIMED, _SLOW)}
"""What an attempt counts as that did not fail, by whether its first event was slow."""

_BAD: Final = {slow: (*counters, _FAILED) for slow, counters in _GOOD.items()}
"""The same of one that failed."""

_CLOSED: Final = State.CLOSED  # members of an enum are slow to look up
_OPEN: Final = State.OPEN
_HALF_OPEN: Final = State.HALF_OPEN
_FAILURE: Final = Result.FAILURE
_NEUTRAL: Final = Result.NEUTRAL


class CircuitBreaker:
    """The breaker of one thing that can be asked.

    Attributes:
        config: its numbers.
        state: as it was left by the last event; `state_at` is what an attempt meets.
        period: the ticket of attempts that are admitted while it is closed.
        reason: why it opened the last time, in words; empty if it never did.
        transitions: how often each state was entered from another.
        opened_for_ms: how long its last opening was to last, from its beginning; before the first, how long that would.
        answered_ns: when anything was last answered; None if nothing ever was.
    """

    __slots__ = (
        "_failures_in_a_row",
        "_is_probing",
        "_open_until_ns",
        "_window",
        "answered_ns",
        "config",
        "opened_for_ms",
        "period",
        "reason",
        "state",
        "transitions",
    )

    def __init__(self, config: Breaker) -> None:
        """Start closed with nothing counted."""
        self.config = config
        self.state = _CLOSED
        self.period = Ticket(1)
        self.reason = ""
        self.transitions = dict.fromkeys(State, 0)
        self.opened_for_ms = config.open_for_ms
        self.answered_ns: int | None = None
        self._is_probing = False
        self._open_until_ns = 0
        self._failures_in_a_row = 0
        self._window = Window(config.window_ms * _MS_NS, _COUNTERS)

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.state is not _CLOSED else ""
        return f"<CircuitBreaker {self.state}{why}>"

    def state_at(self, now_ns: int) -> State:
        """The state as attempts meet it: a breaker whose time is over is half open before the first one comes."""
        return _HALF_OPEN if self.state is _OPEN and now_ns >= self._open_until_ns else self.state

    def would_admit(self, now_ns: int) -> bool:
        """Whether `admit` would give a ticket. Changes nothing."""
        if self.state is _CLOSED:
            return True
        return not self._is_probing if self.state is _HALF_OPEN else now_ns >= self._open_until_ns

    def retry_after_ms(self, now_ns: int) -> int:
        """When to ask again, rounded up; 0: now."""
        if self.state is _OPEN:
            return max(0, -((now_ns - self._open_until_ns) // _MS_NS))
        return PROBE_WAIT_MS if self._is_probing else 0

    def admit(self, now_ns: int) -> Ticket | None:
        """A ticket for one attempt, or None: leave it alone."""
        return self.ticket(now_ns) if self.would_admit(now_ns) else None

    def ticket(self, now_ns: int) -> Ticket:
        """The ticket of an attempt that `would_admit` lets through."""
        if self.state is not _CLOSED:
            if self.state is _OPEN:
                self._happened(Event.TIME_OVER, now_ns)
            self._is_probing = True
        return self.period

    def answered(self, ticket: Ticket, *, slow: bool, now_ns: int) -> Ticket:
        """Take note that the answer to an admitted attempt has begun: answer enough for a probe.

        Its end may be minutes away, and others wait. So the probe is settled, as failed if it was `slow`, and what
        becomes of the rest counts as an attempt of the closed breaker. For any other attempt nothing changes, whatever
        state the breaker has meanwhile come to.

        Returns:
            The ticket under which the rest is to be settled.
        """
        self.answered_ns = now_ns
        if ticket != self.period or self.state is not _HALF_OPEN:
            return ticket
        self._settle_probe(Result.SUCCESS, slow=slow, now_ns=now_ns)
        return ticket if slow else self.period

    def settle(self, ticket: Ticket, result: Result, *, slow: bool | None, now_ns: int) -> None:
        """Take note of how an admitted attempt went.

        Args:
            ticket: from `admit`, or from `answered` where that was called.
            result: what the attempt says.
            slow: whether its first event took too long; None where that says nothing (no stream), so that such
                attempts do not dilute the share of slow ones. A slow probe is a failed one.
            now_ns: the time.
        """
        if result is Result.SUCCESS:
            self.answered_ns = now_ns
        if ticket != self.period:
            return  # admitted before the last change: what it met is no longer what is asked about
        if self.state is _HALF_OPEN:
            self._settle_probe(result, slow=slow, now_ns=now_ns)
        elif result is not _NEUTRAL:
            self._count(result, slow=slow, now_ns=now_ns)

    def reconfigure(self, config: Breaker, now_ns: int) -> None:
        """Go on with other numbers.

        An open breaker stays open, though no longer than the new maximum. A window of another length starts empty;
        failures in a row go on.
        """
        if config.window_ms != self.config.window_ms:
            self._window = Window(config.window_ms * _MS_NS, _COUNTERS)
        self.opened_for_ms = min(self.opened_for_ms, config.max_open_for_ms)
        self._open_until_ns = min(self._open_until_ns, now_ns + config.max_open_for_ms * _MS_NS)
        self.config = config

    def _settle_probe(self, result: Result, *, slow: bool | None, now_ns: int) -> None:
        if result is _NEUTRAL:
            # Its ticket is void, and the next attempt is the probe.
            self.period, self._is_probing = Ticket(self.period + 1), False
        elif result is _FAILURE or slow:
            self.reason = "the probe failed" if result is _FAILURE else "the probe was slow"
            self._happened(Event.PROBE_FAILED, now_ns)
        else:
            self._happened(Event.PROBE_SUCCEEDED, now_ns)

    def _count(self, result: Result, *, slow: bool | None, now_ns: int) -> None:
        if result is _FAILURE:
            self._failures_in_a_row += 1
            counted = self._window.add(_BAD[slow], now_ns)
        else:
            self._failures_in_a_row = 0
            counted = self._window.add(_GOOD[slow], now_ns)
        attempts, failed, timed, slow_ones = counted
        # A good and quick attempt can reach a trigger too, by completing the minimum.
        if (failed or slow_ones) and (reason := self._trigger(attempts, failed, timed, slow_ones)):
            self.reason = reason
            self._happened(Event.TRIPPED, now_ns)

    def _trigger(self, attempts: int, failed: int, timed: int, slow: int) -> str:
        """The trigger that has been reached, in words; empty for none."""
        config = self.config
        if self._failures_in_a_row >= config.consecutive_failures:
            return f"{self._failures_in_a_row} failures in a row"
        if attempts >= config.minimum_requests and failed * 100 >= attempts * config.failure_rate_percent:
            return f"{_share(failed, attempts)} of {attempts} attempts failed within {format_duration(config.window_ms)}"
        if timed >= config.minimum_requests and slow * 100 >= timed * config.slow_call_percent:
            return f"{_share(slow, timed)} of {timed} streams were slow within {format_duration(config.window_ms)}"
        return ""

    def _happened(self, event: Event, now_ns: int) -> None:
        self.state = TRANSITIONS[self.state, event]
        self.period = Ticket(self.period + 1)
        self._is_probing = False
        self.transitions[self.state] += 1
        if self.state is _OPEN:
            doubled_ms = self.opened_for_ms * 2 if event is Event.PROBE_FAILED else self.config.open_for_ms
            self.opened_for_ms = min(doubled_ms, self.config.max_open_for_ms)
            self._open_until_ns = now_ns + self.opened_for_ms * _MS_NS
        elif self.state is _CLOSED:
            self._failures_in_a_row = 0
            self._window.clear()


def _share(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %"
