"""Usage in whole answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects.anthropic import Anthropic
from tidegate_sidecar.dialects.base import NO_USAGE, Dialect, Usage
from tidegate_sidecar.dialects.openai import OpenAI
from tidegate_sidecar.dialects.registry import DEFAULT

MEMBERS = st.sampled_from(
    [
        "cache_read_input_tokens",
        "cached_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "prompt_tokens",
        "prompt_tokens_details",
        "usage",
        "x_groq",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=5),
    max_leaves=10,
)


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
@given(document=ANYTHING | st.fixed_dictionaries({"usage": ANYTHING}))
def test_only_plausible_numbers_are_believed(dialect: Dialect, document: object) -> None:
    for tokens in dialect.usage(document):
        assert tokens is None or (type(tokens) is int and 0 <= tokens < 2**53)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, Usage(3, 0)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3)),
        ({"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}, Usage(3, 0)),
        (
            {
                "input_tokens": 30,
                "input_tokens_details": {"cached_tokens": 10},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(30, 20, 10, None, 15),
        ),
        ({"prompt_tokens": 3, "input_tokens": 4, "completion_tokens": 1}, Usage(3, 1)),
        (
            {
                "prompt_tokens": 30,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(30, 20, cached_input_tokens=10, reasoning_tokens=15),
        ),
        ({"prompt_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": []}, Usage(3)),
        ({"prompt_tokens": True, "completion_tokens": -1}, NO_USAGE),
        ({"prompt_tokens": "3", "completion_tokens": 1.5}, NO_USAGE),
        ({"prompt_tokens": 2**53, "completion_tokens": 2**53 - 1}, Usage(None, 2**53 - 1)),
        (None, NO_USAGE),
        ([], NO_USAGE),
    ],
)
def test_usage_of_openai(usage: object, expected: Usage) -> None:
    assert OpenAI().usage({"usage": usage}) == expected


def test_usage_of_anthropic_has_the_cache_beside_the_input() -> None:
    usage = {
        "input_tokens": 3,
        "output_tokens": 4,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 6,
    }
    assert Anthropic().usage({"usage": usage}) == Usage(3, 4, cached_input_tokens=5, cache_write_tokens=6)
    assert (
        Anthropic().usage({"usage": {**usage, "cache_read_input_tokens": None}}).cached_input_tokens is None
    )
