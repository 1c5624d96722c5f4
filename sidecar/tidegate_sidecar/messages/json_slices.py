"""The top level of a JSON object of any size, in steps that are short for the event loop.

All of the text is judged by the parsers of `json_values`, UTF-8 included, a piece at a time, and nothing is kept of a piece.
Arrays and objects are cut between two tokens (`json_pieces`). A string that is longer than a slice is cut between two
characters, and its pieces are judged as strings; a number that is longer is shortened first. Nothing else is that long
but white space. Names of the top level are limited in length and number, nesting is limited in depth.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

from tidegate_sidecar.messages.json_members import SPACE, Member, decoded, nested
from tidegate_sidecar.messages.json_pieces import (
    MAX_NESTING,
    beginning_of,
    end_of_value,
    ending_of,
    followed,
    whole_tokens,
)
from tidegate_sidecar.messages.json_values import STRING, NotJsonError, check

Steps = Generator[None, None, None]

SLICE_BYTES: Final = 32 * 1024
MAX_MEMBERS: Final = 4_096
"""Of the top level."""
MAX_NAME_BYTES: Final = 64 * 1024

_LEAST_SLICE: Final = 16
"""Holds a whole escape and a whole character, so that each step goes on."""
_SMALL_BYTES: Final = 4_096
"""Of a value that is tried as a whole first."""
_FIRST_BYTES: Final = 256
"""Of the first piece of another one. Each piece has four times as many as the one before, up to a slice."""
_MEMBER_COST: Final = 512
"""What a member counts in a slice besides its bytes."""
_LEVELS: Final = 4
_SPACES: Final = re.compile(SPACE)
_WHOLE_STRING: Final = re.compile(STRING, re.DOTALL)
_SMALL: Final = re.compile(STRING + rb'|[^"\[\]{},: \t\n\r]++|' + nested(_LEVELS, STRING), re.DOTALL)
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?>(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*+)*)', re.DOTALL)
_SCALAR: Final = re.compile(rb"[-+.0-9A-Za-z]*+")
_DIGITS: Final = re.compile(rb"([0-9]{2})[0-9]+")
_LONGEST_SHORTENED: Final = 16
"""Characters of a number of which only two digits of each run are left, with room to spare."""


class GivenTwiceError(ValueError):
    """A member of the top level is given twice."""

    def __init__(self, name: str) -> None:
        super().__init__("a member of the top level is given twice")
        self.name = name


def members_in_slices(body: bytes, *, slice_bytes: int = SLICE_BYTES) -> Generator[None, None, list[Member]]:
    """The members of the top level, after all of the text was found to be JSON; each yield ends a step.

    Raises:
        NotJsonError: the text is no JSON object, or beyond the bounds of this module.
        GivenTwiceError: by whatever spelling of its name.
    """
    reading = SlicedReading(body, max(slice_bytes, _LEAST_SLICE))
    yield from reading.read()
    return reading.members


class SlicedReading:
    """One text, and how far it has been read. `members` are all there when `read` has ended."""

    __slots__ = ("_body", "_position", "_slice", "_spent", "members", "names")

    def __init__(self, body: bytes, slice_bytes: int) -> None:
        self._body = body
        self._slice = slice_bytes
        self._position = 0
        self._spent = 0
        self.names: set[str] = set()
        self.members: list[Member] = []

    def read(self) -> Steps:
        yield from self._skip_space()
        self._take(b"{", "something else begins")
        yield from self._skip_space()
        if not self._next_is(b"}"):
            yield from self._read_member()
            while self._next_is(b","):
                self._position += 1
                yield from self._skip_space()
                yield from self._read_member()
        self._take(b"}", "expecting ',' or '}'")
        yield from self._skip_space()
        if self._position < len(self._body):
            raise NotJsonError("something follows the object", self._position)

    def add(self, member: Member) -> None:
        """Take note of one more member.

        Raises:
            GivenTwiceError: there is one of its name.
        """
        if member.name in self.names:
            raise GivenTwiceError(member.name)
        self.names.add(member.name)
        self.members.append(member)

    def judge(self, text: bytes) -> None:
        """Look at a piece of the text that is JSON by itself.

        Raises:
            NotJsonError: it is none.
        """
        check(text)

    def _read_member(self) -> Steps:
        start = self._position
        name = self._read_name()
        yield from self._skip_space()
        self._take(b":", "expecting ':'")
        yield from self._skip_space()
        value_start = self._position
        yield from self._read_value()
        end = self._position
        if len(self.members) == MAX_MEMBERS:
            raise NotJsonError(f"more than {MAX_MEMBERS} members", start)
        self.add(Member(name, start, value_start, end))
        yield from self._skip_space()
        self._spent += _MEMBER_COST + end - start
        if self._spent >= self._slice:
            self._spent = 0
            yield

    def _read_name(self) -> str:
        start = self._position
        match = _WHOLE_STRING.match(self._body, start, start + MAX_NAME_BYTES)
        if match is None:
            reason = f"expecting a name in double quotes, of at most {MAX_NAME_BYTES} bytes"
            raise NotJsonError(reason, start)
        self._position = match.end()
        self._check(match[0], start, self._position)
        return decoded(match[0])

    def _read_value(self) -> Steps:
        start = self._position
        limit = min(start + min(_SMALL_BYTES, self._slice), len(self._body))
        match = _SMALL.match(self._body, start, limit)
        if match is not None and (match.end() < limit or limit == len(self._body)):
            self._position = match.end()
            self._check(match[0], start, self._position)
        elif self._next_is(b"[") or self._next_is(b"{"):
            yield from self._read_container()
        else:
            yield from self._read_long_token()

    def _read_container(self) -> Steps:
        """An array or object of any size, up to behind its last bracket."""
        last, head = self._body[self._position : self._position + 1], b""
        levels = b"[" + last  # as if the value stood in an array: then all pieces are alike
        self._position += 1
        size = min(_FIRST_BYTES, self._slice)
        while True:
            start = self._position
            piece, brackets = self._whole_tokens(start, start + size)
            size = min(4 * size, self._slice)
            if not piece:
                yield from self._skip_space()
                if self._position > start:
                    continue
                if head:
                    raise NotJsonError("expecting ',' or a closing bracket", start)
                head = b'""' if self._next_is(b'"') else b"0"
                yield from self._read_long_token()
                continue
            before = levels
            levels, lowest, highest = followed(before, brackets)
            if highest > MAX_NESTING:
                raise NotJsonError(f"more than {MAX_NESTING} levels of nesting begin", start)
            if lowest == 0:
                piece = piece[: end_of_value(piece, len(before) - 1)]
                levels, lowest = before[:1], 1
            beginning = beginning_of(before[lowest - 1 :], last) + head
            last, head = piece[-1:], b""
            ending = ending_of(levels[lowest - 1 :], last)
            self._position = start + len(piece)
            self._check(beginning + piece + ending, start, self._position, len(beginning))
            if len(levels) == 1:
                return
            yield

    def _whole_tokens(self, start: int, limit: int) -> tuple[bytes, bytes]:
        try:
            return whole_tokens(self._body[start:limit])
        except NotJsonError as error:
            raise NotJsonError(error.reason, start + error.offset) from error

    def _read_long_token(self) -> Steps:
        """A string of any length, or another value without brackets."""
        if self._next_is(b'"'):
            yield from self._read_long_string()
        else:
            yield from self._read_long_scalar()

    def _read_long_string(self) -> Steps:
        body = self._body
        self._position += 1
        while True:
            start = self._position
            limit = min(start + self._slice, len(body))
            if body.find(b"\\", start, limit) < 0:
                end = body.find(b'"', start, limit)
                end = limit if end < 0 else end
            else:
                match = _IN_STRING.match(body, start, limit)
                assert match is not None  # noqa: S101 - the pattern fits the empty text
                end = match.end()
            is_closed = body[end : end + 1] == b'"'
            if not is_closed:
                if end == len(body):
                    raise NotJsonError("the text ends within a string", end)
                while body[end] & 0xC0 == 0x80 and end > limit - 4:  # noqa: PLR2004 - within a character of UTF-8
                    end -= 1
                if end <= start:
                    raise NotJsonError("an invalid escape or character", start)
            self._check(b'"' + body[start:end] + b'"', start, end, 1)
            self._position = end
            if is_closed:
                self._position += 1
                return
            yield

    def _read_long_scalar(self) -> Steps:
        start = self._position
        head = b""
        while True:
            limit = min(self._position + self._slice, len(self._body))
            match = _SCALAR.match(self._body, self._position, limit)
            assert match is not None  # noqa: S101 - the pattern fits the empty text
            head = _DIGITS.sub(rb"\1", head + match[0])
            self._position = match.end()
            if self._position < limit or limit == len(self._body):
                break
            if len(head) > _LONGEST_SHORTENED:
                break
            yield
        self._check(head, start, self._position)

    def _skip_space(self) -> Steps:
        while True:
            limit = self._position + self._slice
            match = _SPACES.match(self._body, self._position, limit)
            assert match is not None  # noqa: S101 - the pattern fits the empty text
            self._position = match.end()
            if self._position < limit:
                return
            yield

    def _next_is(self, token: bytes) -> bool:
        return self._body.startswith(token, self._position)

    def _take(self, token: bytes, otherwise: str) -> None:
        if not self._next_is(token):
            ends = self._position == len(self._body)
            raise NotJsonError("the text ends too early" if ends else otherwise, self._position)
        self._position += 1

    def _check(self, text: bytes, start: int, end: int, added: int = 0) -> None:
        """Let the parsers judge `text`, which is `body[start:end]` behind `added` bytes of ours, and before some more."""
        try:
            self.judge(text)
        except NotJsonError as error:
            raise NotJsonError(error.reason, min(max(start + error.offset - added, start), end)) from error
