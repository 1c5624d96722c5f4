"""Spelling: what a pattern lets through, with words of any length."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from tidegate_operator.api.fields import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LETTERS: Final = "abcdefghijklmnopqrst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """What a pattern lets through.

    Attributes:
        pattern: the pattern; empty for any text.
        sized: a word of a length, made of a letter; it may miss the pattern where none of that length fits.
        fits: words that are right, by what is remarkable about them.
        misfits: words within the bounds of length that the pattern must refuse, by what is wrong with them.
    """

    pattern: str
    sized: Callable[[int, str], str] = lambda length, letter: letter * length
    fits: Mapping[str, str] = field(default_factory=dict)
    misfits: Mapping[str, str] = field(default_factory=dict)

    def of_length(self, length: int, letter: str = "a") -> str | None:
        """A word of exactly this length; None where the pattern has none."""
        word = self.sized(length, letter)
        return word if len(word) == length and re.fullmatch(self.pattern or r"(?s:.*)", word) else None

    @property
    def is_numbered(self) -> bool:
        """Whether it has a word for each number."""
        return self.of_length(3, "a") is not None and self.of_length(3, "a") != self.of_length(3, "b")

    def numbered(self, index: int) -> str:
        """A word for each number; no two are the same."""
        letter, length = _LETTERS[index % len(_LETTERS)], 3 + index // len(_LETTERS)
        word = self.of_length(length, letter)
        assert word is not None, f"{self.pattern} has no word of {length} characters"
        return word


def pattern_of(text_type: Any) -> str:
    """The pattern of one of the types in the API."""
    (pattern,) = (part.pattern for part in get_args(text_type) if isinstance(part, Text))
    return str(pattern)


def duration_of_length(length: int, _letter: str) -> str:
    """The shortest, or milliseconds; where they alone would be longer than a year, behind the other units."""
    if length == 2:
        return "1s"
    before = "300d1000h10000m100000s" if length > len("999999999ms") else ""
    return f"{before}1{'0' * (length - len(before) - 3)}ms"


def url_of_length(length: int, letter: str) -> str:
    """A URL with a long path."""
    return f"https://llm.example.com/{letter * (length - 24)}"


def time_of_length(length: int, _letter: str) -> str:
    """A time with a long fraction."""
    zone = "+02:00" if length > 30 else "Z"
    fraction = f".{'1' * (length - 20 - len(zone))}" if length > 20 else ""
    return f"2026-11-21T10:00:00{fraction}{zone}"


def label_key_of_length(length: int, letter: str) -> str:
    """A label key, with a prefix where it is long."""
    return letter * length if length <= 63 else f"{letter * (length - 64)}/{letter * 63}"
