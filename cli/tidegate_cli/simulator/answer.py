"""What the simulated model says, and how many tokens that is.

The rule of counting, simple enough for a test to do it by hand: one token per word (what `str.split` yields), and
`ATTACHMENT_TOKENS` for every content part without text. Tool definitions cost nothing. A request has at least one
token. Several choices cost several times the answer. PURE: the same request gets the same answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate_cli.simulator.behaviour import UsageReport

if TYPE_CHECKING:
    from tidegate_cli.simulator.behaviour import Behaviour
    from tidegate_cli.simulator.prompt import Prompt

ATTACHMENT_TOKENS: Final = 100
"""Tokens of an image, a tool call or any other part that is not text."""

ECHO_WORDS_MAX: Final = 8
"""So many words of the question come back in the answer."""

_ECHO_CHARACTERS_MAX: Final = 80
_WORD_STARTS: Final = re.compile(r"(?<=\s)(?=\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a call, before a dialect dresses it.

    Attributes:
        text: all of it.
        pieces: the same text in the deltas of a stream; at least one.
        is_truncated: the caller's bound on output tokens ended it.
        input_tokens: to be reported for the request.
        output_tokens: to be reported for the answer, all choices together.
        has_usage: whether token counts are reported at all.
    """

    text: str
    pieces: tuple[str, ...]
    is_truncated: bool
    input_tokens: int
    output_tokens: int
    has_usage: bool


def compose(prompt: Prompt, behaviour: Behaviour) -> Answer:
    """The answer that `behaviour` gives to `prompt`.

    The caller's bound on output tokens shortens the text, except one whose size was asked for; reported counts keep
    within the bound either way, unless `behaviour.output_tokens` says otherwise.
    """
    full = _sentence(prompt)
    if behaviour.size_bytes is not None:
        full = _sized(full, behaviour.size_bytes)
    elif behaviour.chunks is not None:
        full = _prolonged(full, behaviour.chunks)
    words = count_words(full)
    bound = words if prompt.output_tokens_max is None else min(words, prompt.output_tokens_max)
    text = full if behaviour.size_bytes is not None else " ".join(full.split()[:bound])
    counted_input = max(1, sum(map(count_words, prompt.texts)) + prompt.attachments * ATTACHMENT_TOKENS)
    return Answer(
        text=text,
        pieces=split(text, behaviour.chunks or max(1, bound)),
        is_truncated=bound < words,
        input_tokens=counted_input if behaviour.input_tokens is None else behaviour.input_tokens,
        output_tokens=bound * prompt.choices if behaviour.output_tokens is None else behaviour.output_tokens,
        has_usage=behaviour.usage is UsageReport.FULL,
    )


def count_words(text: str) -> int:
    """Tokens of `text` by the simulator's rule."""
    return len(text.split())


def split(text: str, count: int) -> tuple[str, ...]:
    """`text` in `count` consecutive pieces, at word boundaries where there are enough words, else anywhere.

    Pieces beyond the number of characters are empty; joined together they are always `text`.
    """
    units = _WORD_STARTS.split(text)
    if len(units) < count:
        units = list(text)
    return tuple(
        "".join(units[place * len(units) // count : (place + 1) * len(units) // count])
        for place in range(count)
    )


def _sentence(prompt: Prompt) -> str:
    echo = " ".join(prompt.question.split()[:ECHO_WORDS_MAX])[:_ECHO_CHARACTERS_MAX]
    return " ".join(f"Simulated answer of {prompt.model} to: {echo}".split())


def _prolonged(sentence: str, words: int) -> str:
    own = sentence.split()
    return " ".join(own[place % len(own)] for place in range(max(words, len(own))))


def _sized(sentence: str, size_bytes: int) -> str:
    unit = f"{sentence} ".encode()
    # A character that the limit would split goes, and full stops make up for it.
    whole = (unit * (size_bytes // len(unit) + 1))[:size_bytes].decode(errors="ignore")
    return whole + "." * (size_bytes - len(whole.encode()))
