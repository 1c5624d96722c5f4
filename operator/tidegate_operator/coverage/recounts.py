"""Which namespaces are counted again, and when (PURE): soon after a change, and no more than a count is worth.

Nothing is kept of a pod that changes but where it is. What is counted is right at any time, then, whatever order news comes in, and
a namespace with ten thousand pods that come and go is read for a twentieth of the time at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

PAUSE_S: Final = 1.0
"""Between two counts of a namespace."""
PAUSES: Final = 20
"""How many times as long as a count took the pause after it is at least."""
MAX_PER_ROUND: Final = 64
"""Namespaces that are counted at once; the others have their turn afterwards."""


class Recounts:
    """Namespaces in which something has changed since they were counted."""

    def __init__(self) -> None:
        """Nothing has changed."""
        self._changed: dict[str, None] = {}
        self._not_before_s: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Recounts: {len(self._changed)} namespaces have changed>"

    def changed(self, namespaces: Iterable[str]) -> bool:
        """Something has changed in them; whether that is news."""
        before = len(self._changed)
        self._changed |= dict.fromkeys(namespaces)
        return len(self._changed) > before

    def take(self, counted: Collection[str], now_s: float) -> frozenset[str]:
        """Those that are to be counted now, of the namespaces that are counted at all; changes elsewhere are forgotten."""
        self._changed = {name: None for name in self._changed if name in counted}
        self._not_before_s = {name: at for name, at in self._not_before_s.items() if at > now_s}
        due = [name for name in self._changed if name not in self._not_before_s][:MAX_PER_ROUND]
        for name in due:
            del self._changed[name]
        return frozenset(due)

    def counted(self, namespace: str, took_s: float, now_s: float) -> None:
        """A count has ended."""
        self._not_before_s[namespace] = now_s + max(PAUSE_S, took_s * PAUSES)

    def due_s(self) -> float | None:
        """When there will be something to count; None: no change is known."""
        return min((self._not_before_s.get(name, 0.0) for name in self._changed), default=None)
