"""What came of the rounds: medians, and each proxy against Envoy in the same round. Pure.

A machine gets slower and faster while a bench runs; two measurements of one round are near each other, so their ratio holds where
neither of them does. That is why no ratio of medians stands anywhere. Where some rounds were quiet only they count: beside other
work a proxy reads more events at once, which halves what each costs Envoy, while calls get dearer.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from speed.traffic import Row

QUIET: Final = 0.2
"""Cores that the machine's other work may take while figures count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one measurement found. Latencies are wrk's, of the whole run; everything else is of the window."""

    calls_per_s: float
    cpu_us_per_call: float
    """Processor time of the proxy; 0 where there is none."""
    cpu_us_per_event: float
    p50_ms: float
    p99_ms: float
    proxy_busy: float
    """Share of its core that the proxy took, 0 to 1: near 1 it is the proxy that bounds the calls a second."""
    load_busy: float
    """Share of a core that the provider and wrk took together."""
    others_busy: float
    """How much of a core the machine's other work took, on the cores that are used here."""
    failed: int
    """Calls that were refused or broke off."""

    @property
    def is_quiet(self) -> bool:
        """Whether so little else ran that the figures say what the proxy costs.

        Other work takes the core away between two events, so that more of them come at once, and empties its caches.
        """
        return self.others_busy <= QUIET


class Spread(NamedTuple):
    """A median and what is around it."""

    median: float
    low: float
    high: float
    rounds: int
    """How many it is of."""


@dataclass(slots=True)
class Results:
    """Everything that was measured; each list has an entry for each round."""

    samples: dict[tuple[Row, str], list[Sample]] = field(default_factory=dict)
    """By row and name of the proxy."""
    first_event_ms: dict[str, list[float]] = field(default_factory=dict)
    """Until a stream's first event, by name of the proxy."""
    idle_mib: dict[str, float] = field(default_factory=dict)
    """Memory of a proxy that has answered nothing yet."""
    loaded_mib: dict[str, float] = field(default_factory=dict)
    """The same after all rounds."""
    complaints: list[str] = field(default_factory=list)
    """Calls that failed, records that are missing."""
    notes: dict[str, str] = field(default_factory=dict)
    """Why a proxy is not in a table, or not in all of it."""

    def rows(self) -> list[Row]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(row for row, _ in self.samples))

    def names(self, row: Row) -> list[str]:
        """The proxies that were measured under that load, in order."""
        return [name for found, name in self.samples if found == row]

    def median(self, row: Row, name: str) -> Sample:
        """Each figure's median over the rounds that count; of failed calls the sum of all."""
        samples = self.samples[row, name]
        counting = [sample for sample in samples if sample.is_quiet] or samples
        values = {
            part.name: statistics.median(getattr(sample, part.name) for sample in counting)
            for part in fields(Sample)
        }
        return Sample(**values | {"failed": sum(sample.failed for sample in samples)})

    def quiet_rounds(self, row: Row, *names: str) -> int:
        """In how many rounds the machine had no other work while these proxies were measured."""
        rounds = zip(*(self.samples.get((row, name), []) for name in names), strict=False)
        return sum(all(sample.is_quiet for sample in samples) for samples in rounds)

    def cpu_ratio(self, row: Row, name: str, peer: str) -> Spread | None:
        """Processor time of a call against the peer's; None where one of them was not measured."""
        pairs = self._pairs(row, name, peer)
        ratios = [
            mine.cpu_us_per_call / other.cpu_us_per_call for mine, other in pairs if other.cpu_us_per_call
        ]
        return spread(ratios)

    def added_p50_ms(self, row: Row, name: str, peer: str) -> Spread | None:
        """By how much a call takes longer than by the peer."""
        return spread([mine.p50_ms - other.p50_ms for mine, other in self._pairs(row, name, peer)])

    def added_first_event_ms(self, name: str, peer: str) -> Spread | None:
        """By how much a stream's first event comes later than by the peer."""
        mine, others = self.first_event_ms.get(name, []), self.first_event_ms.get(peer, [])
        return spread([one - other for one, other in zip(mine, others, strict=False)])

    def others_busy(self) -> Spread | None:
        """How much of a core the machine's other work took in all measurements, those that do not count among them."""
        return spread([one.others_busy for samples in self.samples.values() for one in samples])

    def failed(self, name: str) -> int:
        """Calls of the proxy that were refused or broke off, under any load."""
        return sum(
            one.failed for (_, found), samples in self.samples.items() if found == name for one in samples
        )

    def _pairs(self, row: Row, name: str, peer: str) -> list[tuple[Sample, Sample]]:
        mine, others = self.samples.get((row, name), []), self.samples.get((row, peer), [])
        pairs = list(zip(mine, others, strict=False))
        return [pair for pair in pairs if all(sample.is_quiet for sample in pair)] or pairs


def spread(values: Sequence[float]) -> Spread | None:
    """None where there is nothing."""
    return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None
