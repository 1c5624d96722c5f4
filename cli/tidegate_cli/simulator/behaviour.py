"""How the simulated provider behaves towards a call: slow, failing, cut, silent; and how people say so.

One table of instructions serves request headers (`x-simulate-delay: 250ms`) and flags (`--delay 250ms`), so both
accept the same values and complain in the same words. PURE: no clock, no I/O.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tidegate_policy.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADER_PREFIX: Final = "x-simulate-"
"""Every request header that starts like this is an instruction; an unknown one is an error, since it is a typo."""

ONLY_HEADER: Final = "x-simulate-only"
"""Names the providers that the other instruction headers of the request are meant for."""

CHUNKS_MAX: Final = 10_000
SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
TOKENS_MAX: Final = 10_000_000

PROVIDER_NAME_PATTERN: Final = r"[A-Za-z0-9._-]{1,63}"
"""What may stand for NAME in `/providers/NAME/v1/...`."""

_STATUS_DEFAULT: Final = 503
_NAMES: Final = re.compile(rf"{PROVIDER_NAME_PATTERN}(\s*,\s*{PROVIDER_NAME_PATTERN})*")


class BehaviourError(ValueError):
    """An instruction cannot be followed; the message names the header or flag and what it allows."""


class Garbage(enum.StrEnum):
    """Answers that no client can read."""

    BODY = "body"
    """Status 200, content type JSON, a body that is not JSON."""
    STREAM = "stream"
    """One `data:` line of the stream is not JSON; calls that do not stream are answered as usual."""
    HTTP = "http"
    """Bytes that are not HTTP, then the connection closes."""
    EMPTY = "empty"
    """The connection closes without a byte."""


class UsageReport(enum.StrEnum):
    """Whether an answer says how many tokens it took."""

    FULL = "full"
    NONE = "none"
    """As some local servers do: no usage anywhere, even where the dialect demands it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a provider does with a call; the default is to answer at once, correctly and completely.

    Places in an answer (`cut_after`, `stall_after`, `stream_error_after`) are numbers of text deltas already sent;
    0 is before the first text, a number beyond the last delta is right after the last one. Calls that do not stream
    are cut or stalled after half of the body, whatever the number, and have no stream error.

    Attributes:
        status: HTTP status of a failure, 400 to 599; None: no failure.
        fail_percent: how many of 100 calls fail with `status`.
        retry_after: `Retry-After` of every answer, sent as it is; None: no such header.
        delay_ms: from the end of the request to the head of the answer, failures included.
        first_token_delay_ms: from the head of a stream to its first text delta.
        chunk_delay_ms: between two text deltas of a stream.
        chunks: number of text deltas; None: one per word. An answer with fewer words is prolonged to that many.
        cut_after: close the TCP connection in the middle of the answer; None: never.
        stall_after: stop sending in the middle of the answer until the client leaves; None: never.
        stream_error_after: end the stream with an error event in the dialect; None: never.
        garbage: an answer that is not readable; None: readable.
        usage: whether token counts are reported.
        input_tokens: reported instead of the counted ones; None: the count.
        output_tokens: the same for the answer.
        size_bytes: length of the answer's text in UTF-8; None: one short sentence.
        accepted_keys: any other provider key gets 401; None: any key. Never in a repr.
    """

    status: int | None = None
    fail_percent: int = 100
    retry_after: str | None = None
    delay_ms: int = 0
    first_token_delay_ms: int = 0
    chunk_delay_ms: int = 0
    chunks: int | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    stream_error_after: int | None = None
    garbage: Garbage | None = None
    usage: UsageReport = UsageReport.FULL
    input_tokens: int | None = None
    output_tokens: int | None = None
    size_bytes: int | None = None
    accepted_keys: frozenset[str] | None = field(default=None, repr=False)

    def failure(self, draw: float) -> int | None:
        """The status a call fails with, for a `draw` in [0, 1) of the caller's random numbers; None: it succeeds."""
        return self.status if draw * 100 < self.fail_percent else None


WELL_BEHAVED: Final = Behaviour()
"""Answers at once, correctly and completely."""


class Instruction(NamedTuple):
    """One thing the simulator can be told; the command line makes a flag of each.

    Attributes:
        name: the header without its prefix, the flag without its dashes.
        field: the attribute of `Behaviour` that it sets.
        parse: text to value; any `ValueError` means that the text is not allowed.
        allowed: what may be written, for messages.
        effect: what it does, for help texts.
    """

    name: str
    field: str
    parse: Callable[[str], object]
    allowed: str
    effect: str


def from_headers(headers: Mapping[str, str], defaults: Behaviour, *, provider: str) -> Behaviour:
    """The behaviour towards a request with these headers, sent to the provider of this name.

    Every instruction is checked, also those that `x-simulate-only` keeps away from this provider.

    Raises:
        BehaviourError: a value is not allowed, or no such instruction exists.
    """
    instructions = {name.lower(): text.strip() for name, text in headers.items()}
    only = instructions.pop(ONLY_HEADER, None)
    if only is not None and _NAMES.fullmatch(only) is None:
        raise BehaviourError(
            f"{ONLY_HEADER}: {only!r} is not allowed; write names of providers, with commas between"
        )
    behaviour = _instructed(
        {name: text for name, text in instructions.items() if name.startswith(HEADER_PREFIX)},
        HEADER_PREFIX,
        defaults,
    )
    is_meant = only is None or provider in (name.strip() for name in only.split(","))
    return behaviour if is_meant else defaults


def behaviour_from_flags(**flags: str | None) -> Behaviour:
    """The default behaviour that flags ask for: `behaviour_from_flags(delay="250ms", fail_percent="10")`.

    The names are those of `INSTRUCTIONS` with underscores; None is a flag that was not given.

    Raises:
        BehaviourError: a value is not allowed, or no such instruction exists.
    """
    given = {f"--{name.replace('_', '-')}": text for name, text in flags.items() if text is not None}
    return _instructed(given, "--", Behaviour())


def _instructed(given: Mapping[str, str], prefix: str, defaults: Behaviour) -> Behaviour:
    by_name = {instruction.name: instruction for instruction in INSTRUCTIONS}
    changes: dict[str, Any] = {}
    for source, text in given.items():
        instruction = by_name.get(source.removeprefix(prefix))
        if instruction is None:
            raise BehaviourError(f"{source}: no such instruction; there are {', '.join(by_name)}")
        try:
            changes[instruction.field] = instruction.parse(text)
        except ValueError as error:
            raise BehaviourError(f"{source}: {text!r} is not allowed; write {instruction.allowed}") from error
    if "status" in changes:
        # An explicit status is meant for every call, whatever share of calls fails by default.
        changes.setdefault("fail_percent", 100)
    elif "fail_percent" in changes and defaults.status is None:
        changes["status"] = _STATUS_DEFAULT
    return replace(defaults, **changes)


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() alone would take "+1", "1_000" and digits of other scripts.
        if re.fullmatch(r"[0-9]{1,9}", text) is None or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def _status(text: str) -> int | None:
    return None if text == "200" else _number(400, 599)(text)


def _delay_ms(text: str) -> int:
    return 0 if text == "0" else parse_duration(text)


def _retry_after(text: str) -> str:
    if not text.isascii() or not text.isdecimal():
        parsedate_to_datetime(text)
    return text


_COUNT: Final = f"a whole number from 0 to {CHUNKS_MAX}"
_TOKENS: Final = f"a whole number from 0 to {TOKENS_MAX}"
_DELAY: Final = "0 or a duration such as 250ms, 2s or 1m"

INSTRUCTIONS: Final = (
    Instruction(
        "status", "status", _status, "200 or an error status from 400 to 599", "fail with this HTTP status"
    ),
    Instruction(
        "fail-percent", "fail_percent", _number(0, 100), "a whole number from 0 to 100", "share that fails"
    ),
    Instruction(
        "retry-after", "retry_after", _retry_after, "whole seconds or an HTTP date", "send Retry-After"
    ),
    Instruction("delay", "delay_ms", _delay_ms, _DELAY, "wait before the head of the answer"),
    Instruction("first-token-delay", "first_token_delay_ms", _delay_ms, _DELAY, "wait before the first text"),
    Instruction("chunk-delay", "chunk_delay_ms", _delay_ms, _DELAY, "wait between text deltas"),
    Instruction(
        "chunks",
        "chunks",
        _number(1, CHUNKS_MAX),
        f"a whole number from 1 to {CHUNKS_MAX}",
        "number of text deltas",
    ),
    Instruction(
        "cut-after", "cut_after", _number(0, CHUNKS_MAX), _COUNT, "close the connection after so many deltas"
    ),
    Instruction(
        "stall-after", "stall_after", _number(0, CHUNKS_MAX), _COUNT, "fall silent after so many deltas"
    ),
    Instruction(
        "stream-error",
        "stream_error_after",
        _number(0, CHUNKS_MAX),
        _COUNT,
        "send an error event after so many deltas",
    ),
    Instruction("garbage", "garbage", Garbage, " or ".join(Garbage), "answer something unreadable"),
    Instruction("usage", "usage", UsageReport, " or ".join(UsageReport), "report token counts or not"),
    Instruction(
        "input-tokens", "input_tokens", _number(0, TOKENS_MAX), _TOKENS, "report so many input tokens"
    ),
    Instruction(
        "output-tokens", "output_tokens", _number(0, TOKENS_MAX), _TOKENS, "report so many output tokens"
    ),
    Instruction(
        "size",
        "size_bytes",
        _number(0, SIZE_BYTES_MAX),
        f"a whole number from 0 to {SIZE_BYTES_MAX}",
        "bytes of answer text",
    ),
)
"""Everything that headers and flags can say; `x-simulate-only` alone is a header without a flag."""
