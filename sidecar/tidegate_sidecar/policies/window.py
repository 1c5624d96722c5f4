"""Counters over the last while: what breakers and retry budgets look back at."""

from __future__ import annotations

from typing import Final

BUCKETS: Final = 10
"""Parts of a window; the oldest is forgotten as a whole, so a window looks back 90 to 100 % of its length."""


class Window:
    """`kinds` counters, each a sum over the last `span_ns`. Memory does not grow with traffic."""

    __slots__ = ("_bucket_ns", "_buckets", "_newest", "_totals", "span_ns")

    def __init__(self, span_ns: int, kinds: int) -> None:
        """Start empty; kinds are numbered from 0."""
        self.span_ns = span_ns
        self._bucket_ns = max(1, span_ns // BUCKETS)
        self._buckets = [[0] * kinds for _ in range(BUCKETS)]
        self._totals = [0] * kinds
        self._newest = 0

    def add(self, kind: int, now_ns: int) -> None:
        """Count one of `kind`."""
        self._roll(now_ns)
        self._buckets[self._newest % BUCKETS][kind] += 1
        self._totals[kind] += 1

    def total(self, kind: int, now_ns: int) -> int:
        """How many of `kind` there were."""
        self._roll(now_ns)
        return self._totals[kind]

    def clear(self) -> None:
        """Forget everything."""
        for bucket in self._buckets:
            bucket[:] = [0] * len(bucket)
        self._totals[:] = [0] * len(self._totals)

    def _roll(self, now_ns: int) -> None:
        """Forget the buckets that are too old; at most all of them, however long nothing was counted."""
        index = now_ns // self._bucket_ns
        if index <= self._newest:
            return
        for passed in range(max(self._newest + 1, index - BUCKETS + 1), index + 1):
            bucket = self._buckets[passed % BUCKETS]
            for kind, count in enumerate(bucket):
                if count:
                    self._totals[kind] -= count
                    bucket[kind] = 0
        self._newest = index
