"""Patterns of model names: `*` is any run of characters, none included; nothing else is special, and case counts.

One matcher for both planes, so that what the compiler says a pattern matches is what a sidecar lets through. Matching
never goes back: after each star the first place where the next piece stands is as good as any later one, which leaves
the most to those that follow. However many stars there are, the time is at most that of looking through the name once
for each piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

STAR: Final = "*"
"""The pattern that every name matches, and the one special character."""


def matches(pattern: str, name: str) -> bool:
    """Whether the whole of `name` matches `pattern`."""
    if STAR not in pattern:
        return name == pattern
    first, *middle, last = pattern.split(STAR)
    at, end = len(first), len(name) - len(last)
    # the first and the last piece must not share characters: "a*a" is not met by "a"
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for piece in middle:
        at = name.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether `name` matches at least one of `patterns`."""
    return any(matches(pattern, name) for pattern in patterns)
