"""Quantities of Kubernetes (PURE): `100m`, `0.5`, `64Mi`, `1e3`, as exact numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_MAX_LENGTH: Final = 32
_MAX_EXPONENT: Final = 18
_SYNTAX: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE])([+-]?[0-9]{1,2})|([A-Za-z]{0,2}))")
_SUFFIXES: Final = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


def parse_quantity(value: object) -> Fraction | None:
    """The number that a quantity means; None when it is none. YAML's bare numbers are quantities too."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    found = _SYNTAX.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if found is None:
        return None
    number, exponent_mark, exponent, suffix = found.groups()
    if exponent_mark:
        power = int(exponent)
        # Beyond what Kubernetes can hold, and a way to make us compute for long.
        return Fraction(number) * Fraction(10) ** power if abs(power) <= _MAX_EXPONENT else None
    scale = _SUFFIXES.get(suffix)
    return None if scale is None else Fraction(number) * scale
