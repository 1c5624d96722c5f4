"""What a request asks for, where dialects have the same members for it: `model` and `stream` at the top of the body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tidegate_sidecar.dialects.base import Asked, Problem

MAX_MODEL_LENGTH: Final = 256
"""Characters of a model's name."""

_DECIDING: Final = frozenset({"model", "stream"})
"""Members that are decided on."""

_USUAL: Final = frozenset(
    {
        *_DECIDING,
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stop_sequences",
        "store",
        "stream_options",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
    }
)
"""Members that most requests consist of; one comparison tells that none of them needs to be looked at."""

_LONGEST_DECIDING: Final = max(map(len, _DECIDING))

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of surrogate pairs, which no header or log line can carry."""


def model_and_stream(document: Mapping[str, object]) -> Asked | Problem:
    """The model and whether a stream is wanted, or why that cannot be said."""
    for name in () if document.keys() <= _USUAL else document:
        # Some servers (all that use Go's encoding/json) would take this member for the one that was decided on. No
        # spelling is longer than the name itself: case folding makes some characters into two, never two into one.
        if len(name) <= _LONGEST_DECIDING and name not in _DECIDING and name.casefold() in _DECIDING:
            return Problem(f"The body has {name!r}; write {name.casefold()!r}.", name.casefold())
    model = document.get("model")
    if not isinstance(model, str) or not model:
        return Problem("The body has no `model`; it must be the name of a model, a string.", "model")
    if len(model) > MAX_MODEL_LENGTH or _UNPRINTABLE.search(model):
        return Problem(f"`model` must be at most {MAX_MODEL_LENGTH} printable characters.", "model")
    stream = document.get("stream")
    if stream is not None and not isinstance(stream, bool):
        return Problem("`stream` must be true or false.", "stream")
    return Asked(model, bool(stream))


def model_alone(document: Mapping[str, object]) -> Asked | Problem:
    """The model of an operation that is never answered by a stream, or why it cannot be said."""
    asked = model_and_stream(document)
    return asked if isinstance(asked, Problem) else asked._replace(stream=False)
