"""Circuit breaker: leaves a provider alone that fails or has become slow, and finds out when it is well again.

Rules of this file. Every change of state is a row of `TRANSITIONS`; code only finds out which event happened and
does what entering a state demands. A call gets a ticket, the number of the period it was admitted in; each change
of state begins a new period, so results of calls from before are recognised and change nothing.

Theory of operation. Closed lets every call through and counts results until one of three triggers is reached. Open
lets none through until its time is over; then the first call becomes the probe, the only call of HalfOpen. A good
probe closes the breaker; a bad one opens it again for twice the time, up to a maximum; one that came to no verdict
(cancelled, refused for its rate) makes room for the next probe.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, NewType

from tidegate_policy.model import Breaker
from tidegate_policy.units import format_duration
from tidegate_sidecar.policies.window import Window

Ticket = NewType("Ticket", int)
"""The period in which a call was admitted; whoever holds one settles it exactly once."""

PROBE_WAIT_MS: Final = 1_000
"""What a caller is told to wait while a probe is under way: nobody knows how long that takes."""

_MS_NS: Final = 1_000_000


class State(StrEnum):
    """Whether calls go through."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class Result(StrEnum):
    """What a call says about the provider."""

    SUCCESS = "Success"
    FAILURE = "Failure"
    NEUTRAL = "Neutral"
    """Nothing: a 429, an error of the caller, a call that was cancelled."""


class Event(StrEnum):
    """What may change the state."""

    TRIPPED = "Tripped"
    """What was counted reached a trigger."""
    TIME_OVER = "TimeOver"
    """A call asks and the breaker has been open for long enough."""
    PROBE_SUCCEEDED = "ProbeSucceeded"
    PROBE_FAILED = "ProbeFailed"
    PROBE_ABANDONED = "ProbeAbandoned"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.CLOSED, Event.TIME_OVER): State.CLOSED,  # nothing runs out while closed
    (State.CLOSED, Event.PROBE_SUCCEEDED): State.CLOSED,  # no probe is out in Closed, nor in Open
    (State.CLOSED, Event.PROBE_FAILED): State.CLOSED,
    (State.CLOSED, Event.PROBE_ABANDONED): State.CLOSED,
    (State.OPEN, Event.TRIPPED): State.OPEN,  # no result counts while open
    (State.OPEN, Event.TIME_OVER): State.HALF_OPEN,
    (State.OPEN, Event.PROBE_SUCCEEDED): State.OPEN,
    (State.OPEN, Event.PROBE_FAILED): State.OPEN,
    (State.OPEN, Event.PROBE_ABANDONED): State.OPEN,
    (State.HALF_OPEN, Event.TRIPPED): State.HALF_OPEN,  # the probe alone decides
    (State.HALF_OPEN, Event.TIME_OVER): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
    (State.HALF_OPEN, Event.PROBE_ABANDONED): State.HALF_OPEN,
}
"""What each event makes of each state."""


class _Kind(IntEnum):
    """Counters of the window."""

    CALLS = 0
    FAILED = 1
    TIMED = 2
    SLOW = 3


class CircuitBreaker:
    """The breaker of one provider.

    `admit` gives a ticket, `settle` takes it back with the result; `carry` joins two breakers into one across a
    reload.
    """

    __slots__ = ("_circuit",)

    def __init__(self, config: Breaker) -> None:
        """Start closed with nothing counted."""
        self._circuit = _Circuit(config)

    def __repr__(self) -> str:
        circuit = self._circuit
        why = f": {circuit.reason}" if circuit.state is not State.CLOSED else ""
        return f"<CircuitBreaker {circuit.state}{why}>"

    def admit(self, now_ns: int) -> Ticket | None:
        """A ticket for one call, or None: leave the provider alone."""
        return self._circuit.admit(now_ns)

    def settle(self, ticket: Ticket, result: Result, *, slow: bool | None, now_ns: int) -> None:
        """Take note of how an admitted call went.

        Args:
            ticket: from `admit`.
            result: what the call says about the provider.
            slow: whether its first byte took too long; None where that says nothing (no stream), so that such
                calls do not dilute the share of slow ones. A slow probe is a failed one.
            now_ns: the time.
        """
        self._circuit.settle(ticket, result, slow=slow, now_ns=now_ns)

    def state(self, now_ns: int) -> State:
        """The state as callers meet it: a breaker whose time is over is half open before the first one asks."""
        circuit = self._circuit
        is_due = circuit.state is State.OPEN and now_ns >= circuit.open_until_ns
        return State.HALF_OPEN if is_due else circuit.state

    def retry_after_ms(self, now_ns: int) -> int:
        """When to ask again, rounded up; 0: now."""
        circuit = self._circuit
        if circuit.state is State.OPEN:
            return max(0, -((now_ns - circuit.open_until_ns) // _MS_NS))
        return PROBE_WAIT_MS if circuit.is_probing else 0

    @property
    def opened_for_ms(self) -> int:
        """How long its last opening was to last, from its beginning; before the first, how long that would."""
        return self._circuit.opened_for_ms

    @property
    def reason(self) -> str:
        """Why it opened the last time, in words; empty if it never did."""
        return self._circuit.reason

    @property
    def transitions(self) -> dict[State, int]:
        """How often each state was entered from another; not to be changed."""
        return self._circuit.transitions

    def carry(self, previous: CircuitBreaker, now_ns: int) -> None:
        """Go on from the state of `previous`, the breaker of the same provider before a reload.

        Both are one breaker from here on, with this one's numbers: calls that are under way settle with `previous`,
        and one of them may be the probe. An open breaker stays open, though no longer than the new maximum. A window
        of another length starts empty; failures in a row go on.
        """
        config = self._circuit.config
        self._circuit = previous._circuit
        self._circuit.reconfigure(config, now_ns)


class _Circuit:
    """The state behind a breaker; what two of them share after a reload."""

    __slots__ = (
        "_failures_in_a_row",
        "_period",
        "_window",
        "config",
        "is_probing",
        "open_until_ns",
        "opened_for_ms",
        "reason",
        "state",
        "transitions",
    )

    def __init__(self, config: Breaker) -> None:
        self.config = config
        self.state = State.CLOSED
        self.reason = ""
        self.transitions = dict.fromkeys(State, 0)
        self.is_probing = False
        self.open_until_ns = 0
        self.opened_for_ms = config.open_for_ms
        self._period = 1
        self._failures_in_a_row = 0
        self._window = Window(config.window_ms * _MS_NS, len(_Kind))

    def admit(self, now_ns: int) -> Ticket | None:
        if self.state is State.CLOSED:
            return Ticket(self._period)
        if self.state is State.OPEN and now_ns >= self.open_until_ns:
            self._happened(Event.TIME_OVER, now_ns)
        if self.state is State.OPEN or self.is_probing:
            return None
        self.is_probing = True
        return Ticket(self._period)

    def settle(self, ticket: Ticket, result: Result, *, slow: bool | None, now_ns: int) -> None:
        if ticket != self._period:
            return  # admitted before the last change: what it met is no longer what is asked about
        if self.state is State.HALF_OPEN:
            self._settle_probe(result, slow=slow, now_ns=now_ns)
            return
        if result is Result.NEUTRAL:
            return
        self._count(result, slow=slow, now_ns=now_ns)
        # A good and quick call can reach no trigger but by completing the minimum of calls.
        if reason := self._trigger(now_ns):
            self.reason = reason
            self._happened(Event.TRIPPED, now_ns)

    def reconfigure(self, config: Breaker, now_ns: int) -> None:
        if config.window_ms != self.config.window_ms:
            self._window = Window(config.window_ms * _MS_NS, len(_Kind))
        self.opened_for_ms = min(self.opened_for_ms, config.max_open_for_ms)
        self.open_until_ns = min(self.open_until_ns, now_ns + config.max_open_for_ms * _MS_NS)
        self.config = config

    def _settle_probe(self, result: Result, *, slow: bool | None, now_ns: int) -> None:
        if result is Result.NEUTRAL:
            self._happened(Event.PROBE_ABANDONED, now_ns)
        elif result is Result.FAILURE or slow:
            self.reason = "the probe failed" if result is Result.FAILURE else "the probe was slow"
            self._happened(Event.PROBE_FAILED, now_ns)
        else:
            self._happened(Event.PROBE_SUCCEEDED, now_ns)

    def _count(self, result: Result, *, slow: bool | None, now_ns: int) -> None:
        window = self._window
        window.add(_Kind.CALLS, now_ns)
        if result is Result.FAILURE:
            self._failures_in_a_row += 1
            window.add(_Kind.FAILED, now_ns)
        else:
            self._failures_in_a_row = 0
        if slow is not None:
            window.add(_Kind.TIMED, now_ns)
            if slow:
                window.add(_Kind.SLOW, now_ns)

    def _trigger(self, now_ns: int) -> str:
        """The trigger that has been reached, in words; empty for none."""
        config, window = self.config, self._window
        if self._failures_in_a_row >= config.consecutive_failures:
            return f"{self._failures_in_a_row} failures in a row"
        calls, failed = window.total(_Kind.CALLS, now_ns), window.total(_Kind.FAILED, now_ns)
        if calls >= config.minimum_requests and failed * 100 >= calls * config.failure_rate_percent:
            return (
                f"{_share(failed, calls)} of {calls} calls failed within {format_duration(config.window_ms)}"
            )
        timed, slow = window.total(_Kind.TIMED, now_ns), window.total(_Kind.SLOW, now_ns)
        if timed >= config.minimum_requests and slow * 100 >= timed * config.slow_call_percent:
            return f"{_share(slow, timed)} of {timed} streams were slow within {format_duration(config.window_ms)}"
        return ""

    def _happened(self, event: Event, now_ns: int) -> None:
        before, self.state = self.state, TRANSITIONS[self.state, event]
        self._period += 1
        self.is_probing = False
        if self.state is before:
            return  # an abandoned probe: its ticket is void, the next call probes
        self.transitions[self.state] += 1
        if self.state is State.OPEN:
            self._open(now_ns, event)
        elif self.state is State.CLOSED:
            self._failures_in_a_row = 0
            self._window.clear()

    def _open(self, now_ns: int, event: Event) -> None:
        doubled = self.opened_for_ms * 2 if event is Event.PROBE_FAILED else self.config.open_for_ms
        self.opened_for_ms = min(doubled, self.config.max_open_for_ms)
        self.open_until_ns = now_ns + self.opened_for_ms * _MS_NS


def _share(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %"
