"""Both ways nothing is read faster than it is wanted, and nothing is written faster than it is taken."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.places import ANSWER, Peer, leg, listening, send

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.faults import FaultKind

MIB = 2**20
LARGE = bytes(range(256)) * 4 * 6 * 1_024
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge"


async def test_what_nobody_wants_yet_is_not_read() -> None:
    """The provider writes until the kernel's buffers are full, and no further."""
    async with listening() as place, leg(place) as it:
        connection = await it.connect()
        heard = Heard(lambda what: connection.pause() if what == "body" else None)
        send(connection, heard)
        peer = await place.peer()
        body = bytes(64 * MIB)
        await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await until(lambda: heard.pieces)
        left = -1
        while left != (left := peer.writer.transport.get_write_buffer_size()):
            for _ in range(50):
                await asyncio.sleep(0)
        assert left > 40 * MIB
        assert len(heard.body) < MIB
        assert not connection.has_unread(), "nobody is told of what cannot be read"
        for _ in range(10):
            pieces = len(heard.pieces)
            connection.resume()
            await until(lambda: len(heard.pieces) > pieces)  # noqa: B023 - it is awaited here
            assert len(heard.pieces[-1]) <= MIB
        connection.close()


async def test_an_answer_that_ends_while_it_is_paused_leaves_a_connection_that_is_read() -> None:
    async with listening() as place, leg(place) as it:
        connection = await it.connect()
        heard = Heard(lambda what: connection.pause() if what == "body" else None)
        send(connection, heard)
        peer = await place.peer()
        await peer.answer()
        await heard.end()
        assert connection.is_idle
        await peer.send(b"x")
        await until(lambda: connection.is_closed)


async def test_a_small_request_is_one_write() -> None:
    """Head and body come to the other side together."""
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        written: list[int] = []
        transport: Any = connection._transport

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                written.append(len(data))
                transport.write(data)

        connection._transport = Counting()  # type: ignore[assignment]
        send(connection, heard, bytes(256 * 1_024))
        assert len(written) == 1
        await (await place.peer()).answer()
        await heard.end()


async def test_a_large_request_is_written_as_fast_as_it_is_taken() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        body = LARGE * 5
        send(connection, heard, body)
        peer = await place.peer()
        transport = connection._transport
        assert transport is not None
        largest = 0

        async def watch() -> None:
            nonlocal largest
            while not heard.is_over.is_set():
                largest = max(largest, transport.get_write_buffer_size())
                await asyncio.sleep(0)

        watching = asyncio.get_running_loop().create_task(watch())
        for _ in range(200):  # nobody reads yet
            await asyncio.sleep(0)
        assert await peer.request() == body
        await peer.send(ANSWER)
        await heard.end()
        await watching
        assert 0 < largest <= 512 * 1_024
        assert connection.is_idle
        assert it.take() is connection
        send(connection, again := Heard())
        await peer.answer()
        await again.end()


async def test_other_calls_go_on_while_a_large_request_is_written() -> None:
    """One piece in a turn of the loop."""
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        peer = await place.peer()
        reading = asyncio.get_running_loop().create_task(peer.request())
        send(connection, heard, LARGE)
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > len(LARGE) // (256 * 1_024)
        await peer.send(ANSWER)
        await heard.end()


async def test_an_early_answer_to_a_large_request_is_told() -> None:
    """As nginx does it: answer, say that nothing more comes, and read on for a while."""
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard, LARGE)
        peer = await place.peer()
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(TOO_LARGE)
        peer.end()
        await heard.end()
        assert (heard.status, heard.body) == (413, b"large")
        assert connection.is_closed
        await peer.gone()


async def test_a_connection_is_not_reused_whose_request_was_not_sent_to_its_end() -> None:
    """Also if the provider would keep it: what is left of the request would be read as the next one."""
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard, LARGE)
        peer = await place.peer()
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(ANSWER)
        await heard.end()
        assert (heard.status, heard.body) == (200, b"hi")
        assert connection.is_closed
        assert it.take() is None


async def test_an_answer_that_begins_early_does_not_stop_a_request() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard, LARGE)
        peer = await place.peer()
        head = await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER[:-1])
        await until(lambda: heard.pieces)
        assert b"content-length: %d" % len(LARGE) in head
        assert await peer.reader.readexactly(len(LARGE)) == LARGE
        await peer.send(ANSWER[-1:])
        await heard.end()
        assert connection.is_idle


def refusing(listener: socket.socket, served: Callable[[], None]) -> None:
    """A server in a thread that answers at the first bytes and closes with the rest unread: the other side meets a reset."""
    with suppress(OSError):
        while True:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1_000)
                peer.sendall(TOO_LARGE)
            served()


async def test_an_early_answer_is_told_also_if_the_connection_is_reset_behind_it() -> None:
    """A write that meets the reset must not throw away the answer that came before it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refusing, args=(listener, lambda: None), daemon=True).start()
        async with listening() as place:
            place.port = listener.getsockname()[1]
            async with leg(place) as it:
                statuses = []
                for _ in range(30):
                    connection, heard = await it.connect(), Heard()
                    send(connection, heard, LARGE)
                    await heard.is_over.wait()
                    statuses.append(heard.status or heard.fault)
                assert statuses == [413] * 30
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_ends_while_a_request_is_written_is_a_failure(how: str) -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard, LARGE)
        peer: Peer = await place.peer()
        await peer.reader.readuntil(b"\r\n\r\n")
        getattr(peer, how)()
        fault = await heard.failure()
        assert (fault.kind, fault.sent, fault.answer_began) == (FaultKind.CLOSED, True, False)


async def test_closing_stops_a_request_that_is_being_written() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard, LARGE)
        connection.close()
        peer = await place.peer()
        assert len(await peer.gone()) < len(LARGE)
        assert heard.told == []


async def test_a_connection_holds_nothing_of_a_request_that_is_over() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard, LARGE)
        peer = await place.peer()
        await peer.answer()
        await heard.end()
        assert isinstance(connection, Connection)
        assert (connection._outgoing, connection._receiver, connection._answer.pieces) == (None, None, [])
