"""The facts of Anthropic's dialect in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tidegate_sidecar.dialects.anthropic import errors, models, taxonomy
from tidegate_sidecar.dialects.anthropic.streams import MessageReader
from tidegate_sidecar.dialects.anthropic.usage import usage_in
from tidegate_sidecar.dialects.asking import model_alone, model_and_stream
from tidegate_sidecar.dialects.base import (
    Endpoint,
    ErrorBody,
    Judged,
    Operation,
    RawHeaders,
    Usage,
    by_operation,
    paths_of,
)

ENDPOINTS: Final = by_operation(
    Endpoint(Operation.CHAT, "/messages", model_and_stream, MessageReader),
    Endpoint(Operation.COUNT_TOKENS, "/messages/count_tokens", model_alone),
)
"""Anthropic API reference, "Messages"."""


class Anthropic:
    """Anthropic's dialect; holds no state. `anthropic-version` comes from the caller's SDK."""

    name = "Anthropic"
    mounts: Sequence[str] = (
        "/anthropic/v1/",
        "/anthropic/",
    )  # some SDKs put the version segment into the base URL and some do not
    endpoints: Mapping[Operation, Endpoint] = ENDPOINTS
    paths: Mapping[str, Endpoint] = paths_of(ENDPOINTS, ("/anthropic/v1/", "/anthropic/", "/v1/"))
    marker_header = b"anthropic-version"
    credential_headers = frozenset({b"x-api-key", b"authorization"})  # the latter: tokens of OAuth
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'

    def credential(self, key: str) -> RawHeaders:
        return ((b"x-api-key", key.encode()),)

    def usage(self, document: object) -> Usage:
        return usage_in(document)

    def judge(self, status: int, document: object) -> Judged:
        return taxonomy.judge(status, document)

    def model_list(self, names: Sequence[str]) -> bytes:
        return models.model_list(names)

    def model(self, name: str) -> bytes:
        return models.model(name)

    def error(self, body: ErrorBody) -> bytes:
        return errors.error(body)

    def stream_error(self, body: ErrorBody) -> bytes:
        return errors.stream_error(body)
