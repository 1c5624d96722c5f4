"""Bytes of bodies that the process holds, over all calls (PURE).

Each body has its own bound, and so has the number of calls; their product is more than any pod has memory for. What is
counted here is the number that memory is planned with. Small answers are outside of it: they are part of what a call takes
anyway, as its headers are.
"""

from __future__ import annotations

from typing import Final

SMALL_BYTES: Final = 64 * 2**10
"""An answer up to this size is held whatever else is: its usage is read, and another provider can still be asked."""


class MemoryBudget:
    """How many bytes are held, and how many may be."""

    __slots__ = ("count", "limit")

    def __init__(self, limit: int) -> None:
        """Hold nothing yet; never more than `limit` bytes."""
        self.limit = limit
        self.count = 0

    def __repr__(self) -> str:
        return f"<MemoryBudget {self.count} of {self.limit} bytes>"


class Reservation:
    """What one call holds of it, request and answer; `release` gives all back."""

    __slots__ = ("_budget", "count")

    def __init__(self, budget: MemoryBudget) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self.count = 0

    @property
    def limit(self) -> int:
        """Bytes that all calls together may hold."""
        return self._budget.limit

    def grow(self, count: int) -> bool:
        """Hold `count` bytes more; False where there is no room for them, and nothing has changed."""
        if self._budget.count + count > self._budget.limit:
            return False
        self._budget.count += count
        self.count += count
        return True

    @property
    def room(self) -> int:
        """Bytes that nobody holds."""
        return self._budget.limit - self._budget.count

    def grow_answer(self, length: int, piece: int) -> bool:
        """Hold the last `piece` bytes of an answer that has `length` by now; small ones are held without being counted."""
        return length <= SMALL_BYTES or self.grow(piece)

    def shrink(self, count: int) -> None:
        """Give back `count` bytes of those that are held."""
        self._budget.count -= count
        self.count -= count

    def release(self) -> None:
        """Give back everything."""
        self.shrink(self.count)
