"""A dialect that nobody built in: other paths, another header for the key, events by name, errors of another shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate_sidecar.dialects.base import (
    NO_USAGE,
    SERVED,
    Asked,
    Endpoint,
    ErrorBody,
    Event,
    Judged,
    Operation,
    Problem,
    RawHeaders,
    UnreadableError,
    Usage,
    Verdict,
    by_operation,
    paths_of,
)
from tidegate_sidecar.dialects.registry import DEFAULT, Dialects

TYPE = "Telegraph"
"""What a provider's type is that speaks it."""


class Telegraph:
    """Asks below /wire; a stream says `word`, `toll` and `stop`."""

    name = "Telegraph"
    mounts: Sequence[str] = ("/telegraph/2/",)
    endpoints: Mapping[Operation, Endpoint]
    paths: Mapping[str, Endpoint]
    marker_header = b"telegraph-version"
    credential_headers = frozenset({b"telegraph-key"})
    ping = b"event: tick\ndata: {}\n\n"

    def __init__(self) -> None:
        self.endpoints = by_operation(Endpoint(Operation.CHAT, "/wire", _asked, Ticker))
        self.paths = paths_of(self.endpoints, self.mounts)

    def credential(self, key: str) -> RawHeaders:
        return ((b"telegraph-key", b"K " + key.encode()),)

    def usage(self, document: object) -> Usage:
        return _usage(document.get("toll") if isinstance(document, Mapping) else None)

    def judge(self, status: int, document: object) -> Judged:  # noqa: ARG002 - the status says it all
        if status == 402:
            return Judged(Verdict.ACCOUNT_EXHAUSTED, "unpaid")
        if status >= 500:
            return Judged(Verdict.SERVER_ERROR)
        return SERVED if status < 400 else Judged(Verdict.CALLER_ERROR)

    def model_list(self, names: Sequence[str]) -> bytes:
        return json.dumps({"stations": list(names)}).encode()

    def model(self, name: str) -> bytes:
        return json.dumps({"station": name}).encode()

    def error(self, body: ErrorBody) -> bytes:
        return json.dumps({"returned": body.code, "why": body.message}).encode()

    def stream_error(self, body: ErrorBody) -> bytes:
        return b"event: lost\ndata: " + self.error(body) + b"\n\n"


class Ticker:
    """Reads one stream."""

    def __init__(self) -> None:
        self.usage = NO_USAGE
        self.has_content = self.is_complete = False
        self.failure: Judged | None = None

    @property
    def may_end(self) -> bool:
        return self.is_complete

    def read(self, event: Event) -> None:
        _, name, data = event
        if name == b"word":
            self.has_content = True
        elif name == b"toll":
            self.usage = _usage(json.loads(data))
        elif name == b"stop":
            self.is_complete = True
        elif name == b"lost":
            self.failure = Judged(Verdict.OVERLOADED, "lost")
        elif name != b"tick":
            raise UnreadableError(f"an event of {len(data)} bytes that has no name we know")


def _asked(document: Mapping[str, object]) -> Asked | Problem:
    model, mode = document.get("model"), document.get("mode", "letter")
    if not isinstance(model, str):
        return Problem("`model` says nothing.", "model")
    return Asked(model, mode == "ticker")


def _usage(toll: Any) -> Usage:
    return Usage(toll["in"], toll["out"]) if isinstance(toll, Mapping) else NO_USAGE


DIALECTS = Dialects(
    (*DEFAULT.all, Telegraph()), {"OpenAI": "OpenAI", "Anthropic": "Anthropic", TYPE: "Telegraph"}
)
