"""Edits change one member and no other byte."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects.base import Problem
from tidegate_sidecar.messages.json_values import Raw
from tidegate_sidecar.messages.message import Message, read, read_in_slices

NAMES = ("model", "stream", "messages", "a\nb", "é")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=8,
)  # fmt: skip
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES)


def sliced(body: bytes) -> Message:
    result: Message | Problem
    steps = read_in_slices(body, slice_bytes=16, parsed_bytes=0)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
    assert isinstance(result, Message)
    return result


def whole(body: bytes) -> Message:
    result = read(body)
    assert isinstance(result, Message)
    return result


@st.composite
def messages(draw: st.DrawFn, *, with_model: bool = False) -> Message:
    """As it may come: compact, with spaces, with escapes, read by either reader."""
    document = draw(DOCUMENTS)
    if with_model:
        items = [*document.items(), ("model", "m")]
        document = dict(draw(st.permutations(items)))
    write = draw(
        st.sampled_from(
            [
                orjson.dumps,
                lambda it: json.dumps(it).encode(),
                lambda it: json.dumps(it, indent="\t").encode(),
            ]
        )
    )
    return draw(st.sampled_from([whole, sliced]))(write(document))


@given(message=messages(with_model=True), value=st.text(max_size=8))
def test_a_string_takes_the_place_of_a_value_and_every_other_byte_stays(message: Message, value: str) -> None:
    edited = message.with_string("model", value)
    written = orjson.dumps(value)
    assert json.loads(edited.body) == {**json.loads(message.body), "model": value}
    assert list(edited.document.items()) == list({**message.document, "model": value}.items())
    assert is_spliced(message.body, edited.body, written)
    assert edited.is_changed
    assert not message.is_changed


def is_spliced(before: bytes, after: bytes, put: bytes) -> bool:
    """Whether `after` is `before` with `put` in the place of one piece."""
    at = after.find(put)
    while at >= 0:
        rest = after[at + len(put) :]
        if before.startswith(after[:at]) and before.endswith(rest) and at + len(rest) <= len(before):
            return True
        at = after.find(put, at + 1)
    return False


@given(message=messages(), data=st.data())
def test_any_edits_in_a_row_are_what_they_are_on_the_document(message: Message, data: st.DataObject) -> None:
    """And the places of the other members are known after each as if the body had been read anew."""
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(NAMES))
        expected = json.loads(message.body)
        if data.draw(st.booleans()):
            expected.pop(name, None)
            edited = message.without_member(name)
        else:
            value = data.draw(VALUES)
            indent = data.draw(st.none() | st.just(1))
            text = json.dumps(value, indent=indent).encode()
            edited = message.with_member(name, text)
            if name in expected:
                assert is_spliced(message.body, edited.body, text)
                expected[name] = value
            else:
                comma = b"," if expected else b""
                assert is_spliced(message.body, edited.body, orjson.dumps(name) + b":" + text + comma)
                expected = {name: value, **expected}
        assert list(json.loads(edited.body).items()) == list(expected.items())
        assert list(edited.document.items()) == list(expected.items())
        assert edited.is_changed or edited is message
        message = edited


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"model":"a","n":1}', b'{"model":"gpt","n":1}'),
        (b'{ "n" : 1.0e0 , "model"\n:\t"a" }\r\n', b'{ "n" : 1.0e0 , "model"\n:\t"gpt" }\r\n'),
        (b'{"m\\u006fdel":"caf\\u00e9","n":{"a":1,"a":2}}', b'{"m\\u006fdel":"gpt","n":{"a":1,"a":2}}'),
        (b'{"x":{"model":"a"},"model":"a"}', b'{"x":{"model":"a"},"model":"gpt"}'),
        (b'{"n":1e400,"model":"a"}', b'{"n":1e400,"model":"gpt"}'),
        (b'{"q\\"model":"a","model":"a"}', b'{"q\\"model":"a","model":"gpt"}'),
        (b'{"model":"a","q\\"model":"a"}', b'{"model":"gpt","q\\"model":"a"}'),
        (b'{"x":{"model":"b"},"model":"a"}', b'{"x":{"model":"b"},"model":"gpt"}'),
        (b'{"x":"\\ud83d","model":"a"}', b'{"x":"\\ud83d","model":"gpt"}'),
        (b'{ "x":' + b"[" * 300 + b"]" * 300 + b',"model":"a"}', b'{ "x":' + b"[" * 300 + b"]" * 300 + b',"model":"gpt"}'),
    ],
)  # fmt: skip
def test_a_rename_splices_the_value_of_the_model(body: bytes, edited: bytes) -> None:
    assert whole(body).with_string("model", "gpt").body == edited
    assert sliced(body).with_string("model", "gpt").body == edited


def test_a_member_that_is_missing_is_put_first() -> None:
    options = b'{"include_usage":true}'
    edited = whole(b' { "model":"m"}').with_member("stream_options", options)
    assert edited.body == b' {"stream_options":{"include_usage":true}, "model":"m"}'
    assert edited.document["stream_options"] == {"include_usage": True}
    assert whole(b"{ }").with_member("n", b"1").body == b'{"n":1 }'


@pytest.mark.parametrize(
    ("body", "name", "left"),
    [
        (b'{"a":1,"b":2,"c":3}', "a", b'{"b":2,"c":3}'),
        (b'{"a":1,"b":2,"c":3}', "b", b'{"a":1,"c":3}'),
        (b'{"a":1,"b":2,"c":3}', "c", b'{"a":1,"b":2}'),
        (b'{ "a": 1 , "b": 2 }', "b", b'{ "a": 1 }'),
        (b'{ "a": 1 , "b": 2 }', "a", b'{ "b": 2 }'),
        (b'{ "a": 1 }', "a", b"{  }"),
    ],
)
def test_a_member_is_taken_out_with_one_comma(body: bytes, name: str, left: bytes) -> None:
    assert whole(body).without_member(name).body == left
    assert sliced(body).without_member(name).body == left


def test_what_is_not_there_is_not_taken_out() -> None:
    message = whole(b'{"a":1}')
    assert message.without_member("b") is message


@pytest.mark.parametrize("read_body", [whole, sliced])
def test_a_string_is_put_in_where_it_is_missing(read_body: Callable[[bytes], Message]) -> None:
    message = read_body(b'{"a": 1}').with_string("b", "x")
    assert message.body == b'{"b":"x","a": 1}'
    assert message.document == {"b": "x", "a": 1}


def test_what_is_no_json_is_not_put_in() -> None:
    with pytest.raises(ValueError, match="at byte"):
        whole(b'{"a":1}').with_member("a", b"{")


def test_a_lone_surrogate_can_be_put_in() -> None:
    assert whole(b'{"a":"x"}').with_string("a", "\ud83d").body == b'{"a":"\\ud83d"}'


def test_values_that_were_not_parsed_are_found_after_an_edit() -> None:
    large = b'"' + b"x" * 100_000 + b'"'
    message = sliced(b'{"model":"a","image":' + large + b',"n":1}')
    for edited in (
        message,
        message.with_string("model", "much longer than it was"),
        message.with_member("added", b"1"),
        message.without_member("model"),
        message.without_member("n").with_string("model", ""),
    ):
        place = edited.document["image"]
        assert isinstance(place, Raw)
        assert edited.body[place.start : place.end] == large
        assert json.loads(edited.body).keys() == edited.document.keys()
