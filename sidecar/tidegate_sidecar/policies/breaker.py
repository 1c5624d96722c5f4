"""Circuit breaker: leaves a provider alone that fails, and asks it again, one call at a time.

The machine is the table `TRANSITIONS`; code only tells which event happened. Results of calls that were admitted
before the machine last changed are heard no more: a call that was slow to fail says nothing about now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from tidegate_policy.model import Breaker
from tidegate_policy.units import format_duration

BUCKETS: Final = 10
"""Parts of the sliding window; the oldest tenth goes as a new one begins."""


class State(IntEnum):
    """Whether calls go through. The numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Result(Enum):
    """What a call says of its provider."""

    SUCCESS = auto()
    FAILURE = auto()
    NEUTRAL = auto()
    """Nothing: refused for its rate, or given up by the application."""


class Event(Enum):
    """What moves the machine."""

    TRIPPED = auto()
    """A call has ended, and with it the closed breaker's measure is full."""
    WAIT_OVER = auto()
    """A call asks, and the time of being open is over: it becomes the probe."""
    PROBE_SUCCEEDED = auto()
    PROBE_FAILED = auto()
    PROBE_ABANDONED = auto()
    """The probe said nothing: the next call is the probe."""


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.WAIT_OVER): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
    # Open, but with its time over: the next call is the probe at once.
    (State.HALF_OPEN, Event.PROBE_ABANDONED): State.OPEN,
}
"""All that can happen. An event that is not here for a state cannot happen in it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call; given back with its result."""

    epoch: int


class _Window:
    """Counts of calls over the last `window_ms`, in whole buckets."""

    __slots__ = ("_bucket_ns", "_counts", "_newest")

    def __init__(self, window_ms: int) -> None:
        self._bucket_ns = max(1, window_ms * 1_000_000 // BUCKETS)
        self._newest = 0
        self._counts: list[list[int]] = []
        self.clear()

    def clear(self) -> None:
        self._counts = [[0, 0, 0] for _ in range(BUCKETS)]

    def add(self, now_ns: int, *, failed: bool, slow: bool) -> None:
        counts = self._counts[self._turn(now_ns) % BUCKETS]
        counts[0] += 1
        counts[1] += failed
        counts[2] += slow

    def totals(self, now_ns: int) -> tuple[int, int, int]:
        """Calls, failures, slow calls."""
        self._turn(now_ns)
        return tuple(map(sum, zip(*self._counts, strict=True)))  # type: ignore[return-value] # three columns

    def _turn(self, now_ns: int) -> int:
        """Empty the buckets whose time has come round; the number of the present one."""
        bucket = now_ns // self._bucket_ns
        for passed in range(max(self._newest + 1, bucket - BUCKETS + 1), bucket + 1):
            self._counts[passed % BUCKETS] = [0, 0, 0]
        self._newest = max(self._newest, bucket)
        return self._newest


class CircuitBreaker:
    """The breaker of one provider."""

    def __init__(self, config: Breaker) -> None:
        """Start closed."""
        self.config = config
        self.transitions: dict[State, int] = dict.fromkeys(State, 0)
        """How often it went to each state."""
        self.reason = ""
        """Why it opened last, in words."""
        self._state = State.CLOSED
        self._epoch = 0
        self._failures = 0
        self._window = _Window(config.window_ms)
        self._open_for_ms = config.open_for_ms
        self._open_until_ns = 0

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self._state.name} failures={self._failures} reason={self.reason!r}>"

    def state(self, now_ns: int) -> State:
        """The state as a call at `now_ns` would find it: an open breaker whose time is over counts as half open."""
        if self._state is State.OPEN and now_ns >= self._open_until_ns:
            return State.HALF_OPEN
        return self._state

    def retry_after_ms(self, now_ns: int) -> int:
        """How long until a call may go through, at best; 0 when one may now."""
        if self._state is State.OPEN:
            return max(0, -(-(self._open_until_ns - now_ns) // 1_000_000))
        # A probe is on its way: nobody knows how long it takes.
        return 1_000 if self._state is State.HALF_OPEN else 0

    def admit(self, now_ns: int) -> Ticket | None:
        """Leave for one call, or None. Each ticket is settled exactly once."""
        if self._state is State.CLOSED:
            return Ticket(self._epoch)
        if self._state is State.OPEN and now_ns >= self._open_until_ns:
            self._move(Event.WAIT_OVER)
            return Ticket(self._epoch)
        return None

    def settle(self, ticket: Ticket, result: Result, *, slow: bool, now_ns: int) -> None:
        """Hear the result of a call; `slow` counts only with a success."""
        if ticket.epoch != self._epoch:
            return
        if self._state is State.HALF_OPEN:
            self._settle_probe(result, now_ns)
        elif result is not Result.NEUTRAL:
            self._count(result, slow=slow, now_ns=now_ns)

    def carry(self, previous: CircuitBreaker) -> None:
        """Go on where the breaker of the same provider stood before a reload, with the numbers of this one."""
        self.transitions = dict(previous.transitions)
        self.reason = previous.reason
        self._state = previous._state
        self._failures = previous._failures
        self._open_for_ms = min(previous._open_for_ms, self.config.max_open_for_ms)
        self._open_until_ns = previous._open_until_ns
        if previous.config.window_ms == self.config.window_ms:
            self._window = previous._window
        if self._state is State.HALF_OPEN:
            # Its probe reports to the breaker before; here the next call is the probe.
            self._state = State.OPEN

    def _settle_probe(self, result: Result, now_ns: int) -> None:
        if result is Result.SUCCESS:
            self._open_for_ms = self.config.open_for_ms
            self._failures = 0
            self._window.clear()
            self._move(Event.PROBE_SUCCEEDED)
        elif result is Result.FAILURE:
            self._open_for_ms = min(2 * self._open_for_ms, self.config.max_open_for_ms)
            self._open_until_ns = now_ns + self._open_for_ms * 1_000_000
            self.reason = f"the probe failed; the next one is in {format_duration(self._open_for_ms)}"
            self._move(Event.PROBE_FAILED)
        else:
            self._open_until_ns = now_ns
            self._move(Event.PROBE_ABANDONED)

    def _count(self, result: Result, *, slow: bool, now_ns: int) -> None:
        failed = result is Result.FAILURE
        self._failures = self._failures + 1 if failed else 0
        self._window.add(now_ns, failed=failed, slow=slow and not failed)
        reason = self._full(now_ns) if failed or slow else ""
        if reason:
            self.reason = reason
            self._open_for_ms = self.config.open_for_ms
            self._open_until_ns = now_ns + self._open_for_ms * 1_000_000
            self._move(Event.TRIPPED)

    def _full(self, now_ns: int) -> str:
        """Which measure is full, in words; empty when none is."""
        config = self.config
        if self._failures >= config.consecutive_failures:
            return f"{self._failures} failures in a row"
        calls, failures, slow = self._window.totals(now_ns)
        if calls < config.minimum_requests:
            return ""
        window = format_duration(config.window_ms)
        if failures * 100 >= config.failure_rate_percent * calls:
            return f"{failures} of {calls} calls failed within {window}"
        if slow * 100 >= config.slow_call_percent * calls:
            return f"{slow} of {calls} calls were slow within {window}"
        return ""

    def _move(self, event: Event) -> None:
        self._state = TRANSITIONS[self._state, event]
        self.transitions[self._state] += 1
        self._epoch += 1
