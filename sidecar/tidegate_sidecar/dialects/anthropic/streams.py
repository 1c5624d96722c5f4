"""Reading a stream of events: Anthropic API reference, "Streaming messages".

As the Anthropic SDKs read it, the `type` in the data says what an event is; the event's own name says only whether it is a
`ping`, which nobody reads, or an `error`, which is one whatever its data is. What has another name, or none, and cannot
be read is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any, Final

from orjson import loads

from tidegate_sidecar.dialects.anthropic.taxonomy import judge_event
from tidegate_sidecar.dialects.anthropic.usage import later, usage_in
from tidegate_sidecar.dialects.base import NO_USAGE, Event, Judged, UnreadableError, Usage
from tidegate_sidecar.dialects.json_text import read_json, what_is
from tidegate_sidecar.dialects.judging import is_error
from tidegate_sidecar.dialects.members import object_in

_NAMES: Final = frozenset(
    {
        b"message_start",
        b"content_block_start",
        b"content_block_delta",
        b"content_block_stop",
        b"message_delta",
        b"message_stop",
    }
)
"""Names of events whose data every SDK reads."""

_SPOKEN: Final = frozenset({"text", "thinking"})
"""Types of content blocks that begin empty; all others are a part of the answer as they begin."""


class MessageReader:
    """Reads one stream of events."""

    __slots__ = ("failure", "has_content", "is_complete", "usage")

    def __init__(self) -> None:
        self.usage: Usage = NO_USAGE
        self.has_content = False
        self.is_complete = False
        self.failure: Judged | None = None

    @property
    def may_end(self) -> bool:
        """After `message_stop` alone."""
        return self.is_complete

    def read(self, event: Event) -> None:
        _, name, data = event
        if name == b"error":
            self._fail(_read_anyway(data))
            return
        if not data or name == b"ping":
            return
        try:
            document = loads(data)
        except JSONDecodeError:
            document = _read_anyway(data)
        if type(document) is not dict:
            if name in _NAMES:
                raise UnreadableError(
                    f"a {name.decode()} event of {len(data)} bytes that is {what_is(data)}, not a JSON object"
                )
            return
        kind = document.get("type")
        if kind != "content_block_delta":
            self._take(kind, document)
        elif not self.has_content:
            delta = object_in(document, "delta")
            self.has_content = any(value for name, value in delta.items() if name != "type")

    def _take(self, kind: object, document: dict[str, Any]) -> None:
        """Anything but the pieces of the answer."""
        if kind == "content_block_start":
            self.has_content = self.has_content or _begins_with_content(object_in(document, "content_block"))
        elif kind == "message_start":
            message = object_in(document, "message")
            self.usage = later(self.usage, usage_in(message))
            # A call of a tool by code that the provider itself runs comes whole in the opening.
            self.has_content = self.has_content or bool(message.get("content"))
        elif kind == "message_delta":
            self.usage = later(self.usage, usage_in(document))
            if object_in(document, "delta").get("stop_reason"):
                self.has_content = True  # an answer that is empty is still the answer
        elif kind == "message_stop":
            self.is_complete = True
        elif is_error(document):
            self._fail(document)

    def _fail(self, document: object) -> None:
        if self.failure is None:
            self.failure = judge_event(document)


def _begins_with_content(block: Mapping[str, Any]) -> bool:
    kind = block.get("type")
    return type(kind) is str and (kind not in _SPOKEN or bool(block.get(kind)))


def _read_anyway(data: bytes) -> object:
    try:
        return read_json(data)
    except ValueError:
        return None
