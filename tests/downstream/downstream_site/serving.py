"""`AppServer` on a socket, with its time in the test's hands."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tidegate_testing.tasks import no_task_left, until
from tidegate_testing.wire import DEADLINE_S, Connection

from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.listener import AppListener, listening_app
from tidegate_sidecar.downstream.request import AppRequest, BrokenBodyError, HeadFault, Written
from tidegate_sidecar.downstream.server import AppServer
from tidegate_sidecar.settings import Address

LOCAL = (Address(host="127.0.0.1", port=0),)
Handle = Callable[[AppRequest], Awaitable[Written]]


def answer_of(body: bytes, status: int = 200, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d -\r\n%bcontent-length: %d\r\n\r\n%b" % (status, head, len(body), body)


async def whole(request: AppRequest) -> bytes:
    """Its body."""
    content, body = request.content, b""
    while not content.at_eof():
        body += await content.readany()
    return body


async def echo(request: AppRequest) -> Written:
    """Answer with what was asked."""
    try:
        body = await whole(request)
    except BrokenBodyError as error:
        request.app.write(answer_of(str(error).encode(), 400, b"connection: close\r\n"))
        return Written(keep_alive=False)
    request.app.write(answer_of(f"{request.method} {request.target} ".encode() + body))
    return Written(keep_alive=not request.wants_close)


class Call:
    """A call that does what the test says, and notes what it is told."""

    def __init__(self, request: AppRequest) -> None:
        self.request = request
        self.app = request.app
        self.told: list[str] = []
        self.over: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self.is_cancelled = False

    def on_app_gone(self, reason: str) -> None:
        self.told.append(reason)

    def on_app_paused(self) -> None:
        self.told.append("paused")

    def on_app_resumed(self) -> None:
        self.told.append("resumed")

    def end(self, *, keep_alive: bool = True) -> None:
        self.over.set_result(Written(keep_alive=keep_alive))


class Site:
    """What is served, and what came of it."""

    def __init__(self, handle: Handle | None) -> None:
        self._handle = handle
        self.faults: list[HeadFault] = []
        self.requests: list[AppRequest] = []
        self.calls: list[Call] = []
        self.now_ns = 1_000_000_000_000
        self.server: AppServer
        self.listener: AppListener

    async def handle(self, request: AppRequest) -> Written:
        self.requests.append(request)
        if self._handle is not None:
            return await self._handle(request)
        call = Call(request)
        request.app.events = call
        self.calls.append(call)
        try:
            return await call.over
        except asyncio.CancelledError:
            call.is_cancelled = True
            raise

    def on_fault(self, fault: HeadFault, _: AppConnection) -> bytes:
        self.faults.append(fault)
        return answer_of(fault.message.encode(), fault.status, b"connection: close\r\n")

    async def connect(self, **options: Any) -> Connection:
        address = self.listener.addresses[0]
        return await Connection.open(address.host, address.port, **options)

    async def next_call(self) -> Call:
        """The one that begins next, or has begun and was not asked for."""
        await until(lambda: self.calls)
        return self.calls.pop(0)

    def tick(self, *, ms: int) -> None:
        """Time passes."""
        self.now_ns += ms * 1_000_000
        self.server.tick(self.now_ns)

    async def exchange(self, data: bytes, *, half_close: bool = False) -> bytes:
        """What comes back for `data` until the connection is closed by the server."""
        async with await self.connect() as app:
            await app.send(data)
            if half_close:
                app.writer.write_eof()
            return await app.rest()

    @property
    def connection(self) -> AppConnection:
        """The only one."""
        (connection,) = self.server.connections
        assert isinstance(connection, AppConnection)
        return connection


async def answer_from(app: Connection) -> bytes:
    """The body of the next answer."""
    head = await app.read_until(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
    )
    async with asyncio.timeout(DEADLINE_S):
        return await app.reader.readexactly(length)


def reset(app: Connection) -> None:
    """Hang up without the manners of TCP, as a process does that is killed."""
    app.writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    app.abort()


@asynccontextmanager
async def serving(handle: Handle | None = None, **options: Any) -> AsyncIterator[Site]:
    """Serve by `handle`, or by calls that the test ends."""
    site = Site(handle)
    async with no_task_left():
        site.server = AppServer(site.handle, on_fault=site.on_fault, now_ns=site.now_ns, **options)
        async with listening_app(site.server, LOCAL) as site.listener:
            yield site
        await until(lambda: not site.server.connections)
        assert site.server.idle.count == 0
