"""The arithmetic of rate limits: GCRA with integers, so that no rate is rounded.

Theory of operation. A limit of `count` per `per_ns` with a burst stands for a bucket of `burst` units from which one
unit leaks every per_ns / count nanoseconds. Instead of a level, the generic cell rate algorithm keeps one number per
key, the theoretical arrival time (TAT) at which the bucket will be empty again. per_ns / count is seldom whole
(7 per 3 s), therefore all times in this module are scaled by `count`: now becomes now_ns * count, and one unit is
exactly per_ns. A call of some weight at `now` is admitted if and only if

    max(TAT, now) + weight * unit - now <= burst * unit      and then      TAT = max(TAT, now) + weight * unit

which is the same as: for every earlier instant s, what was admitted in [s, now] and this call together weigh at most
burst + rate * (now - s). A TAT that has passed means an empty bucket, so such a key need not be kept.

A weight that was an estimate is corrected when the truth is known. A correction counts in the instant in which it is
made, like a call of that weight, positive or negative, that is never refused. So the sum above holds with corrections
in it. True weights of [s, now] may exceed it by what calls under way at `s` give back later, and by how much calls in
it were estimated too low.

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

ACQUIRED: Final = 0
"""There is nothing to wait for."""

NEVER: Final = -1
"""The weight is above the burst: no wait helps."""

Key = str | tuple[str, ...]

_MS_NS: Final = 1_000_000


class Gcra:
    """What each key of one limit has used.

    Attributes:
        overflowed: calls admitted through the counter that is shared when all `max_keys` keys are live; above zero,
            some callers share a limit that was meant for each of them.
    """

    __slots__ = (
        "_arrivals",
        "_burst",
        "_count",
        "_last_ns",
        "_max_keys",
        "_newest",
        "_overflow",
        "_sweep",
        "_unit",
        "overflowed",
    )

    def __init__(self, *, count: int, per_ns: int, burst: int, max_keys: int = MAX_KEYS) -> None:
        """`count` units per `per_ns`, `burst` of them at once, for each of up to `max_keys` keys.

        Raises:
            ValueError: a number is below 1.
        """
        if min(count, per_ns, burst, max_keys) < 1:
            raise ValueError(
                f"count {count}, per_ns {per_ns}, burst {burst} and max_keys {max_keys} must be at least 1"
            )
        self._count = count
        self._unit = per_ns
        self._burst = burst * per_ns
        self._max_keys = max_keys
        self._arrivals: dict[Key, int] = {}
        self._overflow = 0
        self._last_ns = 0
        self._newest: tuple[Key, int, int] | None = (
            None  # the last key to get a counter, when, what it began at
        )
        self._sweep: Iterator[Key] = iter(())
        self.overflowed = 0

    def __repr__(self) -> str:
        return f"<Gcra {len(self)} keys, {self.overflowed} calls overflowed>"

    def __len__(self) -> int:
        """Keys in memory; one whose units have all come back may be among them for a while."""
        return len(self._arrivals)

    def acquire(self, key: Key, now_ns: int, weight: int = 1) -> int:
        """Use `weight` units (at least 1) of `key`.

        Returns:
            `ACQUIRED`; or nothing was used, and the weight is free in so many ms, rounded up; or `NEVER`.
        """
        now = now_ns * self._count
        arrivals = self._arrivals
        arrival = arrivals.get(key)
        if arrival is None:
            return self._acquire_first(key, now_ns, weight)
        arrival = (arrival if arrival > now else now) + self._unit * weight  # noqa: FURB136 - max() costs twice the line
        if arrival - now > self._burst:
            return self._wait_ms(weight, arrival - now)
        arrivals[key] = arrival
        self._last_ns = now_ns
        return ACQUIRED

    def refund(self, key: Key, now_ns: int, weight: int = 1) -> None:
        """Take back an `acquire` of the same instant, which then leaves no trace. In any later instant it stays used.

        A TAT cannot be set back later as if the call had never been: between, max(TAT, now) may have forgotten the
        unit already, and what would be taken off then are units of others. With 1 per 1s, burst 1: A at 0 s, B at 1 s,
        and A set back at 1 s would let C in at 1 s as well, two calls at once.
        """
        if now_ns != self._last_ns:
            return
        arrival = self._arrivals.get(key)
        if arrival is None:
            self._overflow -= self._unit * weight
            self.overflowed -= 1
            return
        arrival -= self._unit * weight
        if self._newest == (key, now_ns, arrival):
            del self._arrivals[key]  # it had no counter of its own before, and takes no place
        else:
            self._arrivals[key] = arrival

    def correct(self, key: Key, weight_delta: int, now_ns: int) -> None:
        """The weight of an earlier `acquire` was an estimate, and the truth is `weight_delta` more (or less).

        More than the burst may be in use after it; then nothing is admitted until that has leaked away. What is given
        back beyond what is still in use is forgotten. A key that uses the shared counter gives nothing back: it may
        have left it and come back, and what would be given back then is what others use.
        """
        now = now_ns * self._count
        arrival = self._arrivals.get(key)
        if arrival is not None:
            self._arrivals[key] = max(max(arrival, now) + self._unit * weight_delta, now)
        elif weight_delta > 0:
            self._make_room(now)
            self._start(key, max(self._overflow, now) + self._unit * weight_delta)

    def remaining(self, key: Key, now_ns: int) -> int:
        """Units that `key` could use now, all at once."""
        used = self._arrivals.get(key, self._overflow) - now_ns * self._count
        return max(0, self._burst - max(0, used)) // self._unit

    def reshape(self, *, count: int, per_ns: int, burst: int, now_ns: int) -> None:
        """Go on with other numbers.

        Used units stay used, rounded up to whole ones and at most the new burst; what a correction has put above the
        old burst stays above the new one.
        """
        if (count, per_ns, burst * per_ns) == (self._count, self._unit, self._burst):
            return
        old_now, old_unit, old_burst = now_ns * self._count, self._unit, self._burst // self._unit
        new_now = now_ns * count

        def converted(arrival: int) -> int:
            used = -(-(arrival - old_now) // old_unit)
            return new_now + (min(used, burst) + max(0, used - old_burst)) * per_ns

        self._arrivals = {key: converted(at) for key, at in self._arrivals.items() if at > old_now}
        self._overflow = converted(self._overflow) if self._overflow > old_now else 0
        self._count, self._unit, self._burst = count, per_ns, burst * per_ns

    def _acquire_first(self, key: Key, now_ns: int, weight: int) -> int:
        """`acquire` for a key that is not in memory."""
        now = now_ns * self._count
        self._make_room(now)
        # Whoever overflowed before may be this very key, so its own counter starts where the shared one is.
        begins = max(self._overflow, now)
        arrival = begins + self._unit * weight
        if arrival - now > self._burst:
            return self._wait_ms(weight, arrival - now)
        if self._start(key, arrival):
            self._newest = key, now_ns, begins
        else:
            self.overflowed += 1
        self._last_ns = now_ns
        return ACQUIRED

    def _start(self, key: Key, arrival: int) -> bool:
        """Keep `arrival`, in a counter of the key's own while there is room for one; whether there was."""
        if len(self._arrivals) < self._max_keys:
            self._arrivals[key] = arrival
            return True
        self._overflow = arrival
        return False

    def _wait_ms(self, weight: int, in_use: int) -> int:
        if weight * self._unit > self._burst:
            return NEVER
        return -(-(in_use - self._burst) // (self._count * _MS_NS))

    def _make_room(self, now: int) -> None:
        """Look at the next few keys and drop those that have passed.

        A whole round costs one copy of the keys, spread over all its steps.
        """
        arrivals = self._arrivals
        if len(arrivals) < min(SWEEP_ABOVE, self._max_keys):
            return
        for _ in range(SWEEP_STEPS):
            key = next(self._sweep, None)
            if key is None:
                self._sweep = iter(list(arrivals))
            elif arrivals.get(key, now + 1) <= now:
                del arrivals[key]
