"""What happens, drawn from a seed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Dice(Generic[T]):
    """Draws one of several things, each as often as its weight says."""

    def __init__(self, random: Random, weights: Sequence[tuple[float, T]]) -> None:
        self._random = random
        self._things = [thing for _, thing in weights]
        self._up_to = list(itertools.accumulate(weight for weight, _ in weights))

    def draw(self) -> T:
        return self._random.choices(self._things, cum_weights=self._up_to)[0]


def in_pieces(random: Random, data: bytes, most: int = 4) -> list[bytes]:
    """`data`, cut at up to `most` places."""
    at = sorted({0, len(data), *(random.randrange(len(data) + 1) for _ in range(random.randrange(most + 1)))})
    return [data[start:end] for start, end in itertools.pairwise(at)]
