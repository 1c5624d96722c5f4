"""What the publisher tells whoever watches it: numbers for metrics, and lines that do not repeat themselves."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Protocol

LINES: Final = 5
PERIOD_NS: Final = 60 * 1_000_000_000
MAX_KEYS: Final = 1_024


class PublishObserver(Protocol):
    """Counts; every word is of a closed set."""

    def polls_open(self, count: int) -> None:
        """So many polls are open now."""
        ...

    def answered(self, result: str) -> None:
        """A request was answered: `sent`, `unchanged`, `behind`, `newer_release`, `refused_by_sidecar`, `acks`, or an error's code."""
        ...

    def forwarded(self, result: str) -> None:
        """A batch of acks was brought to the leader: `taken` or `failed`."""
        ...

    def passed_over(self) -> None:
        """A message had a field that this release does not know."""
        ...


class Unobserved:
    """Counts nothing."""

    def passed_over(self) -> None:
        """Nobody wants to know."""

    def polls_open(self, count: int) -> None:
        """Nobody wants to know."""

    def answered(self, result: str) -> None:
        """Nobody wants to know."""

    def forwarded(self, result: str) -> None:
        """Nobody wants to know."""


class Sparing:
    """Lets a few lines per key and minute through: ten thousand sidecars with one problem are one problem."""

    def __init__(
        self,
        *,
        lines: int = LINES,
        period_ns: int = PERIOD_NS,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Let `lines` per key through in each period."""
        self._lines = lines
        self._period_ns = period_ns
        self._monotonic_ns = monotonic_ns
        self._seen: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def lets(self, key: Hashable) -> bool:
        """Whether there may be one more line about `key`."""
        now_ns = self._monotonic_ns()
        begun_ns, count = self._seen.get(key, (now_ns, 0))
        if now_ns - begun_ns >= self._period_ns:
            begun_ns, count = now_ns, 0
        self._seen[key] = (begun_ns, count + 1)
        self._seen.move_to_end(key)
        while len(self._seen) > MAX_KEYS:
            self._seen.popitem(last=False)
        return count < self._lines
