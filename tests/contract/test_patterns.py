"""A pattern of model names: the star is any run of characters, everything else is itself."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate_policy.patterns import matches, matches_any


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "anything", True),
        ("*", "", True),
        ("**", "anything", True),
        ("gpt-*", "gpt-4o", True),
        ("gpt-*", "gpt-", True),
        ("gpt-*", "xgpt-4o", False),
        ("*mini", "gpt-4o-mini", True),
        ("*mini", "gpt-4o-mini-2", False),
        ("g*o*i", "gpt-4o-mini", True),
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-?o", "gpt-4o", False),
        ("gpt-[0-9]o*", "gpt-4o", False),
        ("a[b]*", "a[b]c", True),
        ("gpt.4o*", "gpt-4o", False),
        ("GPT*", "gpt-4o", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*b*ba", "abba", False),
        ("*a*\n", "xay\n", True),
        ("gpt*", "gpt\n4o", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_the_star_alone_is_special(pattern: str, name: str, *, expected: bool) -> None:
    assert matches(pattern, name) is expected


def naive(pattern: str, name: str) -> bool:
    """The definition, tried out in every way there is."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(naive(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return name[:1] == pattern[0] and naive(pattern[1:], name[1:])


@given(pattern=st.text("ab*", max_size=8), name=st.text("ab", max_size=10))
@example(pattern="a*a", name="a")
@example(pattern="*ab*ab", name="abab")
def test_a_match_is_found_exactly_when_there_is_one(pattern: str, name: str) -> None:
    assert matches(pattern, name) is naive(pattern, name)


@given(pieces=st.lists(st.text(), min_size=1, max_size=5), runs=st.lists(st.text(), min_size=4, max_size=4))
def test_whatever_the_stars_are_replaced_with_matches(pieces: list[str], runs: list[str]) -> None:
    name = pieces[0] + "".join(run + piece for run, piece in zip(runs, pieces[1:], strict=False))
    assert matches("*".join(pieces), name)


def test_one_of_several_patterns_is_enough() -> None:
    assert matches_any(("gpt-4o", "claude-*"), "claude-opus-4")
    assert not matches_any(("gpt-4o", "claude-*"), "gpt-4o-mini")
    assert not matches_any((), "gpt-4o")


def test_a_pattern_full_of_stars_takes_no_time() -> None:
    """A matcher that goes back would take longer than the world has existed."""
    started_ns = time.process_time_ns()
    assert not matches("*a" * 128 + "b", "a" * 256)
    assert not matches("*a*b" * 64, "a" * 10_000)
    assert time.process_time_ns() - started_ns < 1_000_000_000
