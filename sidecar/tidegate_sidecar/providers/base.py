"""What every dialect offers to the shell, and what all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Protocol

from tidegate_policy.model import Dialect, RetryOn

Headers = tuple[tuple[str, str], ...]


OVERLOADED: Final = 529
"""Anthropic's own status for overloaded_error."""

MAX_WORD: Final = 80
"""Characters of a provider's own word for an error that are kept."""


class Operation(StrEnum):
    """What a call asks for."""

    CHAT = "Chat"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a provider reported. None: it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One server-sent event; `data` is the joined data lines."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What an error says to the application, before a dialect gives it a shape."""

    status: int
    code: str
    message: str
    details: dict[str, object]
    """Object, rule, limit and what is left: shown under `tidegate`."""
    request_id: str


class StreamTap(Protocol):
    """Reads one stream as it passes: usage, its proper end, an error inside it."""

    usage: Usage
    complete: bool
    """The dialect's terminal event was seen: nothing of the answer can follow."""
    may_end: bool
    """All text was seen: a connection that ends properly here is an end, in any other place it is a cut."""
    error: str
    """The provider's own word for an error event; empty while there was none."""

    def feed(self, event: SseEvent) -> None:
        """Take one event."""
        ...


class DialectAdapter(Protocol):
    """One dialect. All methods are pure."""

    dialect: Dialect

    def path(self, operation: Operation) -> str:
        """What follows a provider's base URL."""
        ...

    def auth(self, key: str) -> Headers:
        """Headers that carry the key."""
        ...

    def usage(self, document: object) -> Usage:
        """Usage in a whole answer."""
        ...

    def tap(self) -> StreamTap:
        """A reader for one stream."""
        ...

    def error(self, body: ErrorBody) -> bytes:
        """An error as this dialect's SDKs expect it."""
        ...

    def stream_error(self, body: ErrorBody) -> bytes:
        """The same as an event within a stream that has begun."""
        ...


def count(value: object) -> int | None:
    """A token count in a provider's answer, if it is a plausible one."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def classify(status: int) -> RetryOn | None:
    """How an HTTP status counts as a failed try; None when the answer is the caller's to see.

    408 and 425 ask for the same call again by definition (RFC 9110 section 15.5.9, RFC 8470 section 5.2). 503 and
    529 (Anthropic's overloaded_error) say that the provider has more than it can do.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RetryOn.RATE_LIMITED
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, OVERLOADED):
        return RetryOn.OVERLOADED
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT):
        return RetryOn.TIMEOUT
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_EARLY:
        return RetryOn.SERVER_ERROR
    return None


def word_of(error: object, *names: str) -> str:
    """The provider's own word for an error, from the first of these members of `error` that says one."""
    members = error if isinstance(error, dict) else {}
    for name in names:
        if word := members.get(name):
            return str(word)[:MAX_WORD]
    return "error"


def retry_after_ms(headers: Headers, wall_ms: int) -> int | None:
    """How long the provider asks to wait.

    `retry-after-ms` (OpenAI, Azure) is the finer word; `retry-after` is seconds or a date (RFC 9110 section 10.2.3),
    for which `wall_ms` is the time now. None when neither is there or readable.
    """
    found = {name.lower(): value.strip() for name, value in headers if name.lower().startswith("retry-after")}
    for name, factor in (("retry-after-ms", 1), ("retry-after", 1_000)):
        text = found.get(name, "")
        whole, _, decimals = text.partition(".")
        if (
            whole.isascii()
            and whole.isdigit()
            and (not decimals or (decimals.isascii() and decimals.isdigit()))
        ):
            return int(whole[:12]) * factor + (
                int(decimals[:3].ljust(3, "0")) * factor // 1_000 if decimals else 0
            )
    try:
        date = parsedate_to_datetime(found.get("retry-after", ""))
        return max(0, int(date.timestamp() * 1_000) - wall_ms)
    except (ValueError, TypeError, OverflowError):
        return None
