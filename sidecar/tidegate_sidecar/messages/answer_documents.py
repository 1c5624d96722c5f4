"""What a provider's whole answer says, read in steps that are short for the event loop where it is large.

An answer is read as the SDKs read it, so with less rigour than a request: a byte order mark, NaN and a member that is given
twice are no reason to refuse what the caller has paid for. Of such a member the last one counts.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from tidegate_sidecar.dialects.json_text import read_json
from tidegate_sidecar.messages.json_members import Member
from tidegate_sidecar.messages.json_slices import SLICE_BYTES, SlicedReading
from tidegate_sidecar.messages.json_values import NotJsonError
from tidegate_sidecar.messages.message import (
    PARSED_BYTES,
    PARSED_CONTAINERS,
    PARSED_IN_PART_BYTES,
    parsed_in_part,
)

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def document_of(body: bytes) -> object:
    """The document that `body` is; None where it is no JSON."""
    try:
        return read_json(body)
    except ValueError:
        return None


def document_in_slices(body: bytes) -> Generator[None, None, object]:
    """The same of a body of any size; each yield ends a step.

    Of what is too large to be parsed at once only an object is read, and its largest members stand in it as `Raw`.
    """
    if len(body) <= PARSED_BYTES and body.count(b"[") + body.count(b"{") <= PARSED_CONTAINERS:
        return document_of(body)
    body = body.removeprefix(_BYTE_ORDER_MARK)
    reading = _AnswerReading(body, SLICE_BYTES)
    try:
        yield from reading.read()
    except NotJsonError:
        return None
    return (yield from parsed_in_part(body, reading.members, PARSED_IN_PART_BYTES, SLICE_BYTES))


class _AnswerReading(SlicedReading):
    """Reads what the SDKs read."""

    __slots__ = ()

    def add(self, member: Member) -> None:
        if member.name in self.names:
            self.members = [other for other in self.members if other.name != member.name]
            self.names.discard(member.name)
        super().add(member)

    def judge(self, text: bytes) -> None:
        try:
            read_json(text)
        except ValueError as error:
            raise NotJsonError("no JSON", 0) from error
