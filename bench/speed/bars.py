"""What is demanded of Tidegate with its policies, and whether it was kept. Pure.

CPU is compared with Envoy's in the same round; the bar is lower on the interpreter that the image has, whose build is faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from speed.results import Results, Spread
from speed.targets import ENVOY, POLICIES
from speed.traffic import Row, Shape

WHOLE: Final = Row(Shape.WHOLE, 1, 32)
APART: Final = Row(Shape.APART, 1, 32)
AT_ONCE: Final = Row(Shape.AT_ONCE, 1, 32)
SINGLE: Final = Row(Shape.WHOLE, 1, 1)
BAR_ROWS: Final = (WHOLE, APART, AT_ONCE, SINGLE)

CALL_CPU: Final = 1.2
CALL_CPU_DEBIAN: Final = 1.0
EVENT_CPU: Final = 1.5
ADDED_P50_MS: Final = 0.1
IDLE_MIB: Final = 45.0
SOAK_EARLY_CALLS: Final = 10_000
SOAK_GROWTH: Final = 1.05


@dataclass(frozen=True, slots=True)
class Bar:
    """One demand."""

    what: str
    unit: str
    measured: float
    limit: float
    rounds: Spread | None = None
    """What the rounds that count found, where there were rounds."""
    is_quiet: bool = True
    """Whether they were quiet, so that it says something."""

    @property
    def is_kept(self) -> bool:
        """Whether the measured figure, as it is printed, is within the limit."""
        return round(self.measured, 2) <= self.limit


def judge(results: Results, *, is_on_debians_python: bool) -> Iterator[Bar]:
    """All bars about which something was measured."""
    call_cpu = CALL_CPU_DEBIAN if is_on_debians_python else CALL_CPU
    for row, limit in ((WHOLE, call_cpu), (APART, EVENT_CPU), (AT_ONCE, EVENT_CPU)):
        if (ratio := results.cpu_ratio(row, POLICIES, ENVOY)) is not None:
            yield Bar(f"CPU: {row}", "x Envoy", ratio.median, limit, ratio, _is_quiet(results, row))
    if (added := results.added_p50_ms(SINGLE, POLICIES, ENVOY)) is not None:
        what = f"p50 above Envoy's: {SINGLE}"
        yield Bar(what, "ms", added.median, ADDED_P50_MS, added, _is_quiet(results, SINGLE))
    if (idle_mib := results.idle_mib.get(POLICIES)) is not None:
        yield Bar("memory before the first call", "MiB", idle_mib, IDLE_MIB)


def judge_soak(early_mib: float, late_mib: float, calls: int) -> Bar:
    """Memory after so many calls against memory after the first ten thousand."""
    what = f"memory after {calls:,} calls ({late_mib:.1f} MiB) and {SOAK_EARLY_CALLS:,} ({early_mib:.1f})"
    return Bar(what, "x", late_mib / early_mib, SOAK_GROWTH)


def _is_quiet(results: Results, row: Row) -> bool:
    return results.quiet_rounds(row, POLICIES, ENVOY) > 0
