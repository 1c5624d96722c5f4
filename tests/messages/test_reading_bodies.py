"""What a body says, and that reading it changes none of its bytes."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects.base import Problem
from tidegate_sidecar.messages.json_pieces import MAX_NESTING
from tidegate_sidecar.messages.json_slices import MAX_MEMBERS
from tidegate_sidecar.messages.json_values import HugeNumber
from tidegate_sidecar.messages.message import Message, read, read_in_slices

SPACES = st.text(" \t\n\r", max_size=3)
SECRET: Final = "a secret prompt"


def run(body: bytes, slice_bytes: int = 16, parsed_bytes: int = 0) -> Message | Problem:
    steps = read_in_slices(body, slice_bytes=slice_bytes, parsed_bytes=parsed_bytes)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Message | Problem = end.value
            return result


def message(body: bytes) -> Message:
    result = read(body)
    assert isinstance(result, Message), result
    return result


def problem(body: bytes) -> Problem:
    """Why `body` is refused, by either reader: what they say need not agree to the word."""
    result = read(body)
    assert isinstance(result, Problem), result
    assert isinstance(run(body), Problem)
    assert SECRET not in result.message
    return result


@st.composite
def strings(draw: st.DrawFn) -> str:
    """A JSON string, some of it in escapes."""
    parts = []
    for character in draw(st.text(max_size=8)):
        if draw(st.booleans()):
            units = character.encode("utf-16-be", "surrogatepass")
            parts += [f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)]
        else:
            parts.append(json.dumps(character, ensure_ascii=False)[1:-1])
    if draw(st.integers(0, 9)) == 0:
        parts.append("\\ud83d")
    return '"' + "".join(parts) + '"'


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
SCALARS = strings() | NUMBERS | st.sampled_from(["true", "false", "null", '""', "[]", "{}"])


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    parts = [draw(SPACES) + value + draw(SPACES) for value in draw(st.lists(values, max_size=4))]
    return "[" + ",".join(parts) + "]"


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str], *, unique: bool = False) -> str:
    """With members given twice, unless they must be `unique`."""
    names = draw(st.lists(strings(), max_size=5, unique_by=json.loads if unique else None))
    parts = [
        f"{draw(SPACES)}{name}{draw(SPACES)}:{draw(SPACES)}{draw(values)}{draw(SPACES)}" for name in names
    ]
    return "{" + ",".join(parts) + (draw(SPACES) if not parts else "") + "}"


VALUES = st.recursive(SCALARS, lambda values: arrays(values) | objects(values), max_leaves=12)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Any JSON object whose top level can be read in one way only."""
    return f"{draw(SPACES)}{draw(objects(VALUES, unique=True))}{draw(SPACES)}".encode()


@given(body=bodies(), slice_bytes=st.integers(16, 300))
def test_either_reader_changes_no_byte_and_finds_what_the_standard_library_finds(
    body: bytes, slice_bytes: int
) -> None:
    expected = json.loads(body.decode(), parse_int=float)
    for result in (read(body), run(body, slice_bytes)):
        assert isinstance(result, Message)
        assert result.body is body
        assert not result.is_changed
        assert list(result.document) == list(expected)
        assert as_floats(dict(result.document)) == as_floats(expected)


def as_floats(value: object) -> object:
    match value:
        case bool() | None | str():
            return value
        case int():
            return float(value)
        case HugeNumber():
            return float(value.text)
        case list():
            return [as_floats(item) for item in value]
        case dict():
            return {name: as_floats(item) for name, item in value.items()}
    return value


@given(body=bodies(), data=st.data())
def test_a_body_that_was_cut_or_garbled_is_read_or_refused_by_both_readers_alike(
    body: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 4)))
    put = data.draw(
        st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"[", b"}", b",", b":", b"0", b"-"])
    )
    garbled = body[:start] + put + body[end:]
    for text in (garbled, body[:start]):
        whole, sliced = read(text), run(text, data.draw(st.integers(16, 200)))
        assert type(whole) is type(sliced), text
        assert is_json_object(text) or isinstance(whole, Problem)


def is_json_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text.decode()), dict)
    except ValueError:
        return False


@given(text=st.binary(max_size=60) | st.text('{}[]":,\\u0e+-. 1tnf', max_size=40).map(str.encode))
def test_no_text_makes_a_reader_raise(text: bytes) -> None:
    assert type(read(text)) is type(run(text))


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"content":"caf\\u00e9"}]}',
        b'{"model":"m","metadata":{"a":1,"a":2}}',
        b' { "model" : "m" } \r\n',
        b'{"model":"m","seed":123456789012345678901234567890}',
        b'{"model":"m","seed":' + b"9" * 10_000 + b"}",
        b'{"model":"m","temperature":1.0e0,"top_p":-0,"seed":1e400}',
        b'{"model":"m","user":"half of a pair \\ud83d"}',
        b'{"mod\\u0065l":"m"}',
        b'{"a":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
        b"{}",
        b" { } ",
    ],
)
def test_what_rfc_8259_allows_is_sent_on_as_it_came(body: bytes) -> None:
    assert message(body).body is body
    sliced = run(body)
    assert isinstance(sliced, Message)
    assert sliced.body is body


def test_a_number_of_very_many_digits_costs_no_more_than_reading_it() -> None:
    """Python's own limit of 4,300 digits makes no 400 of it, and no integer is made."""
    document = message(b'{"model":"m","seed":' + b"7" * 30_000 + b',"n":1}').document
    assert document["model"] == "m"
    assert document["n"] == 1
    assert isinstance(document["seed"], HugeNumber)
    assert "7" * 9 not in repr(document["seed"])


def test_integers_of_64_bits_are_integers_by_either_parser() -> None:
    for text, value in (("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63))):
        assert message(f'{{"seed":{text}}}'.encode()).document["seed"] == value
        by_second = message(f'{{"seed":{text},"user":"\\ud83d"}}'.encode()).document["seed"]
        assert by_second == value
        assert type(by_second) is int


def test_integers_beyond_64_bits_are_floats_by_either_parser() -> None:
    for more in ("", ',"user":"\\ud83d"'):
        assert message(f'{{"seed":18446744073709551616{more}}}'.encode()).document["seed"] == 2.0**64


def test_a_lone_surrogate_stands_in_its_string() -> None:
    assert message(b'{"user":"a\\ud83d"}').document["user"] == "a\ud83d"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","m\\u006fdel":"b"}',
        b'{ "model" : "a" , "stream" : true , "model" : "b" }',
        b'{"model":"a","x":{"y":[{"model":1}]},"model":"a"}',
        b'{"model":"a","x":' + b"[" * 300 + b"]" * 300 + b',"model":"b"}',
        b'{"model":"a","x":1e400,"model":"b"}',
    ],
)
def test_a_member_of_the_top_level_that_is_given_twice_is_named(body: bytes) -> None:
    assert problem(body) == Problem(
        "The body has the member 'model' twice at its top level: two readers could understand two things.",
        "model",
    )


def test_a_name_that_is_shown_can_be_written_and_is_short() -> None:
    name = "\\ud800" + "x" * 1_000
    found = problem(f'{{"{name}":1,"{name}":2}}'.encode())
    assert found.member.encode()
    assert len(found.message) < 250


@pytest.mark.parametrize("depth", [1, 3, 10, 15, 40])
def test_members_given_twice_further_down_are_left_to_whoever_reads_them(depth: int) -> None:
    nested = '{"a" : 1, "a" : 2, "b" : ' * depth + "[]" + "}" * depth
    assert message(f'{{"a" : {nested}, "b" : 0}}'.encode()).document.keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("body", "says", "offset"),
    [
        (b"", "The body is empty", None),
        (b"\xef\xbb\xbf{}", "byte order mark", None),
        (b'{"x":"a secret prompt \xff"}', "UTF-8", 22),
        (b'{"x":"\xed\xa0\x80"}', "UTF-8", 6),
        (b'["a secret prompt"]', "something else begins", 0),
        (b"  null", "something else begins", 2),
        (b'"a secret prompt"', "something else begins", 0),
        (b"a secret prompt", "something else begins", 0),
        (b'{"x":NaN}', "NaN", 5),
        (b'{"NaN":"NaN","x":[1,-Infinity]}', "Infinity", 20),
        (b'{"x":1}{"y":2}', "something follows", 7),
        (b'{"x":1,}', "name in double quotes", 7),
        (b'{"x" 1}', "expecting ':'", 5),
        (b'{"x":1 "y":2}', "expecting ','", 7),
        (b'{"x":[1,2}', "", 9),
        (b'{"x":[1,]}', "", 8),
        (b'{"x":01}', "", 6),
        (b'{"x":tru}', "", 5),
        (b'{"x":"a secret prompt', "", None),
        (b'{"x":"a secret prompt\n"}', "control character", 21),
        (b'{"x":"a secret prompt\\q"}', "escape", 21),
        (b'{"x":1', "ends too early", 6),
        (b"{'x':1}", "name in double quotes", 1),
    ],
)
def test_a_problem_says_what_is_wrong_and_where(body: bytes, says: str, offset: int | None) -> None:
    found = problem(body)
    assert says in found.message
    if offset is not None:
        assert f"at byte {offset}." in found.message


def test_offsets_count_bytes_and_not_characters() -> None:
    assert "at byte 13." in problem('{"ü":"äö",x:1}'.encode()).message


def test_nesting_is_bounded() -> None:
    """By both readers, and by the second parser within what the interpreter's stack holds."""
    for levels, is_read in ((MAX_NESTING, True), (MAX_NESTING + 1, False), (30_000, False)):
        body = b'{"x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
        for result in (read(body), run(body), run(body, 4_096)):
            assert isinstance(result, Message) == is_read
    assert isinstance(read(b'{"x":' + b"[" * 900 + b"1e400" + b"]" * 900 + b"}"), Message | Problem)


def test_members_of_the_top_level_are_bounded() -> None:
    for count, is_read in ((MAX_MEMBERS, True), (MAX_MEMBERS + 1, False)):
        body = json.dumps({str(number): number for number in range(count)}, separators=(",", ":")).encode()
        for result in (read(body), run(body)):
            assert isinstance(result, Message) == is_read


def test_the_repr_of_a_message_quotes_nothing_of_it() -> None:
    assert SECRET not in repr(message(f'{{"x":"{SECRET}"}}'.encode()))
