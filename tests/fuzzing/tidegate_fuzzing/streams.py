"""Event streams, and what the dialects read in them and in whole answers."""

from __future__ import annotations

import re

from tidegate_fuzzing.cutting import chosen, cut
from tidegate_sidecar.dialects.anthropic import Anthropic
from tidegate_sidecar.dialects.base import (
    Asked,
    Endpoint,
    Event,
    Judged,
    Operation,
    Problem,
    UnreadableError,
    Usage,
)
from tidegate_sidecar.dialects.json_text import read_json
from tidegate_sidecar.dialects.openai import OpenAI
from tidegate_sidecar.dialects.sse import EventSplitter, EventTooLargeError
from tidegate_sidecar.proxy.redact import StreamRedactor, without

BOM = b"\xef\xbb\xbf"
KEYS = (b"sk-0123456789abcdef", b"sk-01234ABCDEFGHIJKL")
STATUSES = (200, 204, 400, 401, 402, 403, 404, 408, 413, 429, 500, 503, 529, 599)


def events(data: bytes) -> None:
    """Where a stream is cut changes none of its events; no byte is lost, and each is what the standard says.

    Cut within the line end behind an event, it is told before the line feed has come, which then begins the next one.
    """
    limit, data = chosen(data)
    pieces, whole = cut(data)
    expected = _by_the_standard(whole)
    for split in (_split([whole], 2**20), _split(pieces, 2**20)):
        assert split is not None
        assert b"".join(raw for raw, _, _ in split) == whole
        assert [(name, data) for _, name, data in split if data] == expected
    bounded = _split(pieces, limit)
    assert bounded is None or max((len(raw) for raw, _, _ in bounded), default=0) <= limit


def openai(data: bytes) -> None:
    """Nothing but what the protocol says comes of a stream of chunks."""
    for operation in (Operation.CHAT, Operation.RESPONSES):
        _read_stream(OpenAI().endpoints[operation], data)


def anthropic(data: bytes) -> None:
    """Nothing but what the protocol says comes of a stream of events."""
    _read_stream(Anthropic().endpoints[Operation.CHAT], data)


def documents(data: bytes) -> None:
    """Any whole answer is judged, its usage is read, and any request asks for something or has a problem."""
    number, text = chosen(data)
    try:
        document = read_json(text)
    except ValueError:
        document = None
    for dialect in (OpenAI(), Anthropic()):
        _check_judged(dialect.judge(STATUSES[number % len(STATUSES)], document))
        _check_usage(dialect.usage(document))
        if isinstance(document, dict):
            for endpoint in dialect.endpoints.values():
                asked = endpoint.asked(document)
                assert isinstance(asked, Asked | Problem)
                if isinstance(asked, Asked):
                    assert type(asked.model) is type(asked.state) is str
                    assert type(asked.stream) is bool
                    assert endpoint.stream_reader is not None or not asked.stream


def secrets(data: bytes) -> None:
    """No secret is left in a stream, however it was cut, and nothing else is changed."""
    pieces, whole = cut(data)
    redactor = StreamRedactor(KEYS)
    passed = b"".join(redactor.feed(piece) for piece in pieces) + redactor.finish()
    assert passed == without(KEYS, whole)
    assert not any(key in passed for key in KEYS)


def _split(pieces: list[bytes], limit: int) -> list[Event] | None:
    splitter = EventSplitter(limit)
    try:
        found = [event for piece in pieces for event in splitter.feed(piece)]
    except EventTooLargeError:
        return None
    return [*found, *splitter.end()]


def _by_the_standard(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Name and data of each event with data (WHATWG HTML section 9.2.6), the last one also without a blank line."""
    found: list[tuple[bytes, bytes]] = []
    name, data = b"", list[bytes]()
    for line in [*re.split(rb"\r\n|\r|\n", stream.removeprefix(BOM)), b""]:
        if not line:
            if joined := b"\n".join(data):
                found.append((name, joined))
            name, data = b"", []
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return found


def _read_stream(endpoint: Endpoint, data: bytes) -> None:
    assert endpoint.stream_reader is not None, "one that is read"
    reader = endpoint.stream_reader()
    for event in _split([data], 2**20) or ():
        try:
            reader.read(event)
        except UnreadableError:
            break
        if reader.is_complete:
            break
    for said in (reader.has_content, reader.is_complete, reader.may_end):
        assert type(said) is bool
    assert reader.may_end or not reader.is_complete
    _check_usage(reader.usage)
    if reader.failure is not None:
        _check_judged(reader.failure)


def _check_judged(judged: Judged) -> None:
    assert isinstance(judged, Judged)
    assert len(judged.word) <= 80
    judged.word.encode()


def _check_usage(usage: Usage) -> None:
    assert all(count is None or (type(count) is int and count >= 0) for count in usage)
