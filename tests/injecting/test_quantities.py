"""Quantities mean what Kubernetes means by them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_operator.inject.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.", Fraction(1)),
        (1, Fraction(1)),
        (0.5, Fraction(1, 2)),
        ("64Mi", Fraction(64 * 2**20)),
        ("1G", Fraction(10**9)),
        ("1e3", Fraction(1000)),
        ("1E", Fraction(10**18)),
        ("1E-3", Fraction(1, 1000)),
        ("-1", Fraction(-1)),
    ],
)
def test_a_quantity(text: object, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "1 Mi", "1mi", "1KB", "1e99", "1" * 33, "0x1", "\u0661", None, True, [], "1\n"]
)
def test_no_quantity(text: object) -> None:
    assert parse_quantity(text) is None


@settings(deadline=None)
@given(st.integers(1, 10**6), st.sampled_from(["m", "", "k", "Ki", "Mi", "Gi"]))
def test_order_is_kept(number: int, suffix: str) -> None:
    less, more = parse_quantity(f"{number}{suffix}"), parse_quantity(f"{number + 1}{suffix}")
    assert less is not None
    assert more is not None
    assert less < more
