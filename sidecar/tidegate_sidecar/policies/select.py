"""Which provider is asked next."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass


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


def choose(
    candidates: Iterable[Candidate],
    chance: float,
    *,
    tried: Container[int] = (),
    is_available: Callable[[Candidate], bool] | None = None,
) -> Candidate | None:
    """The next one to ask, or None when nobody is left.

    The lowest priority that has anybody left is chosen from, by weight: candidates lie side by side in the order
    given, each as wide as its share, and `chance` points at one of them. The same chance and candidates give the
    same choice.

    Args:
        candidates: in an order that stays the same.
        chance: even in [0, 1).
        tried: ids that are not asked (again).
        is_available: whether one may be asked now; None: all may.

    Raises:
        ValueError: `chance` is 1 or more.
    """
    best: list[Candidate] = []
    for candidate in candidates:
        if best and candidate.priority > best[0].priority:
            continue  # the costlier question comes last: it cannot win any more
        if candidate.id in tried or (is_available is not None and not is_available(candidate)):
            continue
        if best and candidate.priority < best[0].priority:
            best.clear()
        best.append(candidate)
    return _pick(best, chance) if best else None


def _pick(candidates: list[Candidate], chance: float) -> Candidate:
    total = 0
    for candidate in candidates:
        total += candidate.weight
    if total == 0:
        return candidates[int(chance * len(candidates))]
    point = chance * total
    reached = 0
    for candidate in candidates:
        reached += candidate.weight
        if point < reached:
            return candidate
    raise ValueError(f"chance is {chance}; it must be in [0, 1)")
