"""Which of several providers is asked: one of the lowest priority that anybody has, by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider as the choice sees it.

    Attributes:
        id: the caller's name for it.
        priority: lower first.
        weight: its share of the calls among candidates of one priority; 0: only when none of them has a weight.
    """

    id: int
    priority: int = 0
    weight: int = 1


class Weighted(Protocol):
    """What the choice looks at: a candidate, or what is known of one."""

    @property
    def priority(self) -> int: ...

    @property
    def weight(self) -> int: ...


T = TypeVar("T", bound=Weighted)


def lowest(candidates: Sequence[T]) -> Sequence[T]:
    """Those of the lowest priority, in the order given."""
    priority = min([candidate.priority for candidate in candidates], default=0)
    return [candidate for candidate in candidates if candidate.priority == priority]


def choose(candidates: Sequence[T], chance: float) -> T | None:
    """The one to ask, or None when there is nobody.

    Those of the lowest priority lie side by side in the order given, each as wide as its weight, and `chance` points at
    one of them. The same chance and candidates give the same choice.

    Args:
        candidates: who may be asked, in an order that stays the same.
        chance: even in [0, 1).
    """
    best = lowest(candidates) if len(candidates) > 1 else candidates
    if len(best) <= 1:
        return best[0] if best else None
    total = sum([candidate.weight for candidate in best])
    if total == 0:
        return best[int(chance * len(best))]
    point = min(int(chance * total), total - 1)  # the product may have been rounded up
    for candidate in best:
        point -= candidate.weight
        if point < 0:
            return candidate
    raise AssertionError("the point lies within the sum of the weights")
