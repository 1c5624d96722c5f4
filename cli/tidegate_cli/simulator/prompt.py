"""What a request asks, whichever dialect it is in: the values that the answer depends on, and how to read them.

PURE. A dialect calls `read_object`, then the field readers, and builds a `Prompt`; each reader raises `RequestError`
naming the field, as a provider would answer 400.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class RequestError(ValueError):
    """The request is not one that a provider would accept.

    Attributes:
        status: the HTTP status that says so.
        param: the field that is wrong, None where it is not one field.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The parts of a request that shape the answer.

    Attributes:
        model: as the caller wrote it; every name is served.
        is_stream: the answer is wanted as events.
        texts: all text of the request, in order: instructions, then messages.
        attachments: number of content parts without text, such as images and tool calls.
        question: text of the last message, which the answer echoes.
        output_tokens_max: the caller's bound on the answer; None: unbounded.
        choices: number of answers wanted.
        wants_stream_usage: a stream is to end with its usage (OpenAI reports it only on request).
    """

    model: str
    is_stream: bool
    texts: tuple[str, ...]
    attachments: int
    question: str
    output_tokens_max: int | None
    choices: int
    wants_stream_usage: bool


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError("The body must be a JSON object.")
    return value


def read_text(fields: Mapping[str, Any], name: str) -> str:
    """A text that must be there and not be empty."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise RequestError(f"{name}: a text is required.", param=name)
    return value


def read_switch(fields: Mapping[str, Any], name: str) -> bool:
    """True or false; absent and null are false."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{name}: true or false is required, not {type(value).__name__}.", param=name)
    return bool(value)


def read_count(fields: Mapping[str, Any], name: str) -> int | None:
    """A positive whole number; absent and null are None."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestError(f"{name}: a positive whole number is required.", param=name)
    return value


def read_messages(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation: at least one message, each with a role."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages: at least one message is required.", param="messages")
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            place = f"messages[{position}]"
            raise RequestError(f"{place}: an object with a role is required.", param=place)
    return messages


def texts_in(content: object) -> tuple[str, ...]:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return (content,)
    return tuple(part["text"] for part in _parts(content) if isinstance(part.get("text"), str))


def attachments_in(content: object) -> int:
    """How many parts of a message's content carry no text."""
    return sum(not isinstance(part.get("text"), str) for part in _parts(content))


def _parts(content: object) -> Iterator[dict[str, Any]]:
    if isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))
