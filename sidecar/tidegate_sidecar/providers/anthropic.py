"""The Anthropic dialect: messages.

Shapes: Anthropic API reference, "Messages", "Streaming messages" and "Errors".
"""

from __future__ import annotations

import orjson

from tidegate_policy.model import Dialect
from tidegate_sidecar.providers.base import (
    ErrorBody,
    Headers,
    Operation,
    SseEvent,
    StreamTap,
    Usage,
    count,
    word_of,
)

_PATHS = {Operation.CHAT: "/messages"}


class Anthropic:
    """See `DialectAdapter`."""

    dialect = Dialect.ANTHROPIC

    def path(self, operation: Operation) -> str:
        """The base URL already ends in the version segment."""
        return _PATHS[operation]

    def auth(self, key: str) -> Headers:
        """Anthropic's own header; `anthropic-version` comes from the caller's SDK."""
        return (("x-api-key", key),)

    def usage(self, document: object) -> Usage:
        """The `usage` member of a message or of a stream's event."""
        found = document.get("usage") if isinstance(document, dict) else None
        if not isinstance(found, dict):
            return Usage()
        return Usage(count(found.get("input_tokens")), count(found.get("output_tokens")))

    def tap(self) -> StreamTap:
        """Input tokens come with `message_start`, output tokens, cumulative, with each `message_delta`."""
        return _Tap(self)

    def error(self, body: ErrorBody) -> bytes:
        """`{"type": "error", ...}`; the type is what SDKs read, the code stands in our own part."""
        return orjson.dumps(_error(body))

    def stream_error(self, body: ErrorBody) -> bytes:
        """An `error` event, which the SDKs raise."""
        return b"event: error\ndata: " + orjson.dumps(_error(body)) + b"\n\n"


def _error(body: ErrorBody) -> dict[str, object]:
    return {
        "type": "error",
        "error": {
            "type": _TYPES.get(body.status, "api_error"),
            "message": body.message,
            "tidegate": {"code": body.code, **body.details},
        },
        "request_id": body.request_id,
    }


_TYPES = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class _Tap:
    __slots__ = ("_dialect", "complete", "error", "may_end", "usage")

    def __init__(self, dialect: Anthropic) -> None:
        self._dialect = dialect
        self.usage = Usage()
        self.complete = False
        self.may_end = False
        self.error = ""

    def feed(self, event: SseEvent) -> None:
        if event.name == "content_block_delta":
            return
        if event.name == "message_stop":
            self.complete = self.may_end = True
            return
        if event.name not in ("message_start", "message_delta", "error"):
            return
        try:
            document = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return
        if not isinstance(document, dict):
            return
        if event.name == "error":
            self.error = word_of(document.get("error"), "type")
            return
        usage = self._dialect.usage(document.get("message") if event.name == "message_start" else document)
        self.usage = Usage(
            usage.input_tokens if usage.input_tokens is not None else self.usage.input_tokens,
            usage.output_tokens if usage.output_tokens is not None else self.usage.output_tokens,
        )
