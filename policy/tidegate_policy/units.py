"""Durations, rates and money as people write them, and as the planes compute with them.

All results are integers: milliseconds, counts, nano-USD. Nothing passes through a float, so "0.15" per million is
exactly 150,000,000 nano-USD and stays so. Errors are `UnitError` and say which spelling would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tidegate_policy.errors import UnitError

NANO_USD_PER_USD: Final = 1_000_000_000

MAX_MONEY_USD: Final = 9_000_000
"""Largest amount of money: in nano-USD it stays below 2**53, so every store and JSON reader keeps it exact."""

MAX_DURATION_MS: Final = 366 * 24 * 3_600_000
"""Longest duration, a leap year."""

DURATION_PATTERN: Final = (
    r"^([1-9][0-9]{0,8}d)?([1-9][0-9]{0,8}h)?([1-9][0-9]{0,8}m)?([1-9][0-9]{0,8}s)?([1-9][0-9]{0,8}ms)?$"
)
"""Positive numbers with their units, each once and the largest first, as in the CRDs' `pattern`; at least one of them."""

MONEY_PATTERN: Final = r"^(0|[1-9][0-9]{0,6})(\.[0-9]{1,9})?$"
"""A decimal number of US dollars with at most nine decimals, as in the CRDs' `pattern`."""

MAX_DURATION_LENGTH: Final = 32
"""Characters of a duration."""

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(DURATION_PATTERN)
_DURATION_PART: Final = re.compile("([0-9]+)([a-z]+)")
_MONEY: Final = re.compile(MONEY_PATTERN)
_RATE: Final = re.compile(r"^([1-9][0-9]{0,11}) per ([0-9a-z]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` per `per_ms` milliseconds; never reduced to a rounded number per second."""

    count: int
    per_ms: int

    def __str__(self) -> str:
        return f"{self.count} per {format_duration(self.per_ms)}"


def parse_duration(text: str) -> int:
    """Milliseconds in ``"250ms"``, ``"30s"``, ``"1h30m"``, ``"24h"`` or ``"90d"``."""
    if not 0 < len(text) <= MAX_DURATION_LENGTH or _DURATION.fullmatch(text) is None:
        raise UnitError(
            f"{text!r} is not a duration; write positive numbers with their units, the largest first: "
            "250ms, 30s, 1h30m, 90d"
        )
    total_ms = sum(int(count) * _UNIT_MS[unit] for count, unit in _DURATION_PART.findall(text))
    if total_ms > MAX_DURATION_MS:
        raise UnitError(f"{text!r} is too long; a duration is at most 366d")
    return total_ms


def format_duration(duration_ms: int) -> str:
    """The shortest spelling that `parse_duration` reads back to the same number."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms >= _UNIT_MS[unit] and duration_ms % _UNIT_MS[unit] == 0:
            return f"{duration_ms // _UNIT_MS[unit]}{unit}"
    return f"{duration_ms}ms"


def parse_rate(text: str) -> Rate:
    """The rate in ``"60 per 1m"``."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise UnitError(f"{text!r} is not a rate; write a count and a duration: 60 per 1m")
    return Rate(count=int(match[1]), per_ms=parse_duration(match[2]))


def parse_money(text: str) -> int:
    """Nano-USD in a decimal number of dollars such as ``"0.15"`` or ``"5000"``.

    A price per million tokens is read the same way: the result is nano-USD per million tokens.
    """
    match = _MONEY.fullmatch(text)
    if match is None:
        raise UnitError(
            f"{text!r} is not an amount of money; write dollars as a quoted decimal with at most nine decimals: "
            '"0.15", "5000.00"'
        )
    whole, _, decimals = text.partition(".")
    amount = int(whole) * NANO_USD_PER_USD + int(decimals.ljust(9, "0") or "0")
    if amount > MAX_MONEY_USD * NANO_USD_PER_USD:
        raise UnitError(f"{text!r} is too much; an amount is at most {MAX_MONEY_USD} USD")
    return amount


def format_money(amount_nano_usd: int) -> str:
    """The shortest decimal number of dollars that `parse_money` reads back to the same amount."""
    whole, rest = divmod(amount_nano_usd, NANO_USD_PER_USD)
    decimals = f"{rest:09d}".rstrip("0")
    return f"{whole}.{decimals}" if decimals else str(whole)
