"""A body whose end is not known is sent as it comes, and asked for no faster than it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.places import ANSWER, leg, listening

from tidegate_sidecar.upstream.faults import FaultKind
from tidegate_sidecar.upstream.outgoing import Uploading

CHUNKED = b"POST /v1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
WITH_LENGTH = b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
MIB = 2**20
REFUSAL = b"HTTP/1.1 413 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Source:
    """What an application uploads, as far as a test lets it."""

    def __init__(self, length_bytes: int | None = None) -> None:
        self.length_bytes = length_bytes
        self.is_paused = False
        self.write: Callable[[bytes], None] = lambda _: None
        self.end: Callable[[str], None] = lambda _: None

    def start(self, write: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        self.write, self.end = write, on_end

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


def body_of(data: bytes) -> bytes:
    """What h11 reads as the body of the request that `data` is."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    body = b""
    while not isinstance(told := server.next_event(), h11.EndOfMessage):
        assert not isinstance(told, type), "the request is not whole"
        if isinstance(told, h11.Data):
            body += bytes(told.data)
    return body


async def test_pieces_are_chunks() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source()
        connection.send(CHUNKED, source, heard)
        source.write(b"hello ")
        source.write(b"")
        source.write(b"world")
        source.end("")
        peer = await place.peer()
        data = await peer.reader.readuntil(b"\r\n0\r\n\r\n")
        assert data == CHUNKED + b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
        assert body_of(data) == b"hello world"
        await peer.send(ANSWER)
        await heard.end()
        assert connection.is_idle


async def test_pieces_of_a_known_length_are_sent_as_they_are() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source(11)
        connection.send(WITH_LENGTH % 11, source, heard)
        peer = await place.peer()
        source.write(b"hello ")
        source.write(b"world")
        source.end("")
        assert await peer.request() == b"hello world"
        await peer.send(ANSWER)
        await heard.end()
        assert connection.is_idle


@pytest.mark.parametrize(
    ("length", "pieces", "reason", "told"),
    [
        (None, [b"hello"], "the application is gone", "the upload broke off: the application is gone"),
        (5, [b"he"], "", "the upload broke off: it is shorter than was said"),
        (5, [b"hello "], "", "the upload broke off: it is longer than was said"),
        (None, [], "it is too large", "the upload broke off: it is too large"),
    ],
)
async def test_an_upload_that_breaks_off_is_no_request(
    length: int | None, pieces: list[bytes], reason: str, told: str
) -> None:
    """The provider must not take half of it for the whole."""
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source(length)
        connection.send(CHUNKED if length is None else WITH_LENGTH % length, source, heard)
        for piece in pieces:
            source.write(piece)
        source.end(reason)
        fault = await heard.failure()
        assert (fault.kind, fault.reason, fault.sent) == (FaultKind.UPLOAD, told, True)
        assert connection.is_closed
        source.write(b"more")
        source.end("")
        assert b"\r\n0\r\n" not in await (await place.peer()).gone()


async def test_an_upload_is_paused_while_nobody_takes_it() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source()
        connection.send(CHUNKED, source, heard)
        transport = connection._transport
        assert transport is not None
        piece, sent, largest = bytes(64 * 1_024), 0, 0

        async def upload() -> None:
            nonlocal sent, largest
            while sent < 20 * MIB:
                if not source.is_paused:
                    source.write(piece)
                    sent += len(piece)
                largest = max(largest, transport.get_write_buffer_size())
                await asyncio.sleep(0)
            source.end("")

        uploading = asyncio.get_running_loop().create_task(upload())
        for _ in range(300):
            await asyncio.sleep(0)
        assert source.is_paused
        assert sent < 20 * MIB
        peer = await place.peer()
        received, tail = 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = await peer.reader.read(MIB)
            received, tail = received + len(data), (tail + data)[-7:]
        await uploading
        assert received == len(CHUNKED) + 20 * 16 * (len(piece) + len(b"10000\r\n\r\n")) + len(b"0\r\n\r\n")
        assert largest <= 256 * 1_024
        await peer.send(ANSWER)
        await heard.end()
        assert connection.is_idle


async def test_an_early_answer_ends_an_upload() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source()
        connection.send(CHUNKED, source, heard)
        source.write(b"hello")
        peer = await place.peer()
        await peer.reader.readuntil(b"hello\r\n")
        await peer.send(REFUSAL)
        await heard.end()
        assert heard.status == 413
        assert connection.is_closed
        source.write(b"more")
        source.end("")
        assert await peer.gone() == b""


async def test_what_can_be_read_is_read_before_more_is_written() -> None:
    """An answer with a reset behind it lies in the socket when the next piece comes."""
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source()
        connection.send(CHUNKED, source, heard)
        source.write(b"hello")
        peer = await place.peer()
        await peer.reader.readuntil(b"hello\r\n")
        peer.writer.write(REFUSAL)
        source.write(b"never sent")
        assert source.is_paused
        await heard.end()
        assert heard.status == 413
        assert b"never sent" not in await peer.gone()


async def test_an_upload_goes_on_behind_an_interim_head() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard, source = await it.connect(), Heard(), Source()
        connection.send(CHUNKED, source, heard)
        peer = await place.peer()
        peer.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        source.write(b"one")
        source.write(b"two")
        assert source.is_paused
        await until(lambda: not source.is_paused)
        source.write(b"three")
        peer.writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        source.write(b"four")
        source.end("")
        data = await peer.reader.readuntil(b"\r\n0\r\n\r\n")
        assert body_of(data) == b"onetwothreefour"
        await peer.send(ANSWER)
        await heard.end()
        assert connection.is_idle


class Wire:
    """Takes what is written, and is full after so many writes."""

    def __init__(self) -> None:
        self.written = b""
        self.is_over = False

    def write(self, data: bytes | memoryview) -> None:
        self.written += data

    def has_unread(self) -> bool:
        return False

    def body_is_out(self) -> None:
        self.is_over = True

    def break_off(self, reason: str) -> None:
        raise AssertionError(reason)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_pieces_are_one_body(pieces: list[bytes]) -> None:
    for length in (None, sum(map(len, pieces))):
        wire, source = Wire(), Source(length)
        Uploading(wire, source).start()
        for piece in pieces:
            source.write(piece)
        source.end("")
        assert wire.is_over
        head = CHUNKED if length is None else WITH_LENGTH % length
        assert body_of(head + wire.written) == b"".join(pieces)
