"""The two clocks of the process, as values: decisions are given the time, the shell reads it here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Sources of time; tests give their own."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    """For intervals, limits and breakers: never steps."""
    wall_ns: Callable[[], int] = time.time_ns
    """Since the epoch, for records and for headers that carry a date."""
