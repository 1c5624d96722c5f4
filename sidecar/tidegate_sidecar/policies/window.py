"""Counters over the last while: what breakers and retry budgets look back at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BUCKETS: Final = 10
"""Parts of a window; the oldest is forgotten as a whole, so a window looks back 90 to 100 % of its length."""


class Window:
    """`kinds` counters, each a sum over the last `span_ns`. Memory does not grow with traffic."""

    __slots__ = ("_bucket", "_bucket_ns", "_buckets", "_ends_ns", "_newest", "_totals", "span_ns")

    def __init__(self, span_ns: int, kinds: int) -> None:
        """Start empty; kinds are numbered from 0."""
        self.span_ns = span_ns
        self._bucket_ns = max(1, span_ns // BUCKETS)
        self._buckets = [[0] * kinds for _ in range(BUCKETS)]
        self._totals = [0] * kinds
        self._newest = 0
        self._bucket = self._buckets[0]
        self._ends_ns = self._bucket_ns

    def add(self, kinds: Sequence[int], now_ns: int) -> Sequence[int]:
        """Count one of each of `kinds`; the totals after that, as `totals` has them."""
        if now_ns >= self._ends_ns:
            self._roll(now_ns)
        bucket, totals = self._bucket, self._totals
        for kind in kinds:
            bucket[kind] += 1
            totals[kind] += 1
        return totals

    def totals(self, now_ns: int) -> Sequence[int]:
        """How many of each kind there were; holds until the next call of a method."""
        if now_ns >= self._ends_ns:
            self._roll(now_ns)
        return self._totals

    def clear(self) -> None:
        """Forget everything."""
        for bucket in self._buckets:
            bucket[:] = [0] * len(bucket)
        self._totals[:] = [0] * len(self._totals)

    def _roll(self, now_ns: int) -> None:
        """Begin the bucket of `now_ns`.

        Forgets what is too old: at most all buckets, however long nothing was counted.
        """
        index = now_ns // self._bucket_ns
        for passed in range(max(self._newest + 1, index - BUCKETS + 1), index + 1):
            bucket = self._buckets[passed % BUCKETS]
            for kind, count in enumerate(bucket):
                if count:
                    self._totals[kind] -= count
                    bucket[kind] = 0
        self._newest = index
        self._bucket = self._buckets[index % BUCKETS]
        self._ends_ns = (index + 1) * self._bucket_ns
