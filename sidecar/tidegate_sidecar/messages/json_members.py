"""Where the members of a body's top level are: looked for only in texts that are known to be JSON objects.

Two bodies are told apart. A *compact* one is byte for byte what orjson writes for its document, as most SDKs send it: the
comparison proves that no member is given twice and no name is escaped needlessly, and a member's place is the length of
what comes before it. Any other one is scanned by regular expressions that step over whole values, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import orjson

from tidegate_sidecar.messages.json_values import parse

SPACE: Final = rb"[ \t\n\r]*+"
_PLAIN: Final = rb'[^"\[\]{}]*+'


class Member(NamedTuple):
    """One member of the top level: its decoded name, and where it begins, its value begins, and both end."""

    name: str
    start: int
    value_start: int
    end: int


def nested(levels: int, string: bytes) -> bytes:
    """A pattern for an array or object that nests at most `levels` deep. It does not tell the kinds of brackets apart."""
    pattern = rb"[\[{]" + _PLAIN + rb"(?>(?:" + string + _PLAIN + rb")*)[\]}]"
    for _ in range(levels - 1):
        pattern = (
            rb"[\[{]" + _PLAIN + rb"(?>(?:(?:" + string + rb"|" + pattern + rb")" + _PLAIN + rb")*)[\]}]"
        )
    return pattern


_LEVELS: Final = 12
"""Of JSON schemas in tools, which are the deepest values that are common. Deeper ones are found by the sliced reader."""
_STRING: Final = rb'"[^"]*+"'
"""Where no quotation mark is escaped: five times as fast as `STRING`."""
_MEMBER: Final = re.compile(
    rb"[{,]" + SPACE + rb"(" + _STRING + rb")" + SPACE + rb":" + SPACE
    + rb"(" + _STRING + rb'|[^"\[\]{}, \t\n\r]++|' + nested(_LEVELS, _STRING) + rb")" + SPACE
)  # fmt: skip
_ROUNDS: Final = 2


def _brackets(levels: int) -> bytes:
    pattern = rb"[\[{][^\[\]{}]*+[\]}]"
    for _ in range(levels - 1):
        pattern = rb"[\[{][^\[\]{}]*+(?>(?:" + pattern + rb"[^\[\]{}]*+)*)[\]}]"
    return pattern


_NESTED_WITHOUT_STRINGS: Final = re.compile(_brackets(_LEVELS))


def count_members(body: bytes) -> int | None:
    """How many members the top level of an object has, counted as they are written. None: it nests too deeply to say.

    Nothing is decoded and no place is found, which makes this the cheapest way to see that a name is given twice.
    """
    outside = b"".join(split_at_quotes(body)[::2])
    outside = outside[outside.find(b"{") + 1 : outside.rfind(b"}")]
    for _ in range(_ROUNDS):
        if b"{" not in outside and b"[" not in outside:
            return outside.count(b":")
        outside = _NESTED_WITHOUT_STRINGS.sub(b"", outside)
    return None


def scanned_members(body: bytes) -> Iterator[Member]:
    """The members of an object in the order in which they stand, up to the first that nests too deeply for this scan."""
    position = body.find(b"{")
    for match in _MEMBER.finditer(_with_quotes_hidden(body), position):
        if match.start() != position:
            return
        position = match.end()
        start, end = match.span(1)
        yield Member(decoded(body[start:end]), start, *match.span(2))


def compact_members(document: Mapping[str, object]) -> Iterator[Member]:
    """The members of the compact text of `document`; those behind the last one that is taken cost nothing."""
    start = 1
    for name, value in document.items():
        value_start = start + len(orjson.dumps(name)) + 1
        end = value_start + len(orjson.dumps(value))
        yield Member(name, start, value_start, end)
        start = end + 1


def split_at_quotes(text: bytes) -> list[bytes]:
    """What is outside and inside of strings by turns; what is outside as it is written, all with its length."""
    return _with_quotes_hidden(text).split(b'"')


def _with_quotes_hidden(text: bytes) -> bytes:
    """With other bytes for escaped backslashes and quotation marks: those that are left begin or end a string."""
    if b"\\\\" in text:
        text = text.replace(b"\\\\", b"__")
    if b'\\"' in text:
        text = text.replace(b'\\"', b"__")
    return text


def decoded(string: bytes) -> str:
    """What a JSON string stands for; `string` with its quotation marks."""
    if b"\\" not in string:
        return string[1:-1].decode()
    value = parse(string)
    assert isinstance(value, str)  # noqa: S101 - the scan found a string
    return value
