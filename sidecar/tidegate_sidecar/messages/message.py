"""The body of one call: its bytes as they came, what is in them, and edits that leave every other byte.

A provider gets what the application wrote: escapes, white space, the order of members and numbers of any length are never
written anew. What is refused is what two readers could understand differently: no UTF-8, no JSON by RFC 8259, a member of the
top level that is given twice. Members given twice further down are for whoever reads them.

Names are compared as they stand; whether "Model" is a mistake for "model" is for the dialect to say.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from typing import Final, TypeVar

import orjson

from tidegate_sidecar.dialects.base import Problem
from tidegate_sidecar.messages.json_members import (
    Member,
    compact_members,
    count_members,
    scanned_members,
)
from tidegate_sidecar.messages.json_slices import (
    MAX_MEMBERS,
    SLICE_BYTES,
    GivenTwiceError,
    members_in_slices,
)
from tidegate_sidecar.messages.json_values import NotJsonError, Raw, parse

AT_ONCE_BYTES: Final = 32 * 1024
"""Bodies of more bytes are read by `read_in_slices`: what this many can cost in the worst case is short for the event loop."""
PARSED_BYTES: Final = 512 * 1024
"""Bodies of more bytes are parsed in part."""
PARSED_CONTAINERS: Final = 50_000
"""The same for bodies with more opening brackets, which is what parsing takes long for (those in strings are counted too)."""
PARSED_IN_PART_BYTES: Final = 64 * 1024
"""Of a body that is parsed in part the smallest members are parsed, as many as have this size together."""
SECOND_PARSER_BYTES: Final = 256 * 1024
"""Values that orjson refuses are parsed up to this size."""

_MAX_SHOWN: Final = 80
"""Characters of a member's name that are shown to a person."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_T = TypeVar("_T")


class Message:
    """A body that is one JSON object. It is never changed: edits return another one.

    Attributes:
        body: as it came, or as it was edited.
        document: the members of the top level. Integers beyond 64 bits are floats, numbers beyond those `HugeNumber`; a lone
            surrogate stands in its string. A value that would hold the event loop for too long is a `Raw`, which says where it is.
        is_changed: an edit has been made.
    """

    __slots__ = ("_is_compact", "_members", "body", "document", "is_changed")

    def __init__(
        self,
        body: bytes,
        document: Mapping[str, object],
        members: list[Member] | None = None,
        *,
        is_compact: bool = False,
        is_changed: bool = False,
    ) -> None:
        """`members` where they are known; `is_compact` where the body is what orjson writes for the document."""
        self.body = body
        self.document = document
        self.is_changed = is_changed
        self._members = members
        self._is_compact = is_compact

    def __repr__(self) -> str:
        return f"<Message of {len(self.body)} bytes{', changed' if self.is_changed else ''}>"

    def with_string(self, name: str, value: str) -> Message:
        """The same with the string `value` for `name`, which becomes the first member where it is missing."""
        text = _written(value)
        if name not in self.document:
            return self.with_member(name, text)
        old = self.document[name]
        if self._is_compact and isinstance(old, str):
            # A compact text writes each string in one way, so what stands there once is the member of the top level.
            named = _written(name) + b":"
            before, found, after = self.body.partition(named + _written(old))
            if found and named not in after:
                body = b"".join((before, named, text, after))
                is_compact = b"\\ud" not in text  # half of a surrogate pair, which orjson does not write
                return Message(body, {**self.document, name: value}, is_compact=is_compact, is_changed=True)
        return self._replaced(name, text, value)

    def with_member(self, name: str, json_text: bytes) -> Message:
        """The same with the value `json_text` for `name`, which becomes the first member where it is missing.

        Raises:
            ValueError: `json_text` is no JSON.
        """
        value = parse(json_text)
        if name in self.document:
            return self._replaced(name, json_text, value)
        start = self.body.index(b"{") + 1
        named = _written(name) + b":"
        text = named + json_text
        added = Member(name, start, start + len(named), start + len(text))
        if self.document:
            text += b","
        return self._spliced(start, start, text, {name: value, **self.document}, added)

    def without_member(self, name: str) -> Message:
        """The same without `name` and one comma with the space around it; this message where there is no such member."""
        if name not in self.document:
            return self
        members = list(self._places())
        index = next(index for index, member in enumerate(members) if member.name == name)
        start, end = members[index].start, members[index].end
        if index + 1 < len(members):
            end = members[index + 1].start
        elif index:
            start = members[index - 1].end
        document = {other: value for other, value in self.document.items() if other != name}
        return self._spliced(start, end, b"", document, None)

    def _replaced(self, name: str, text: bytes, value: object) -> Message:
        _, start, value_start, end = next(place for place in self._places() if place.name == name)
        new = Member(name, start, value_start, value_start + len(text))
        return self._spliced(value_start, end, text, {**self.document, name: value}, new)

    def _spliced(
        self, start: int, end: int, text: bytes, document: dict[str, object], new: Member | None
    ) -> Message:
        """With `text` for `body[start:end]`; `new` is the member that is there now."""
        view = memoryview(self.body)
        body = b"".join((view[:start], text, view[end:]))
        if self._members is None:
            is_compact = self._is_compact and (
                new is None or _is_compact(body[new.value_start : new.end], document[new.name])
            )
            return Message(body, document, is_compact=is_compact, is_changed=True)
        moved = len(text) - (end - start)
        members = [member for member in self._members if member.end <= start]
        if new is not None:
            members.append(new)
        for member in self._members:
            if member.start >= end:
                name, *places = member
                members.append(Member(name, *(place + moved for place in places)))
                value = document[name]
                if isinstance(value, Raw):
                    document[name] = Raw(value.start + moved, value.end + moved)
        return Message(body, document, members, is_changed=True)

    def _places(self) -> Iterator[Member]:
        """The members as they stand in the body: looked for when an edit is asked for, as far as it needs them."""
        if self._is_compact:
            yield from compact_members(self.document)
        elif self._members is not None:
            yield from self._members
        else:
            found = 0
            for member in scanned_members(self.body):
                found += 1
                yield member
            if found < len(self.document):
                yield from _run(members_in_slices(self.body))[found:]


def read(body: bytes) -> Message | Problem:
    """What is in `body`, which should have no more than `AT_ONCE_BYTES`."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return _run(read_in_slices(body))
    if type(document) is dict and len(document) <= MAX_MEMBERS:
        if _is_compact(body, document):
            return Message(body, document, is_compact=True)
        if count_members(body) == len(document):
            return Message(body, document)
    return _run(read_in_slices(body))


def read_in_slices(
    body: bytes, *, slice_bytes: int = SLICE_BYTES, parsed_bytes: int = PARSED_BYTES
) -> Generator[None, None, Message | Problem]:
    """What is in `body`, of any size, in steps that are short for the event loop; each yield ends one.

    All of the text is checked by the rules that `read` has. A body of more than `parsed_bytes` is parsed in part: its
    largest values stand in the document as `Raw`.
    """
    if not body:
        return Problem("The body is empty; a JSON object is expected.")
    if body.startswith(_BYTE_ORDER_MARK):
        return Problem(
            "The body begins with a byte order mark, which JSON must not have (RFC 8259 section 8.1)."
        )
    document: dict[str, object] | None = None
    budget = PARSED_IN_PART_BYTES
    if len(body) <= parsed_bytes and body.count(b"[") + body.count(b"{") <= PARSED_CONTAINERS:
        budget = len(body)
        document = _parsed_at_once(body)
        if document is not None:
            if len(body) > slice_bytes:
                yield
            if _is_compact(body, document):
                return Message(body, document, is_compact=True)
    try:
        members = yield from members_in_slices(body, slice_bytes=slice_bytes)
    except NotJsonError as error:
        return Problem(f"The body cannot be read as a JSON object: {error.reason} at byte {error.offset}.")
    except GivenTwiceError as error:
        return _given_twice(error.name)
    if document is None:
        document = yield from parsed_in_part(body, members, budget, slice_bytes)
    return Message(body, document, members)


def _parsed_at_once(body: bytes) -> dict[str, object] | None:
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    return document if type(document) is dict and len(document) <= MAX_MEMBERS else None


def parsed_in_part(
    body: bytes, members: list[Member], budget: int, slice_bytes: int
) -> Generator[None, None, dict[str, object]]:
    """The values of `members`, the smallest first until `budget` bytes are parsed."""
    values: dict[str, object] = {}
    spent = 0
    for member in sorted(members, key=lambda member: member.end - member.value_start):
        size = member.end - member.value_start
        budget -= size
        values[member.name] = _parsed_or_raw(body, member) if budget >= 0 else Raw(*member[2:])
        spent += size
        if spent >= slice_bytes and budget >= 0:
            spent = 0
            yield
    return {member.name: values[member.name] for member in members}


def _parsed_or_raw(body: bytes, member: Member) -> object:
    text = body[member.value_start : member.end]
    try:
        return orjson.loads(text) if len(text) > SECOND_PARSER_BYTES else parse(text)
    except ValueError:
        return Raw(member.value_start, member.end)


def _is_compact(text: bytes, value: object) -> bool:
    """Whether `text` is what orjson writes for `value`, so that it can be understood in one way only."""
    try:
        return orjson.dumps(value) == text
    except TypeError:  # nested more deeply than it writes, or with values of the second parser
        return False


def _written(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except TypeError:  # a lone surrogate
        return json.dumps(text).encode()


def _given_twice(name: str) -> Problem:
    shown = name[:_MAX_SHOWN].encode(errors="backslashreplace").decode()
    return Problem(
        f"The body has the member {shown!r} twice at its top level: two readers could understand two things.",
        shown,
    )


def _run(steps: Generator[None, None, _T]) -> _T:
    """All steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
