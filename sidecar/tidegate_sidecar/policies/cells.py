"""The arithmetic of rate limits: GCRA with integers, so that no rate is rounded.

Theory of operation. A limit of `count` per `per_ns` with a burst stands for a bucket of `burst` cells from which
one cell leaks every per_ns / count nanoseconds. Instead of a level, the generic cell rate algorithm keeps one number
per key, the theoretical arrival time (TAT) at which the bucket will be empty again. per_ns / count is seldom whole
(7 per 3 s), therefore all times in this module are scaled by `count`: now becomes now_ns * count, and one cell is
exactly per_ns. A call at `now` is admitted if and only if

    max(TAT, now) + cell - now <= burst * cell        and then        TAT = max(TAT, now) + cell

which is the same as: for every earlier instant s, the calls admitted in [s, now] and this one are at most
burst + rate * (now - s). A TAT that has passed means an empty bucket, so such a key need not be kept.

Memory. A header can invent keys without end. When `max_keys` are live, further ones share one counter with the same
numbers: each of them gets at most its limit, usually less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAX_KEYS: Final = 100_000
"""Keys of one limit that are counted apart at a time; the next ones share one counter."""

SWEEP_STEPS: Final = 8
"""Known keys that are looked at for each new one; more than one, so that passed keys go faster than new ones come."""

SWEEP_ABOVE: Final = 1_024
"""With so few keys nothing is swept."""

Key = str | tuple[str, ...]

_MS_NS: Final = 1_000_000


class Cells:
    """The cells that each key of one limit has used.

    Attributes:
        overflowed: calls admitted through the counter that is shared when all `max_keys` keys are live; above zero,
            some callers share a limit that was meant for each of them.
    """

    __slots__ = (
        "_arrivals",
        "_burst",
        "_cell",
        "_count",
        "_last_ns",
        "_max_keys",
        "_overflow",
        "_sweep",
        "overflowed",
    )

    def __init__(self, *, count: int, per_ns: int, burst: int, max_keys: int = MAX_KEYS) -> None:
        """`count` cells per `per_ns`, `burst` of them at once, for each of up to `max_keys` keys.

        Raises:
            ValueError: a number is below 1.
        """
        if min(count, per_ns, burst, max_keys) < 1:
            raise ValueError(f"count {count}, per_ns {per_ns}, burst {burst} and max_keys must be at least 1")
        self._count = count
        self._cell = per_ns
        self._burst = burst * per_ns
        self._max_keys = max_keys
        self._arrivals: dict[Key, int] = {}
        self._overflow = 0
        self._last_ns = 0
        self._sweep: Iterator[Key] = iter(())
        self.overflowed = 0

    def __repr__(self) -> str:
        return f"<Cells {len(self)} keys, {self.overflowed} calls overflowed>"

    def __len__(self) -> int:
        """Keys in memory; one whose cells have all come back may be among them for a while."""
        return len(self._arrivals)

    def take(self, key: Key, now_ns: int) -> int | None:
        """Use one cell of `key`. None: done; else nothing was used and a cell is free in so many ms, rounded up."""
        now = now_ns * self._count
        arrivals = self._arrivals
        arrival = arrivals.get(key)
        if arrival is None:
            return self._take_first(key, now, now_ns)
        arrival = (arrival if arrival > now else now) + self._cell  # noqa: FURB136 - max() costs twice the line
        excess = arrival - now - self._burst
        if excess > 0:
            return -(-excess // (self._count * _MS_NS))
        arrivals[key] = arrival
        self._last_ns = now_ns
        return None

    def give_back(self, key: Key, now_ns: int) -> None:
        """Take back a `take` of the same instant, exactly. In any later instant the cell stays used.

        A TAT cannot be refunded later: between, max(TAT, now) may have forgotten the cell already, and what would be
        taken off then are cells of others. With 1 per 1s, burst 1: A at 0 s, B at 1 s, and A given back at 1 s would
        let C in at 1 s as well, two calls at once.
        """
        if now_ns != self._last_ns:
            return
        arrival = self._arrivals.get(key)
        if arrival is None:
            self._overflow -= self._cell
            self.overflowed -= 1
            return
        arrival -= self._cell
        now = now_ns * self._count
        if arrival > now or self._overflow > now:  # who is forgotten would start where the shared counter is
            self._arrivals[key] = arrival
        else:
            del self._arrivals[key]

    def remaining(self, key: Key, now_ns: int) -> int:
        """Cells that `key` could use now, all at once."""
        now = now_ns * self._count
        arrival = self._arrivals.get(key, self._overflow)
        return (self._burst - max(0, arrival - now)) // self._cell

    def reshape(self, *, count: int, per_ns: int, burst: int, now_ns: int) -> None:
        """Go on with other numbers. Used cells stay used: rounded up to whole ones, and at most the new burst."""
        if (count, per_ns, burst * per_ns) == (self._count, self._cell, self._burst):
            return
        old_now, old_cell = now_ns * self._count, self._cell
        new_now = now_ns * count

        def converted(arrival: int) -> int:
            used = -(-(arrival - old_now) // old_cell)
            return new_now + min(used, burst) * per_ns

        self._arrivals = {key: converted(at) for key, at in self._arrivals.items() if at > old_now}
        self._overflow = converted(self._overflow) if self._overflow > old_now else 0
        self._count, self._cell, self._burst = count, per_ns, burst * per_ns

    def _take_first(self, key: Key, now: int, now_ns: int) -> int | None:
        """A key that is not in memory: it gets its own counter while there is room."""
        arrivals = self._arrivals
        if len(arrivals) >= SWEEP_ABOVE or len(arrivals) >= self._max_keys:
            self._drop_passed(now)
        # Whoever overflowed before may be this very key, so its own counter starts where the shared one is.
        arrival = max(self._overflow, now) + self._cell
        excess = arrival - now - self._burst
        if excess > 0:
            return -(-excess // (self._count * _MS_NS))
        if len(arrivals) < self._max_keys:
            arrivals[key] = arrival
        else:
            self._overflow = arrival
            self.overflowed += 1
        self._last_ns = now_ns
        return None

    def _drop_passed(self, now: int) -> None:
        """Look at the next few keys; a whole round costs one copy of the keys, spread over all its steps."""
        arrivals = self._arrivals
        for _ in range(SWEEP_STEPS):
            key = next(self._sweep, None)
            if key is None:
                self._sweep = iter(list(arrivals))
            elif arrivals.get(key, now + 1) <= now:
                del arrivals[key]
