"""A large answer is read in steps, as the SDKs would read it, as far as anybody asks what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate_sidecar.messages.answer_documents import document_in_slices, document_of
from tidegate_sidecar.messages.json_slices import SLICE_BYTES
from tidegate_sidecar.messages.json_values import Raw
from tidegate_sidecar.messages.message import PARSED_BYTES

USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":1}'
LOGPROBS = b",".join([b'{"token":"a","logprob":-0.5,"top_logprobs":[]}'] * 30_000)


def read(body: bytes) -> tuple[Any, int]:
    """The document, and how many steps it took."""
    steps = document_in_slices(body)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1


def answer(choices: bytes, *, before: bytes = b"") -> bytes:
    return before + b'{"id":"c","choices":[' + choices + b"]," + USAGE + b"}"


def test_it_takes_steps_and_leaves_the_largest_members_as_they_are() -> None:
    body = answer(LOGPROBS)
    document, steps = read(body)
    assert steps > len(body) // SLICE_BYTES
    assert document["id"] == "c"
    assert document["usage"] == {"prompt_tokens": 3, "completion_tokens": 1}
    assert isinstance(document["choices"], Raw)


@pytest.mark.parametrize(
    ("choices", "before"),
    [
        (LOGPROBS, b"\xef\xbb\xbf"),
        (LOGPROBS.replace(b"-0.5", b"-Infinity", 1), b""),
        (LOGPROBS + b',{"x":NaN}', b""),
        (LOGPROBS + b',"\\ud800"', b""),
        (LOGPROBS + b",1e400," + b"9" * 5_000, b""),
    ],
    ids=["byte order mark", "infinity", "not a number", "half a surrogate pair", "huge numbers"],
)
def test_what_the_sdks_read_is_read(choices: bytes, before: bytes) -> None:
    document, _ = read(answer(choices, before=before))
    assert document["usage"]["prompt_tokens"] == 3


def test_of_a_member_that_is_given_twice_the_last_one_counts() -> None:
    body = (
        b'{"usage":{"prompt_tokens":9,"a":"' + b"x" * 99 + b'"},"choices":[' + LOGPROBS + b"]," + USAGE + b"}"
    )
    document, _ = read(body)
    assert document["usage"] == json.loads(body)["usage"]


@pytest.mark.parametrize(
    "body",
    [
        answer(LOGPROBS)[:-1],
        answer(LOGPROBS + b",x"),
        answer(LOGPROBS) + b"{}",
        b"[" + LOGPROBS + b"]",
        b"data: " + answer(LOGPROBS),
        answer(LOGPROBS + b',"\xff"'),
    ],
    ids=["cut", "a word", "something behind", "an array", "an event", "no UTF-8"],
)
def test_what_is_no_object_is_none(body: bytes) -> None:
    assert len(body) > PARSED_BYTES
    assert read(body)[0] is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a":1}', b'\xef\xbb\xbf{"a":NaN}'])
def test_a_small_one_is_parsed_at_once(body: bytes) -> None:
    document, steps = read(body)
    assert steps == 0
    assert repr(document) == repr(document_of(body))
