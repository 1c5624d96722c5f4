"""What is asked and what is answered: chat calls in OpenAI's dialect, made once and the same in each run. Pure.

The model's name tells the provider stub what to answer, since it is what every proxy passes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

EVENTS: Final = 200
"""Events of a stream; the line `[DONE]` comes with the last."""
FEW_EVENTS: Final = 5
"""Events of a stream of which only the first is timed."""
EVENT_GAP_S: Final = 0.002
WORDS: Final = 'The tide comes in twice a day, \\ and it waits for "nobody".\n'
PARAGRAPH: Final = 15
"""How often `WORDS` stand in one message of a long conversation."""


class Shape(StrEnum):
    """How a call is answered."""

    WHOLE = "whole answer"
    APART = "stream, 2 ms apart"
    AT_ONCE = "stream, all at once"
    """Without pauses; each event is a write of its own, as providers flush them."""
    ONE_PIECE = "stream, in one piece"
    """All events in one write: no provider does that, and it is as hard as can be for a proxy that reads events."""
    FIRST = "first token"

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return self is not Shape.WHOLE


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of load: a row of the table for each proxy."""

    shape: Shape
    kib: int
    """Size of a request, and of a whole answer, about."""
    connections: int
    tls: bool = False
    """Whether the provider is reached over TLS."""

    def __str__(self) -> str:
        plural = "s" if self.connections > 1 else ""
        transport = "TLS to the provider" if self.tls else "plain"
        return f"{self.shape}, {self.kib} KiB, {transport}, {self.connections} connection{plural}"

    @property
    def model(self) -> str:
        """The name by which the provider knows what to answer."""
        return model_name(self.shape, self.kib)


def model_name(shape: Shape, kib: int) -> str:
    """What the provider is asked for."""
    names = {
        Shape.ONE_PIECE: "one-piece",
        Shape.WHOLE: f"answer-{kib}k",
        Shape.APART: "apart",
        Shape.AT_ONCE: "at-once",
        Shape.FIRST: "first",
    }
    return names[shape]


def request(shape: Shape, kib: int, model: str) -> bytes:
    """The body of a call: one question, or a long conversation."""
    document: dict[str, Any] = {"model": model, "temperature": 0.7, "messages": []}
    if shape.is_stream:
        document["stream"] = True
    messages = document["messages"]
    while (room := kib * 1024 - len(_json(document)) - 40) > 0:
        role = "user" if len(messages) % 2 == 0 else "assistant"
        messages.append({"role": role, "content": _text(min(room, PARAGRAPH * len(WORDS)))})
    return _json(document)


def whole_answer(kib: int) -> bytes:
    """The body of an answer of that size."""
    document = _answer("")
    document["choices"][0]["message"]["content"] = _text(kib * 1024 - len(_json(document)))
    return _json(document)


def events(count: int, *, with_usage: bool = False) -> list[bytes]:
    """The events of a stream, each with its blank line; the last has behind it what ends the stream.

    That is `[DONE]`, and before it an event with the usage where `stream_options.include_usage` asked for one.
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    # No two in a row are the same: LiteLLM takes a model that repeats itself for one that has gone astray.
    deltas += [{"content": f" tide {number:03}"} for number in range(count - 2)]
    usage = b"data: " + _json(_chunk([]) | {"usage": _usage()}) + b"\n\n" if with_usage else b""
    return [*(_event(delta, None) for delta in deltas), _event({}, "stop") + usage + b"data: [DONE]\n\n"]


def _answer(content: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-CkR2PZ7qJq0yDXvVgkqGJmXo1nU5a",
        "object": "chat.completion",
        "created": 1_767_225_600,
        "model": "gpt-bench-2026-01-01",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(),
        "service_tier": "default",
        "system_fingerprint": "fp_b5f1f0a3c1",
    }


def _event(delta: dict[str, Any], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return b"data: " + _json(_chunk([choice])) + b"\n\n"


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-CkR2PZ7qJq0yDXvVgkqGJmXo1nU5a",
        "object": "chat.completion.chunk",
        "created": 1_767_225_600,
        "model": "gpt-bench-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_b5f1f0a3c1",
        "choices": choices,
    }


def _usage() -> dict[str, Any]:
    return {
        "prompt_tokens": 212,
        "completion_tokens": 200,
        "total_tokens": 412,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _text(encoded_bytes: int) -> str:
    """Text that takes so many bytes as JSON, or a few less."""
    per_line = len(json.dumps(WORDS)) - 2
    return WORDS * (encoded_bytes // per_line) + "x" * (encoded_bytes % per_line)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
