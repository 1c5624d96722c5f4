"""Counts of calls as plain integers, an object for each set of labels.

Labels are looked up when a configuration is built; a call that is over adds to the integers it finds there. What a cell
holds says nothing of when: it only grows, also when the names it stands for leave the configuration.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Final

Counts = defaultdict[tuple[str, ...], int]
"""How often there was what these labels tell apart."""

SERVED: Final = ("served", "2xx", "")
"""How nearly all calls end: ending, class of the status, code."""

BOUNDS_MS: Final = (
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
)  # fmt: skip
"""Upper ends of buckets, from a cached answer on a local server to the longest thinking stream."""


class Histogram:
    """How often a time fell into each bucket.

    Attributes:
        counts: for each of `BOUNDS_MS` the times up to it and above the one before; at the end, those above all.
        sum_ms: of all times.
    """

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0

    def observe(self, time_ms: int) -> None:
        self.counts[bisect_left(BOUNDS_MS, time_ms)] += 1
        self.sum_ms += time_ms


class ModelCells:
    """What providers did for one (pool, provider, model)."""

    __slots__ = (
        "cache_write_tokens",
        "cached_input_tokens",
        "first_token",
        "input_tokens",
        "output_tokens",
        "usage_unreported",
    )

    def __init__(self) -> None:
        self.first_token = Histogram()
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_input_tokens = 0
        self.cache_write_tokens = 0
        self.usage_unreported = 0


class Cells:
    """Everything that a call of one (pool, provider, model, operation) counts in.

    Attributes:
        served: calls that ended as `SERVED` says.
        others: all other calls, by ending, class of the status, code.
        duration: of all calls.
        of_model: shared by all operations.
        attempts: by result; shared by all models and operations of the provider in this pool.
    """

    __slots__ = ("attempts", "duration", "of_model", "others", "served")

    def __init__(self, of_model: ModelCells, attempts: defaultdict[str, int]) -> None:
        self.served = 0
        self.others = Counts(int)
        self.duration = Histogram()
        self.of_model = of_model
        self.attempts = attempts


class CellTable:
    """All that a process counts of its calls. Its size is bounded by the names in the configurations that it has seen.

    Attributes:
        calls: by pool, provider, model, operation.
        models: by pool, provider, model.
        attempts: by pool and provider, then by result.
        refusals: by object, rule, code, mode.
        pass_through: calls under no policy that were let through, by provider and ending.
    """

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str, str, str], Cells] = {}
        self.models: dict[tuple[str, str, str], ModelCells] = {}
        self.attempts: dict[tuple[str, str], defaultdict[str, int]] = {}
        self.refusals = Counts(int)
        self.pass_through = Counts(int)

    def cells(self, pool: str, provider: str, model: str, operation: str) -> Cells:
        """The cells of these labels, always the same ones; made where there are none."""
        found = self.calls.get((pool, provider, model, operation))
        if found is None:
            of_model = self.models.setdefault((pool, provider, model), ModelCells())
            found = Cells(of_model, self.attempts_of(pool, provider))
            self.calls[pool, provider, model, operation] = found
        return found

    def attempts_of(self, pool: str, provider: str) -> defaultdict[str, int]:
        """How many attempts this provider of this pool was asked, by result."""
        return self.attempts.setdefault((pool, provider), defaultdict(int))
