"""Which provider is asked next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider that may be asked; `id` is the caller's."""

    id: int
    priority: int
    weight: int


def choose(candidates: Sequence[Candidate], chance: float) -> Candidate | None:
    """One of the lowest priority, by weight; None when there is none.

    Args:
        candidates: those that are left; a weight of 0 is chosen only where all of its priority have it.
        chance: uniform in [0, 1); the same number chooses the same candidate.
    """
    if not candidates:
        return None
    priority = min(it.priority for it in candidates)
    level = [it for it in candidates if it.priority == priority]
    total = sum(it.weight for it in level)
    if total == 0:
        return level[int(chance * len(level))]
    mark = chance * total
    for it in level:
        mark -= it.weight
        if mark < 0:
            return it
    return max(level, key=lambda it: it.weight)
