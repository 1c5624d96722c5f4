"""Whether a failed try is followed by another: at once elsewhere, after a pause at the same provider, or not at all.

Moving on to a provider that was not asked yet costs nobody anything, so it is bounded by the number of tries alone.
Asking a provider again adds load to one that is in trouble; such tries are a small share of all calls, or retries
would turn a brief failure into a long one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tidegate_policy.model import Retry, RetryOn
from tidegate_sidecar.policies.window import Window

BUDGET_WINDOW_NS: Final = 10_000_000_000
"""How far back the budget looks: 10 s."""

BUDGET_FLOOR: Final = 3
"""Tries per window that ask again and are always allowed: a share of very few calls would be less than one."""

MAX_DOUBLINGS: Final = 32
"""From here on every pause is the maximum anyway; keeps the integers small."""


@dataclass(frozen=True, slots=True)
class Stop:
    """No other try; `why` in words."""

    why: str


@dataclass(frozen=True, slots=True)
class MoveOn:
    """Ask a provider that this call has not asked yet, at once."""


@dataclass(frozen=True, slots=True)
class Again:
    """Pause, then ask again; the budget has been charged."""

    wait_ms: int


Decision = Stop | MoveOn | Again

_MOVE_ON: Final = MoveOn()


class _Kind(IntEnum):
    CALLS = 0
    AGAIN = 1


class RetryBudget:
    """How many tries of a pool may ask a provider again: a share of its calls within the last 10 s, and a floor.

    Attributes:
        percent: the share; 0 allows none at all, not even the floor.
    """

    __slots__ = ("_window", "percent")

    def __init__(self, percent: int) -> None:
        """Start with no calls seen."""
        self.percent = percent
        self._window = Window(BUDGET_WINDOW_NS, len(_Kind))

    def __repr__(self) -> str:
        return f"<RetryBudget {self.percent} %>"

    def on_call(self, now_ns: int) -> None:
        """A call begins; its first try."""
        self._window.add(_Kind.CALLS, now_ns)

    def take(self, now_ns: int) -> bool:
        """Charge one try that asks again; False: the budget is used up, and nothing was charged."""
        window = self._window
        if (window.total(_Kind.AGAIN, now_ns) + 1) * 100 > self._allowed_times_100(now_ns):
            return False
        window.add(_Kind.AGAIN, now_ns)
        return True

    def carry(self, previous: RetryBudget) -> None:
        """Go on counting together with `previous`, the same pool's budget before a reload."""
        self._window = previous._window

    def _allowed_times_100(self, now_ns: int) -> int:
        if self.percent == 0:
            return 0
        return BUDGET_FLOOR * 100 + self._window.total(_Kind.CALLS, now_ns) * self.percent


def backoff_ms(attempt: int, base_ms: int, max_ms: int, jitter: float) -> int:
    """The pause after the failed try number `attempt` (from 1).

    Full jitter: evenly spread over zero to base * 2**(attempt - 1), at most `max_ms`. Callers that failed together
    come back apart, which spreads a provider's load better than a long pause that is the same for all.

    Args:
        attempt: how many tries were made.
        base_ms: the longest first pause.
        max_ms: the longest pause of all.
        jitter: even in [0, 1).
    """
    ceiling_ms = min(max_ms, base_ms << min(attempt - 1, MAX_DOUBLINGS))
    return int(jitter * (ceiling_ms + 1))


def decide(
    config: Retry,
    budget: RetryBudget,
    *,
    attempts: int,
    kind: RetryOn | None,
    retry_after_ms: int | None,
    another: bool,
    left_ms: int,
    jitter: float,
    now_ns: int,
    unusable: bool = False,
) -> Decision:
    """What follows a failed try. Charges `budget` if and only if the answer is `Again`.

    A provider that asks for more patience than the longest pause is not waited for. One that asks for less is never
    asked before its time; jitter comes on top, for it told everybody the same time.

    Args:
        config: of the pool.
        budget: of the pool.
        attempts: tries made for this call so far.
        kind: how the try failed; None: in a way that no other try would mend.
        retry_after_ms: what the provider asked for, None where it did not.
        another: a provider that this call has never asked can take it now.
        left_ms: until the call's deadline.
        jitter: even in [0, 1).
        now_ns: the time.
        unusable: the provider can serve no call of ours (it refuses our key): another may, itself never.
    """
    if why := _final(config, attempts, kind, left_ms, unusable=unusable):
        return Stop(why)
    if another:
        return _MOVE_ON
    if unusable:
        return Stop("the provider cannot be used and there is no other")
    wait_ms = backoff_ms(attempts, config.backoff_base_ms, config.backoff_max_ms, jitter)
    if retry_after_ms is not None:
        wait_ms = max(min(retry_after_ms + wait_ms, config.backoff_max_ms), retry_after_ms)
    if why := _too_long(config, wait_ms, left_ms):
        return Stop(why)
    if not budget.take(now_ns):
        return Stop(f"tries that ask again are limited to {budget.percent} % of calls")
    return Again(wait_ms)


def _final(config: Retry, attempts: int, kind: RetryOn | None, left_ms: int, *, unusable: bool) -> str:
    """Why no try of any kind follows, in words; empty when one may."""
    if kind not in config.retry_on and not unusable:
        return "such a failure is not tried again"
    if attempts >= config.max_attempts:
        return f"{attempts} tries were made, the most allowed"
    return "the deadline is over" if left_ms <= 0 else ""


def _too_long(config: Retry, wait_ms: int, left_ms: int) -> str:
    """Why a pause is not waited for, in words; empty when it is."""
    if wait_ms > config.backoff_max_ms:
        return f"the provider asks to wait {wait_ms} ms, the longest pause is {config.backoff_max_ms} ms"
    return "the deadline comes before the next try" if wait_ms >= left_ms else ""
