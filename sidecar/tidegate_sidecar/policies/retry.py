"""Whether a failed try is worth another one, where, and when.

Moving on to another provider spreads load and is bounded by `maxAttempts` alone. Asking a provider *again* adds load
where there is trouble, so it is bounded by a budget as well: a share of the calls of late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidegate_policy.model import Retry, RetryOn

BUDGET_WINDOW_MS: Final = 10_000
"""Over so much time the budget remembers calls."""

BUDGET_FLOOR: Final = 10
"""Repetitions per window that are always allowed: a share of few calls would be none."""


class RetryBudget:
    """Counts calls in and repetitions out, in hundredths of a repetition; what is saved fades with the window."""

    def __init__(self, percent: int) -> None:
        """Each call earns `percent` hundredths of a repetition."""
        self.percent = percent
        self._credit = 0
        self._floor_used: list[int] = []
        self._credit_from_ns = 0

    def on_call(self, now_ns: int) -> None:
        """A call has come."""
        self._fade(now_ns)
        self._credit += self.percent

    def take(self, now_ns: int) -> bool:
        """Use one repetition; False when there is none."""
        self._fade(now_ns)
        if self._credit >= 100:
            self._credit -= 100
            return True
        self._floor_used = [at for at in self._floor_used if now_ns - at < BUDGET_WINDOW_MS * 1_000_000]
        if len(self._floor_used) >= BUDGET_FLOOR:
            return False
        self._floor_used.append(now_ns)
        return True

    def carry(self, previous: RetryBudget) -> None:
        """Go on with what the same pool had before a reload."""
        self._credit = previous._credit
        self._floor_used = previous._floor_used
        self._credit_from_ns = previous._credit_from_ns

    def _fade(self, now_ns: int) -> None:
        """Halve the credit for each window that has passed: a quiet hour saves up no storm."""
        windows = (now_ns - self._credit_from_ns) // (BUDGET_WINDOW_MS * 1_000_000)
        if windows > 0:
            self._credit >>= min(windows, 64)
            self._credit_from_ns = now_ns


@dataclass(frozen=True, slots=True)
class Stop:
    """The failure is the answer; `why` says it in words."""

    why: str


@dataclass(frozen=True, slots=True)
class MoveOn:
    """Another provider, at once."""


@dataclass(frozen=True, slots=True)
class Again:
    """The same providers, after `wait_ms`."""

    wait_ms: int


Decision = Stop | MoveOn | Again


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed try, as far as it matters here.

    Attributes:
        kind: None when no repetition would help.
        only_here: the failure is this provider's alone (it refused its key): another one may well answer.
        retry_after_ms: how long the provider asked to wait.
    """

    kind: RetryOn | None
    only_here: bool = False
    retry_after_ms: int | None = None


def decide(
    config: Retry,
    budget: RetryBudget,
    failure: Failure,
    *,
    attempts: int,
    another: bool,
    left_ms: int,
    jitter: float,
    now_ns: int,
) -> Decision:
    """What to do after a failed try.

    Args:
        config: the pool's rules.
        budget: used up by one when the answer is `Again`.
        failure: what went wrong.
        attempts: tries made so far, this one included.
        another: there is a provider that was not tried yet.
        left_ms: until the call's deadline.
        jitter: uniform in [0, 1).
        now_ns: now.
    """
    if attempts >= config.max_attempts:
        return Stop(f"all {config.max_attempts} attempts are used")
    if left_ms <= 0:
        return Stop("the time of the call is over")
    if failure.only_here:
        return MoveOn() if another else Stop("no other provider is left")
    if failure.kind is None or failure.kind not in config.retry_on:
        return Stop("such a failure is not retried")
    if another:
        return MoveOn()
    wait_ms = failure.retry_after_ms
    if wait_ms is None:
        wait_ms = backoff_ms(config, attempts, jitter)
    elif wait_ms > config.backoff_max_ms:
        return Stop(f"the provider asks to wait {wait_ms} ms, longer than retry.backoff.max")
    if wait_ms >= left_ms:
        return Stop("the wait would outlast the call")
    if not budget.take(now_ns):
        return Stop("the retry budget is used up")
    return Again(wait_ms)


def backoff_ms(config: Retry, attempts: int, jitter: float) -> int:
    """How long to wait after so many tries: doubling from the base up to the maximum, the upper half left to chance.

    Half is certain, so that a provider in trouble gets a pause; half is spread, so that callers do not come together.
    """
    full = min(config.backoff_base_ms << min(attempts - 1, 32), config.backoff_max_ms)
    return full - int(full * jitter / 2)
