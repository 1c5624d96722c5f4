"""What a body says is read once, by one reader, and never guessed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.proxy.identify import (
    KEPT_BYTES,
    Asked,
    dialect_of,
    endpoint_of,
    read_body,
    with_model,
)
from tidegate_sidecar.routing.refusal import Case, Refusal

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


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    asked = read_body(body)
    assert isinstance(asked, Asked) or asked.case is Case.INVALID


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(NAMES | st.text(), JSON))
def test_any_document_is_understood_or_refused(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    asked = read_body(body)
    if isinstance(asked, Refusal):
        assert len(asked.message) < 2_000
        return
    assert asked.model == document["model"]
    assert asked.stream is bool(document.get("stream"))


@settings(deadline=None, max_examples=60)
@given(members=st.lists(st.tuples(NAMES, JSON), max_size=6), ascii_only=st.booleans())
def test_whoever_reads_the_first_of_two_members_sees_the_same(
    members: list[tuple[str, Any]], *, ascii_only: bool
) -> None:
    """Either the bytes leave no choice, or they are known to be ambiguous and not sent on."""
    text = ",".join(
        f"{json.dumps(name, ensure_ascii=ascii_only)}:{json.dumps(value)}" for name, value in members
    )
    asked = read_body(f"{{{text}}}".encode("utf-8", "surrogatepass"))
    if isinstance(asked, Refusal) or asked.ambiguous:
        return
    first: dict[str, Any] = {}
    for name, value in members:
        first.setdefault(name, value)
    assert (first["model"], bool(first.get("stream"))) == (asked.model, asked.stream)


def test_bodies_as_sdks_write_them_are_not_ambiguous() -> None:
    document = {
        "messages": [{"role": "user", "content": 'say "model" and "stream" \n caf\u00e9'}],
        "model": "gpt-test",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for body in (orjson.dumps(document), json.dumps(document, ensure_ascii=False).encode()):
        asked = read_body(body)
        assert isinstance(asked, Asked)
        assert not asked.ambiguous


@pytest.mark.parametrize("size", [100, KEPT_BYTES, KEPT_BYTES + 1, 20 * KEPT_BYTES])
def test_another_model_is_written_into_bodies_of_any_size(size: int) -> None:
    document = {"model": "small", "messages": [{"role": "user", "content": ""}], "stream": True}
    document["messages"] = [{"role": "user", "content": "x" * (size - len(orjson.dumps(document)))}]
    body = orjson.dumps(document)
    assert len(body) == size
    asked = read_body(body)
    assert isinstance(asked, Asked)
    assert (asked.document is None) is (size > KEPT_BYTES)
    assert orjson.loads(with_model(asked, body, "gpt-test")) == {**document, "model": "gpt-test"}


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=50), st.text(max_size=300))
def test_any_path_belongs_to_a_dialect_and_is_served_or_refused(method: str, path: str) -> None:
    dialect_of(path, {})
    endpoint_of(method, f"/{path}")
