"""The dialect of Anthropic's messages. PURE.

Field by field as in Anthropic's API reference, with the order of events that its streaming guide prescribes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from tidegate_cli.simulator.dialect import Events
from tidegate_cli.simulator.prompt import (
    Prompt,
    RequestError,
    attachments_in,
    read_count,
    read_messages,
    read_object,
    read_switch,
    read_text,
    texts_in,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_cli.simulator.dialect import Call

REQUEST_ID_HEADER: Final = "request-id"

_MODEL_CREATED_AT: Final = "2026-01-01T00:00:00Z"
_SERVER_ERROR: Final = 500
_ERRORS: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def read_prompt(body: bytes) -> Prompt:
    """The prompt in a request to `/v1/messages`; raises `RequestError`."""
    fields = read_object(body)
    model = read_text(fields, "model")
    messages = read_messages(fields)
    output_tokens_max = read_count(fields, "max_tokens")
    if output_tokens_max is None:
        raise RequestError("max_tokens: a positive whole number is required.", param="max_tokens")
    contents = [fields.get("system"), *(message.get("content") for message in messages)]
    return Prompt(
        model=model,
        is_stream=read_switch(fields, "stream"),
        texts=tuple(text for content in contents for text in texts_in(content)),
        attachments=sum(map(attachments_in, contents)),
        question=" ".join(texts_in(contents[-1])),
        output_tokens_max=output_tokens_max,
        choices=1,
        wants_stream_usage=True,
    )


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key in `x-api-key`, or the token in `Authorization: Bearer` that Anthropic takes as well."""
    key = headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def request_id(number: int) -> str:
    """As in the header and in the bodies of errors."""
    return f"req_simulated_{number:08d}"


def completion(call: Call) -> dict[str, Any]:
    """A `message` object."""
    message = _message(call)
    message["content"] = [{"type": "text", "text": call.answer.text}]
    message["stop_reason"] = _stop_reason(call)
    if call.answer.has_usage:
        message["usage"] = _usage(call, output_tokens=call.answer.output_tokens)
    return message


def events(call: Call) -> Events:
    """One content block of text between the events of its message."""
    message = _message(call)
    end: dict[str, Any] = {"delta": {"stop_reason": _stop_reason(call), "stop_sequence": None}}
    if call.answer.has_usage:
        # The start knows the input; the output counted so far is a first token. The end has the totals.
        message["usage"] = _usage(call, output_tokens=min(1, call.answer.output_tokens))
        end["usage"] = _usage(call, output_tokens=call.answer.output_tokens)
    return Events(
        opening=(
            _event("message_start", {"message": message}),
            _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            _event("ping", {}),
        ),
        deltas=tuple(
            (_event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": piece}}),)
            for piece in call.answer.pieces
        ),
        closing=(
            _event("content_block_stop", {"index": 0}),
            _event("message_delta", end),
            _event("message_stop", {}),
        ),
    )


def error(status: int, message: str, *, number: int, param: str | None = None) -> dict[str, Any]:
    """Anthropic's error object; it has no place for the field, which the message names."""
    _ = param
    kind = _ERRORS.get(status, "api_error" if status >= _SERVER_ERROR else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id(number)}


def stream_error(*, number: int) -> bytes:
    """The `error` event of an overloaded provider."""
    body = error(529, "The simulated provider is overloaded.", number=number)
    return _event("error", {"error": body["error"], "request_id": body["request_id"]})


def garbage_event() -> bytes:
    """A delta that breaks off inside its JSON."""
    return b'event: content_block_delta\ndata: {"type": "content_block_del\n\n'


def models(names: tuple[str, ...]) -> dict[str, Any]:
    """The list that `GET /v1/models` answers, on one page."""
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": _MODEL_CREATED_AT,
            "lifecycle": "active",
        }
        for name in names
    ]
    return {
        "data": data,
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def _message(call: Call) -> dict[str, Any]:
    """A message that has begun: no content yet, no reason to stop, no usage."""
    return {
        "id": f"msg_simulated_{call.number:08d}",
        "type": "message",
        "role": "assistant",
        "model": call.prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(call: Call) -> str:
    return "max_tokens" if call.answer.is_truncated else "end_turn"


def _usage(call: Call, *, output_tokens: int) -> dict[str, int]:
    return {
        "input_tokens": call.answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **fields}) + b"\n\n"
