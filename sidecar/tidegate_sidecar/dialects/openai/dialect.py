"""The facts of OpenAI's dialect in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

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
from tidegate_sidecar.dialects.openai import errors, models, moderations, responses, taxonomy
from tidegate_sidecar.dialects.openai.streams import ChunkReader
from tidegate_sidecar.dialects.openai.usage import usage_in

ENDPOINTS: Final = by_operation(
    Endpoint(Operation.CHAT, "/chat/completions", model_and_stream, ChunkReader),
    Endpoint(Operation.COMPLETIONS, "/completions", model_and_stream, ChunkReader),
    Endpoint(Operation.RESPONSES, "/responses", responses.asked, responses.ResponseReader),
    Endpoint(Operation.EMBEDDINGS, "/embeddings", model_alone),
    Endpoint(Operation.MODERATIONS, "/moderations", moderations.asked),
)
"""OpenAI API reference; the servers that speak its dialect have some of them."""


class OpenAI:
    """OpenAI's dialect; holds no state.

    `ping` is a comment without the blank line that would end an event: after a blank line openai-python gives the application an
    empty event if an earlier one had an `id`, and openai-go did so always (openai/openai-go pull request 621); both
    then fail to read it as JSON.
    """

    name = "OpenAI"
    mounts: Sequence[str] = ("/openai/v1/",)
    endpoints: Mapping[Operation, Endpoint] = ENDPOINTS
    paths: Mapping[str, Endpoint] = paths_of(ENDPOINTS, ("/openai/v1/", "/v1/"))
    marker_header = b""
    credential_headers = frozenset({b"authorization"})
    ping = b": ping\n"

    def credential(self, key: str) -> RawHeaders:
        """A bearer token (RFC 6750 section 2.1)."""
        return ((b"authorization", b"Bearer " + key.encode()),)

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
