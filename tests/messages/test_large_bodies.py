"""Bodies of any size are checked in whole and in steps; what a step costs is bounded by its bytes, not timed here."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from tidegate_sidecar.dialects.base import Problem
from tidegate_sidecar.messages.json_slices import SLICE_BYTES
from tidegate_sidecar.messages.json_values import Raw
from tidegate_sidecar.messages.message import PARSED_BYTES, PARSED_CONTAINERS, Message, read_in_slices

SIZE = 1024 * 1024


def run(body: bytes) -> tuple[Message | Problem, int]:
    """What was read, and in how many steps."""
    steps = read_in_slices(body)
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1


SHAPES = {
    "one string in base64": b'"' + b"QUJD" * (SIZE // 4) + b'"',
    "small numbers": b"[" + b"1," * (SIZE // 2) + b"1]",
    "small arrays": b"[" + b"[]," * (SIZE // 3) + b"1]",
    "small strings": b"[" + b'"" ,' * (SIZE // 4) + b"1]",
    "towers": b"[" + (b"[" * 900 + b"]" * 900 + b",") * (SIZE // 1801) + b"1]",
    "towers with strings": b"[" + (b'["]",' * 900 + b"1" + b"]" * 900 + b",") * (SIZE // 5402) + b"1]",
    "towers of objects": b"[" + (b'{"}":' * 900 + b"1" + b"}" * 900 + b",") * (SIZE // 5402) + b"1]",
    "escapes": b'"' + b"\\n" * (SIZE // 2) + b'"',
    "escaped quotation marks": b'"' + b'\\"' * (SIZE // 2) + b'"',
    "escaped characters": b'"' + b"\\u00e9" * (SIZE // 6) + b'"',
    "lone surrogates": b'"' + b"\\ud83d" * (SIZE // 6) + b'"',
    "characters of four bytes": b'"x' + "\U0001f600".encode() * (SIZE // 4) + b'"',
    "one number": b"1" * SIZE,
    "one number in an array": b"[0," + b"1" * SIZE + b".5e1,0]",
    "numbers beyond a double": b"[" + b"1e400," * (SIZE // 6) + b"1]",
    "names": b"{" + b",".join(b'"name %d" : 1' % number for number in range(SIZE // 18)) + b"}",
    "white space": b"[" + b" " * SIZE + b"1" + b"\n" * SIZE + b"]",
}


@pytest.mark.parametrize("value", SHAPES.values(), ids=SHAPES)
def test_a_large_value_is_checked_in_steps_and_stands_as_raw(value: bytes) -> None:
    body = b'{"model": "m", "x": ' + value + b', "stream": true}'
    message, steps = run(body)
    assert isinstance(message, Message), message
    assert message.body is body
    assert list(message.document) == ["model", "x", "stream"]
    assert message.document["model"] == "m"
    assert message.document["stream"] is True
    place = message.document["x"]
    assert isinstance(place, Raw)
    assert body[place.start : place.end] == value
    assert steps > len(value) // SLICE_BYTES
    assert message.with_string("model", "other").body == b'{"model": "other"' + body[13:]


@pytest.mark.parametrize("value", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("where", [0.3, 0.999])
def test_what_is_wrong_far_inside_is_found(value: bytes, where: float) -> None:
    """A byte that may stand nowhere in JSON, in the place of another one."""
    at = int(len(value) * where)
    body = b'{"x":' + value[:at] + b"\x01" + value[at + 1 :] + b',"stream":true}'
    problem, _ = run(body)
    assert isinstance(problem, Problem)


@pytest.mark.parametrize("value", SHAPES.values(), ids=SHAPES)
def test_a_large_body_that_was_cut_is_refused(value: bytes) -> None:
    problem, _ = run(b'{"x":' + value[: SIZE * 2 // 3])
    assert isinstance(problem, Problem)


@pytest.mark.parametrize(
    "value",
    [
        b"[" + b"1," * 20_000 + b'\\"' + b"a" * 40_000 + b"]" * 9,
        b'["' + b"a" * 40_000 + b'" "' + b"a" * 40_000 + b'"]',
        b"[" + b"1" * 40_000 + b" " + b"1" * 40_000 + b"]",
        b"[" + b"[1}," * 20_000 + b"]",
        b"[" + b"1:1," * 20_000 + b"]",
        b"{" + b'"a",' * 20_000 + b"}",
        b"[" * 100_000,
        b"[" + b"e" * 100_000 + b"]",
        b"-" * 100_000,
    ],
)
def test_what_looks_like_json_and_is_none_is_refused(value: bytes) -> None:
    problem, _ = run(b'{"x":' + value + b',"y":"' + b"y" * PARSED_BYTES + b'"}')
    assert isinstance(problem, Problem)


def test_the_place_of_a_problem_is_told_in_bytes_of_the_body() -> None:
    value = b"[" + '"é",'.encode() * 100_000
    problem, _ = run(b'{"x":' + value + b"nul]}")
    assert isinstance(problem, Problem)
    assert f"at byte {5 + len(value)}." in problem.message


def test_a_member_of_a_large_body_that_is_given_twice_is_named() -> None:
    problem, _ = run(b'{"model":"a","x":"' + b"x" * SIZE + b'","mod\\u0065l":"b"}')
    assert isinstance(problem, Problem)
    assert problem.member == "model"


def test_the_smallest_members_are_parsed_wherever_they_stand() -> None:
    body = json.dumps(
        {"a": "x" * 40_000, "b": "x" * SIZE, "c": "x" * 50_000, "model": "m", "d": [1] * 100}
    ).encode()
    message, _ = run(body)
    assert isinstance(message, Message)
    kinds = {name: type(value).__name__ for name, value in message.document.items()}
    assert kinds == {"a": "str", "b": "Raw", "c": "Raw", "model": "str", "d": "list"}


def test_a_body_below_the_bound_is_parsed_whole() -> None:
    content = "x" * (PARSED_BYTES // 2)
    for body in (
        json.dumps({"model": "m", "user": content}).encode(),
        json.dumps({"model": "m", "user": content}, separators=(",", ":")).encode(),
        json.dumps({"model": "m", "user": content, "seed": "\ud83d"}).encode(),
    ):
        message, _ = run(body)
        assert isinstance(message, Message)
        assert message.document["user"] == content


def test_a_body_with_very_many_arrays_is_not_parsed_whole() -> None:
    message, _ = run(b'{"model":"m","x":[' + b"[]," * PARSED_CONTAINERS + b"[]]}")
    assert isinstance(message, Message)
    assert isinstance(message.document["x"], Raw)


def test_a_compact_body_of_middle_size_takes_few_steps() -> None:
    """As SDKs send it: parsed once, compared once, not scanned."""
    message, steps = run(json.dumps({"m": ["word " * 20] * 2_000}, separators=(",", ":")).encode())
    assert isinstance(message, Message)
    assert steps <= 2


def test_reading_holds_little_more_than_the_body() -> None:
    body = b'{"x":[' + b'"abc",' * (SIZE // 6) + b"1]}"
    tracemalloc.start()
    try:
        message, _ = run(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(message, Message)
    assert peak < 40 * SLICE_BYTES


def test_the_repr_of_a_value_that_was_not_parsed_tells_no_more_than_its_place() -> None:
    assert repr(Raw(10, 30)) == "<JSON value of 20 bytes at 10, not parsed>"
