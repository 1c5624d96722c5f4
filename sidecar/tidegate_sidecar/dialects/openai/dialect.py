"""The facts of OpenAI's dialect in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

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
from tidegate_sidecar.dialects.openai import errors, taxonomy
from tidegate_sidecar.dialects.openai.streams import ChunkReader
from tidegate_sidecar.dialects.openai.usage import usage_in

_UPSTREAM_PATHS: Final = MappingProxyType({Operation.CHAT: "/chat/completions"})


class OpenAI:
    """OpenAI's dialect; holds no state.

    `ping` is a comment without the blank line that would end an event: after a blank line openai-python gives the application an
    empty event if an earlier one had an `id`, and openai-go did so always (openai/openai-go pull request 621); both
    then fail to read it as JSON.
    """

    name = "OpenAI"
    mounts: Sequence[str] = ("/openai/v1/",)
    paths: Mapping[str, Operation] = MappingProxyType(
        {"/openai/v1/chat/completions": Operation.CHAT, "/v1/chat/completions": Operation.CHAT}
    )
    marker_header = b""
    credential_headers = frozenset({b"authorization"})
    ping = b": ping\n"

    def upstream_path(self, operation: Operation) -> str:
        return _UPSTREAM_PATHS[operation]

    def credential(self, key: str) -> RawHeaders:
        """A bearer token (RFC 6750 section 2.1)."""
        return ((b"authorization", b"Bearer " + key.encode()),)

    def asked(self, document: Mapping[str, object]) -> Asked | Problem:
        return model_and_stream(document)

    def usage(self, document: object) -> Usage:
        return usage_in(document)

    def stream_reader(self) -> StreamReader:
        return ChunkReader()

    def judge(self, status: int, document: object) -> Judged:
        return taxonomy.judge(status, document)

    def error(self, body: ErrorBody) -> bytes:
        return errors.error(body)

    def stream_error(self, body: ErrorBody) -> bytes:
        return errors.stream_error(body)
