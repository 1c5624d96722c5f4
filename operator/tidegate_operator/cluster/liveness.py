"""Whether the watches live (PURE): for each kind, how long ago something was asked, answered or told.

A watch can die without a sound: the connection stays open and brings nothing, or the task that reads it hangs. The
API server ends each watch after a while and sends a bookmark each minute, so silence beyond that has a cause, and which
one decides what is right. Asked and not answered: the API server is out of reach, and a restart would not help. Not
even asked: the watching itself is broken, and a restart is the cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_NS_PER_MS = 1_000_000


@dataclass(slots=True)
class _Signs:
    """Monotonic times of the newest signs, and of the beginning where there was none."""

    asked_ns: int
    heard_ns: int
    is_listed: bool = False


class Liveness:
    """Signs of life of the watches."""

    def __init__(self, kinds: Iterable[str], *, now_ns: int, silent_ms: int) -> None:
        """Begin as if all had been heard `now_ns`.

        Args:
            kinds: what is watched.
            now_ns: monotonic.
            silent_ms: silence that is taken for death.
        """
        self._silent_ns = silent_ms * _NS_PER_MS
        self._signs = {kind: _Signs(asked_ns=now_ns, heard_ns=now_ns) for kind in kinds}

    def begin(self, now_ns: int) -> None:
        """The watching begins only now; time before that is no silence."""
        for signs in self._signs.values():
            signs.asked_ns = signs.heard_ns = now_ns

    def asked(self, kind: str, now_ns: int) -> None:
        """A list or a watch was begun."""
        self._signs[kind].asked_ns = now_ns

    def heard(self, kind: str, now_ns: int) -> None:
        """A list or a watch was answered, or an event came."""
        self._signs[kind].heard_ns = now_ns

    def listed(self, kind: str) -> None:
        """The watching has had a whole list: events follow from there on."""
        self._signs[kind].is_listed = True

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Kinds that are not watched yet."""
        return tuple(kind for kind, signs in self._signs.items() if not signs.is_listed)

    def silent(self, now_ns: int) -> tuple[str, ...]:
        """Kinds of which nothing was heard for too long, whatever the cause."""
        return tuple(kind for kind, signs in self._signs.items() if now_ns - signs.heard_ns > self._silent_ns)

    def dead(self, now_ns: int) -> tuple[str, ...]:
        """Kinds for which nothing was even asked for too long: a restart is the cure."""
        return tuple(
            kind
            for kind, signs in self._signs.items()
            if now_ns - max(signs.asked_ns, signs.heard_ns) > self._silent_ns
        )

    def age_ms(self, kind: str, now_ns: int) -> int:
        """Milliseconds since something was heard of a kind."""
        return (now_ns - self._signs[kind].heard_ns) // _NS_PER_MS
