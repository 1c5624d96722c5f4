"""The dialect of OpenAI's chat completions, which local model servers speak as well. PURE.

Field by field as in OpenAI's API reference; what the reference leaves optional and a plain text answer does not have
is left out or null exactly where the real API has it so.
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

REQUEST_ID_HEADER: Final = "x-request-id"

CHOICES_MAX: Final = 128
"""OpenAI's own bound on `n`."""

_FINGERPRINT: Final = "fp_simulated"
_MODEL_CREATED_S: Final = 1_700_000_000
_TIMEOUT_STATUSES: Final = (408, 504)
_ERRORS: Final[dict[int, tuple[str, str | None]]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("insufficient_permissions", None),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def read_prompt(body: bytes) -> Prompt:
    """The prompt in a request to `/v1/chat/completions`; raises `RequestError`."""
    fields = read_object(body)
    model = read_text(fields, "model")
    messages = read_messages(fields)
    is_stream = read_switch(fields, "stream")
    choices = read_count(fields, "n") or 1
    if choices > CHOICES_MAX:
        raise RequestError(f"n: at most {CHOICES_MAX} choices.", param="n")
    return Prompt(
        model=model,
        is_stream=is_stream,
        texts=tuple(text for message in messages for text in texts_in(message.get("content"))),
        attachments=sum(attachments_in(message.get("content")) for message in messages),
        question=" ".join(texts_in(messages[-1].get("content"))),
        # The old name still works; the new one wins where both are given.
        output_tokens_max=read_count(fields, "max_completion_tokens") or read_count(fields, "max_tokens"),
        choices=choices,
        wants_stream_usage=_wants_stream_usage(fields, is_stream=is_stream),
    )


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key in `Authorization: Bearer`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def request_id(number: int) -> str:
    """As in the header; OpenAI's bodies do not carry it."""
    return f"req_simulated_{number:08d}"


def completion(call: Call) -> dict[str, Any]:
    """A `chat.completion` object."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": call.answer.text,
        "refusal": None,
        "annotations": [],
    }
    body = {
        **_frame(call, "chat.completion"),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": _finish_reason(call)}
            for index in range(call.prompt.choices)
        ],
    }
    if call.answer.has_usage:
        body["usage"] = _usage(call)
    return body


def events(call: Call) -> Events:
    """`chat.completion.chunk` events: the role, the text, the finish reason, the usage if wanted, `[DONE]`."""
    role: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    deltas = [_chunks(call, {"content": piece}) for piece in call.answer.pieces]
    # The role comes with the model's first word, not with the head: OpenAI is silent until the model speaks.
    deltas[0] = (*_chunks(call, role), *deltas[0])
    closing = [*_chunks(call, {}, finish_reason=_finish_reason(call))]
    if call.prompt.wants_stream_usage and call.answer.has_usage:
        closing.append(
            _event({**_frame(call, "chat.completion.chunk"), "choices": [], "usage": _usage(call)})
        )
    closing.append(b"data: [DONE]\n\n")
    return Events(opening=(), deltas=tuple(deltas), closing=tuple(closing))


def error(status: int, message: str, *, number: int, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object; the number of the request is in the header alone."""
    _ = number
    server = "server_error"
    kind, code = _ERRORS.get(status, (server if status >= 500 else "invalid_request_error", None))  # noqa: PLR2004
    if status in _TIMEOUT_STATUSES:
        kind = "timeout"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def stream_error(*, number: int) -> bytes:
    """An error object in the place of a chunk."""
    return _event(error(503, "The simulated provider is overloaded.", number=number))


def garbage_event() -> bytes:
    """A chunk that breaks off inside its JSON."""
    return b'data: {"id": "chatcmpl-sim\n\n'


def models(names: tuple[str, ...]) -> dict[str, Any]:
    """The list that `GET /v1/models` answers."""
    data = [
        {"id": name, "object": "model", "created": _MODEL_CREATED_S, "owned_by": "simulator"}
        for name in names
    ]
    return {"object": "list", "data": data}


def _wants_stream_usage(fields: Mapping[str, Any], *, is_stream: bool) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not is_stream:
        raise RequestError("stream_options: allowed only where stream is true.", param="stream_options")
    if not isinstance(options, dict):
        raise RequestError("stream_options: an object is required.", param="stream_options")
    return read_switch(options, "include_usage")


def _frame(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-simulated-{call.number:08d}",
        "object": kind,
        "created": call.created_s,
        "model": call.prompt.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _chunks(call: Call, delta: Mapping[str, Any], *, finish_reason: str | None = None) -> tuple[bytes, ...]:
    """The same delta for every choice, one event each, as OpenAI interleaves them."""
    frame = _frame(call, "chat.completion.chunk")
    # The reference: with include_usage "all other chunks will also include a usage field, but with a null value".
    usage = {"usage": None} if call.prompt.wants_stream_usage else {}
    return tuple(
        _event(
            {
                **frame,
                "choices": [
                    {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
                ],
                **usage,
            }
        )
        for index in range(call.prompt.choices)
    )


def _finish_reason(call: Call) -> str:
    return "length" if call.answer.is_truncated else "stop"


def _usage(call: Call) -> dict[str, Any]:
    answer = call.answer
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
