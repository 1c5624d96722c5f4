"""Durations, rates and money are exact integers, and a wrong spelling is told the right one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_policy.errors import UnitError
from tidegate_policy.units import (
    MAX_DURATION_MS,
    MAX_MONEY_USD,
    NANO_USD_PER_USD,
    Rate,
    format_duration,
    format_money,
    parse_duration,
    parse_money,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("1ms", 1),
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("24h", 86_400_000),
        ("90d", 7_776_000_000),
        ("1h30m", 5_400_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("366d", MAX_DURATION_MS),
    ],
)
def test_duration_is_read_as_milliseconds(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize(
    "text", ["", "0s", "30", "s", "30 s", "1.5h", "-1s", "30s1m", "1m1m", "30S", "30s\n", "٣s", "01s", "1w"]
)
def test_what_is_no_duration_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(UnitError, match="the largest first: 250ms, 30s, 1h30m, 90d"):
        parse_duration(text)


def test_duration_beyond_a_leap_year_is_refused() -> None:
    with pytest.raises(UnitError, match="at most 366d"):
        parse_duration("367d")


@given(st.integers(min_value=1, max_value=MAX_DURATION_MS))
def test_every_duration_reads_back_as_it_was_written(duration_ms: int) -> None:
    # milliseconds beyond nine digits have no spelling of their own
    if duration_ms % 1000 and duration_ms >= 10**9:
        duration_ms -= duration_ms % 1000
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("duration_ms", "text"), [(1_500, "1500ms"), (90_000, "90s"), (60_000, "1m"), (172_800_000, "2d")]
)
def test_duration_is_written_in_its_largest_whole_unit(duration_ms: int, text: str) -> None:
    assert format_duration(duration_ms) == text


def test_rate_keeps_its_count_and_its_time_apart() -> None:
    assert parse_rate("60 per 1m") == Rate(count=60, per_ms=60_000)
    assert str(parse_rate("60 per 1m")) == "60 per 1m"


@pytest.mark.parametrize("text", ["60", "60/m", "0 per 1m", "60 per", "60 per 0s", " 60 per 1m"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "nano_usd"),
    [
        ("0", 0),
        ("0.15", 150_000_000),
        ("0.000000001", 1),
        ("5000.00", 5_000 * NANO_USD_PER_USD),
        ("9000000", MAX_MONEY_USD * NANO_USD_PER_USD),
    ],
)
def test_money_is_read_exactly(text: str, nano_usd: int) -> None:
    assert parse_money(text) == nano_usd


@pytest.mark.parametrize("text", ["", ".5", "1.", "01", "-1", "1e3", "1,000", "$5", "0.0000000001", "1 "])
def test_what_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="not an amount of money"):
        parse_money(text)


def test_money_that_stores_cannot_keep_exact_is_refused() -> None:
    with pytest.raises(UnitError, match="at most 9000000 USD"):
        parse_money("9000000.000000001")
    assert MAX_MONEY_USD * NANO_USD_PER_USD < 2**53


@given(st.integers(min_value=0, max_value=MAX_MONEY_USD * NANO_USD_PER_USD))
def test_every_amount_reads_back_as_it_was_written(nano_usd: int) -> None:
    assert parse_money(format_money(nano_usd)) == nano_usd
