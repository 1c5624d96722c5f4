"""The retry budget: attempts that ask a provider again are a small share of all calls.

Moving on to a provider that was not asked yet costs nobody anything. Asking one again adds load to a provider that is in
trouble: without a bound, retries turn a brief failure into a long one.
"""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.policies.window import Window

BUDGET_WINDOW_NS: Final = 10_000_000_000
"""How far back the budget looks: 10 s."""

BUDGET_FLOOR: Final = 3
"""Retries per window that are always allowed: a share of very few calls would be less than one."""


_CALLS, _RETRIES = range(2)
"""What the window counts."""


class RetryBudget:
    """How many attempts of a pool may ask a provider again: a share of its calls within the last 10 s, and a floor.

    Attributes:
        percent: the share; 0 allows none at all, not even the floor.
    """

    __slots__ = ("_window", "percent")

    def __init__(self, percent: int) -> None:
        """Start with no calls seen."""
        self.percent = percent
        self._window = Window(BUDGET_WINDOW_NS, 2)

    def __repr__(self) -> str:
        return f"<RetryBudget {self.percent} %>"

    def on_call(self, now_ns: int) -> None:
        """A call begins: its first attempt is about to be made."""
        self._window.add((_CALLS,), now_ns)

    def has_room(self, now_ns: int) -> bool:
        """Whether `take` would charge one more. Charges nothing."""
        if self.percent == 0:
            return False
        calls, retries = self._window.totals(now_ns)
        return (retries + 1) * 100 <= BUDGET_FLOOR * 100 + calls * self.percent

    def take(self, now_ns: int) -> bool:
        """Charge one attempt that asks again, as it is made; False: the budget is used up, and nothing was charged."""
        if not self.has_room(now_ns):
            return False
        self._window.add((_RETRIES,), now_ns)
        return True

    def carry(self, previous: RetryBudget, now_ns: int) -> None:  # noqa: ARG002 - as all that is carried over
        """Go on counting together with `previous`, the same pool's budget before a reload."""
        self._window = previous._window
