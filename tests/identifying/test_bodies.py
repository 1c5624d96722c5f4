"""What a body asks for is read once, by one reader, and never guessed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.dialects.base import Asked, Endpoint, Problem
from tidegate_sidecar.dialects.registry import DEFAULT
from tidegate_sidecar.messages.message import AT_ONCE_BYTES, PARSED_BYTES, Message
from tidegate_sidecar.proxy.receive import read_message

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["model", "stream", "Model", "STREAM", "messages", "mod\u0065l", "x"])
ENDPOINTS = st.sampled_from(
    [endpoint for dialect in DEFAULT.all for endpoint in dialect.endpoints.values() if endpoint.stream_reader]
)


async def read_asked(body: bytes, endpoint: Endpoint) -> tuple[Message, Asked] | Problem:
    message = await read_message(body)
    if isinstance(message, Problem):
        return message
    asked = endpoint.asked(message.document)
    return asked if isinstance(asked, Problem) else (message, asked)


@settings(max_examples=60)
@given(st.binary(max_size=200), ENDPOINTS)
async def test_any_bytes_are_understood_or_refused(body: bytes, endpoint: Endpoint) -> None:
    read = await read_asked(body, endpoint)
    assert isinstance(read, tuple) or read.message


@settings(max_examples=60)
@given(st.dictionaries(NAMES | st.text(), JSON), ENDPOINTS)
async def test_any_document_is_understood_or_refused(document: dict[str, Any], endpoint: Endpoint) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    read = await read_asked(body, endpoint)
    if isinstance(read, Problem):
        assert len(read.message) < 2_000
        return
    _, asked = read
    assert asked[:2] == (document["model"], bool(document.get("stream")))


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, JSON), max_size=6), st.booleans(), ENDPOINTS)
async def test_whoever_reads_the_first_of_two_members_sees_the_same(
    members: list[tuple[str, Any]], ascii_only: bool, endpoint: Endpoint
) -> None:
    text = ",".join(
        f"{json.dumps(name, ensure_ascii=ascii_only)}:{json.dumps(value)}" for name, value in members
    )
    read = await read_asked(f"{{{text}}}".encode("utf-8", "surrogatepass"), endpoint)
    if isinstance(read, Problem):
        return
    _, asked = read
    first: dict[str, Any] = {}
    for name, value in members:
        first.setdefault(name, value)
    assert asked[:2] == (first["model"], bool(first.get("stream")))


@pytest.mark.parametrize("size", [100, AT_ONCE_BYTES, AT_ONCE_BYTES + 1, PARSED_BYTES + 1, 20 * PARSED_BYTES])
async def test_another_model_is_written_into_bodies_of_any_size(size: int) -> None:
    document = {"model": "small", "messages": [{"role": "user", "content": ""}], "stream": True}
    document["messages"] = [{"role": "user", "content": "x" * (size - len(orjson.dumps(document)))}]
    body = orjson.dumps(document)
    assert len(body) == size
    message = await read_message(body)
    assert isinstance(message, Message)
    assert message.body is body
    assert message.with_string("model", "gpt-test").body == body.replace(b'"small"', b'"gpt-test"')


@settings(max_examples=60)
@given(st.text(max_size=300), st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=3))
def test_any_path_belongs_to_a_dialect_and_is_served_or_not(
    path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    for asked in (path, f"/{path}", f"/v1/{path}"):
        assert DEFAULT.of_path(asked, headers) in DEFAULT.all
        DEFAULT.endpoint(asked)
        DEFAULT.mount(asked, headers)
