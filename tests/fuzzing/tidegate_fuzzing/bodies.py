"""Bodies of requests: JSON by two readers, edits, and encodings."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TypeVar

from tidegate_fuzzing.cutting import chosen, cut
from tidegate_sidecar.dialects.base import Problem
from tidegate_sidecar.messages.encodings import Decoder, EncodingError, decode
from tidegate_sidecar.messages.message import Message, read, read_in_slices

CODINGS = ("gzip", "deflate", "br", "zstd", "gzip, br", "deflate, zstd")
LIMIT = 2**20

T = TypeVar("T")


def messages(data: bytes) -> None:
    """Both readers agree, accept nothing that is no JSON, and change no byte; an edit changes one member."""
    number, body = chosen(data)
    whole = read(body)
    sliced = _run(read_in_slices(body, slice_bytes=16 + number, parsed_bytes=64 if number % 2 else 2**20))
    assert type(whole) is type(sliced)
    if isinstance(whole, Problem):
        whole.message.encode()
        return
    assert isinstance(sliced, Message)
    assert whole.body is sliced.body is body
    assert list(whole.document) == list(sliced.document)
    plain = json.loads(body.decode(), parse_int=float)
    assert isinstance(plain, dict)
    for message in (whole, sliced):
        for name in list(message.document)[:3]:
            edited = message.with_string(name, "put")
            assert edited.is_changed
            _same(json.loads(edited.body.decode(), parse_int=float), {**plain, name: "put"})
            without = message.without_member(name)
            _same(
                json.loads(without.body.decode(), parse_int=float),
                {other: value for other, value in plain.items() if other != name},
            )


def encodings(data: bytes) -> None:
    """However the bytes arrive, the same comes out or none does, within the bound."""
    number, data = chosen(data)
    pieces, body = cut(data)
    coding = CODINGS[number % len(CODINGS)]
    once = _decoded(body, coding)
    often = _fed(pieces, coding)
    assert (once is None) == (often is None)
    assert once == often
    assert once is None or len(once) <= LIMIT


def _decoded(body: bytes, coding: str) -> bytes | None:
    try:
        return decode(body, coding, LIMIT)
    except EncodingError:
        return None


def _fed(pieces: list[bytes], coding: str) -> bytes | None:
    decoder = Decoder(coding, limit_bytes=LIMIT)
    found = b""
    try:
        for piece in pieces:
            found += decoder.feed(piece)
            while decoder.has_more:
                found += decoder.feed(b"")
        decoder.finish()
    except EncodingError:
        return None
    return found


def _same(found: object, expected: object) -> None:
    """Compared as text, since nan is not itself."""
    assert repr(found) == repr(expected)


def _run(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
