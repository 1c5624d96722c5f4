"""The OpenAI dialect, also spoken by most local servers (vLLM, Ollama, llama.cpp).

Shapes: OpenAI API reference, "Chat completions" and "Streaming"; "Error codes" for errors.
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

_PATHS = {Operation.CHAT: "/chat/completions"}
_DONE = b"[DONE]"


class OpenAI:
    """See `DialectAdapter`."""

    dialect = Dialect.OPENAI

    def path(self, operation: Operation) -> str:
        """The base URL already ends in the version segment."""
        return _PATHS[operation]

    def auth(self, key: str) -> Headers:
        """A bearer token (RFC 6750 section 2.1)."""
        return (("authorization", f"Bearer {key}"),)

    def usage(self, document: object) -> Usage:
        """The `usage` member; chat completions name its parts prompt and completion."""
        found = document.get("usage") if isinstance(document, dict) else None
        if not isinstance(found, dict):
            return Usage()
        return Usage(count(found.get("prompt_tokens")), count(found.get("completion_tokens")))

    def tap(self) -> StreamTap:
        """Usage comes in the last chunk, if the caller asked for it by `stream_options.include_usage`."""
        return _Tap(self)

    def error(self, body: ErrorBody) -> bytes:
        """`{"error": {...}}` with the code where SDKs look for it."""
        return orjson.dumps(_error(body))

    def stream_error(self, body: ErrorBody) -> bytes:
        """A data event with an `error` member: the SDKs raise it as an API error."""
        return b"data: " + orjson.dumps(_error(body)) + b"\n\n"


def _error(body: ErrorBody) -> dict[str, object]:
    return {
        "error": {
            "message": body.message,
            "type": _TYPES.get(body.status, "server_error"),
            "param": body.details.get("param"),
            "code": body.code,
            "tidegate": {**body.details, "request_id": body.request_id},
        }
    }


_TYPES = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


class _Tap:
    __slots__ = ("_dialect", "complete", "error", "may_end", "usage")

    def __init__(self, dialect: OpenAI) -> None:
        self._dialect = dialect
        self.usage = Usage()
        self.complete = False
        self.may_end = False
        self.error = ""

    def feed(self, event: SseEvent) -> None:
        data = event.data
        if data == _DONE:
            self.complete = self.may_end = True
            return
        # Not every local server ends with [DONE], but all give the last chunk of text a reason, and others null.
        if b'"finish_reason":"' in data or b'"finish_reason": "' in data:
            self.may_end = True
        # Most chunks carry neither: parsing them would be the largest cost of a stream.
        if b'"usage"' not in data and b'"error"' not in data:
            return
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        usage = self._dialect.usage(document)
        if usage != Usage():
            self.usage = usage
        error = document.get("error") if isinstance(document, dict) else None
        if error:
            self.error = word_of(error, "code", "type")
