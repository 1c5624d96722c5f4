"""The facts of Anthropic's dialect in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tidegate_sidecar.dialects.anthropic import errors, taxonomy
from tidegate_sidecar.dialects.anthropic.streams import MessageReader
from tidegate_sidecar.dialects.anthropic.usage import usage_in
from tidegate_sidecar.dialects.asking import model_and_stream
from tidegate_sidecar.dialects.base import (
    Asked,
    ErrorBody,
    Judged,
    Operation,
    Problem,
    RawHeaders,
    StreamReader,
    Usage,
)

_UPSTREAM_PATHS: Final = MappingProxyType({Operation.CHAT: "/messages"})


class Anthropic:
    """Anthropic's dialect; holds no state. `anthropic-version` comes from the caller's SDK."""

    name = "Anthropic"
    mounts: Sequence[str] = (
        "/anthropic/v1/",
        "/anthropic/",
    )  # some SDKs put the version segment into the base URL and some do not
    paths: Mapping[str, Operation] = MappingProxyType(
        {
            "/anthropic/v1/messages": Operation.CHAT,
            "/anthropic/messages": Operation.CHAT,
            "/v1/messages": Operation.CHAT,
        }
    )
    marker_header = b"anthropic-version"
    credential_headers = frozenset({b"x-api-key", b"authorization"})  # the latter: tokens of OAuth
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'

    def upstream_path(self, operation: Operation) -> str:
        return _UPSTREAM_PATHS[operation]

    def credential(self, key: str) -> RawHeaders:
        return ((b"x-api-key", key.encode()),)

    def asked(self, document: Mapping[str, object]) -> Asked | Problem:
        return model_and_stream(document)

    def usage(self, document: object) -> Usage:
        return usage_in(document)

    def stream_reader(self) -> StreamReader:
        return MessageReader()

    def judge(self, status: int, document: object) -> Judged:
        return taxonomy.judge(status, document)

    def error(self, body: ErrorBody) -> bytes:
        return errors.error(body)

    def stream_error(self, body: ErrorBody) -> bytes:
        return errors.stream_error(body)
