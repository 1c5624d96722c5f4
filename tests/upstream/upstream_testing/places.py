"""A server of which a test writes every byte, and the leg's way to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tidegate_testing.clock import FakeClock
from tidegate_testing.tasks import until
from tidegate_testing.wire import DEADLINE_S

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.connector import OriginKey
from tidegate_sidecar.upstream.origin import Origin, OriginLimits
from tidegate_sidecar.upstream.origins import Origins
from upstream_testing.heard import Heard

HEAD = b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


class Peer:
    """The other end of one connection. It closes only when told to, and reads only when asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The body of the next request."""
        async with asyncio.timeout(DEADLINE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(it[15:]) for it in head.lower().split(b"\r\n") if it.startswith(b"content-length:")), 0
            )
            return await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(DEADLINE_S):
            await self.writer.drain()

    async def answer(self, data: bytes = ANSWER) -> None:
        await self.request()
        await self.send(data)

    def end(self) -> None:
        """Say that nothing more comes, and read on."""
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close without a word: the other side meets a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> bytes:
        """Wait for the other side's end; what came before it."""
        received = b""
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):
                while more := await self.reader.read(2**16):
                    received += more
        return received

    @property
    def _socket(self) -> socket.socket:
        number = self.writer.get_extra_info("socket").fileno()
        # uvloop's own object has no options that can be set
        return _Borrowed(fileno=number)


class _Borrowed(socket.socket):
    """Somebody else's descriptor, which is left open."""

    def __del__(self) -> None:
        self.detach()


class Place:
    """Listens, and has a `Peer` for each connection."""

    def __init__(self) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.peers: list[Peer] = []
        self._waiting: asyncio.Queue[Peer] = asyncio.Queue()

    async def peer(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._waiting.get()

    def key(self, **more: Any) -> OriginKey:
        return OriginKey("http", self.host, self.port)._replace(**more)

    async def came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self._waiting.put_nowait(peer)


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Place]:
    place = Place()
    server = await asyncio.start_server(
        place.came, options.pop("host", place.host), 0, ssl=context, limit=2**16, **options
    )
    place.host, place.port = server.sockets[0].getsockname()[:2]
    try:
        yield place
    finally:
        server.close()
        for peer in place.peers:
            peer.writer.transport.abort()
        await server.wait_closed()


class Leg:
    """Origins with a clock of their own, and one origin among them."""

    def __init__(self, origins: Origins, key: OriginKey, clock: FakeClock) -> None:
        self.origins = origins
        self.origin: Origin = origins.get(key)
        self.clock = clock

    async def connect(self, within_ms: int = 15_000) -> Connection:
        return await self.origin.connect(within_ms)

    def take(self) -> Connection | None:
        return self.origin.take(self.clock.now_ns)

    def tick(self) -> None:
        self.origins.tick(self.clock.now_ns)

    async def used(self, place: Place) -> tuple[Connection, Peer]:
        """A connection that has carried a request, and is idle."""
        connection, heard = await self.connect(), Heard()
        peer = await place.peer()
        send(connection, heard)
        await peer.answer()
        await heard.end()
        return connection, peer


@asynccontextmanager
async def leg(place: Place, *, lookup: Any = None, **more: Any) -> AsyncIterator[Leg]:
    """Nothing is open when it is over."""
    clock = FakeClock()
    limits = OriginLimits(**{name: more.pop(name) for name in OriginLimits._fields if name in more})
    origins = Origins(limits=limits, clock=clock.clock, **({} if lookup is None else {"lookup": lookup}))
    it = Leg(origins, place.key(**more), clock)
    try:
        yield it
    finally:
        await origins.close()
        assert (origins.open_count, origins.idle_count) == (0, 0)


def send(connection: Connection, heard: Heard, body: bytes = b"", method: str = "POST") -> None:
    connection.send(HEAD % len(body), body, heard, method)


async def closed(connection: Connection) -> None:
    await until(lambda: connection.is_closed)
