"""Listening sockets."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from aiohttp import web

from tidegate_runtime.http_server import HttpServer
from tidegate_sidecar.downstream.server import CLOSE_S, AppServer
from tidegate_sidecar.settings import Address

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

BACKLOG: Final = 1_024


L = TypeVar("L", bound="Listener")


class ListenError(OSError):
    """An address cannot be listened on; the message says which and what to do."""

    def __init__(self, address: Address, error: OSError) -> None:
        """Put `error` in words for a person."""
        self.address = address
        if error.errno == errno.EADDRINUSE:
            reason = "is already in use by another process"
        elif error.errno == errno.EACCES:
            reason = "needs rights that this process does not have; choose a port from 1024 up"
        elif error.errno == errno.EADDRNOTAVAIL:
            reason = "is no address of this machine"
        else:
            reason = f"cannot be used ({error.strerror or error})"
        super().__init__(f"{address} {reason}")


class Listener:
    """Open sockets of one server."""

    def __init__(self, server: HttpServer | AppServer) -> None:
        """Open none yet."""
        self._server = server
        self._sockets: list[asyncio.Server] = []
        self.addresses: tuple[Address, ...] = ()
        """Where it listens, with the ports that the system chose."""

    async def open(self, address: Address) -> None:
        """Listen on one more address.

        Raises:
            ListenError: it cannot be used.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._server, address.host, address.port, backlog=BACKLOG)
        except OSError as error:
            raise ListenError(address, error) from error
        self._sockets.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        self.addresses = (*self.addresses, Address(host=host, port=port))

    def stop_accepting(self) -> None:
        """Take no new connections; those that are open go on."""
        for server in self._sockets:
            server.close()

    async def close(self) -> None:
        """Close everything."""
        self.stop_accepting()
        self._server.pre_shutdown()  # or idle connections would be waited for as if they were calls
        await self._server.shutdown(CLOSE_S)


class AppListener(Listener):
    """Open sockets of the server that faces the application."""

    def __init__(self, server: AppServer) -> None:
        """Open none yet."""
        super().__init__(server)
        self.server = server

    def stop_accepting(self) -> None:
        """Take no new connections, and close those that are idle or become so."""
        super().stop_accepting()
        self.server.drain()

    async def close(self) -> None:
        """Close everything; calls that are still in progress are cut."""
        self.stop_accepting()
        await self.server.close()


@asynccontextmanager
async def listening(handler: Handler, addresses: tuple[Address, ...]) -> AsyncIterator[Listener]:
    """Serve `handler` on `addresses` until the block ends, by aiohttp's own way of reading requests.

    Raises:
        ListenError: one of them cannot be used; the others are closed again.
    """
    server = HttpServer(handler, handler_cancellation=True)
    async with _open(Listener(server), addresses) as listener:
        yield listener


@asynccontextmanager
async def listening_app(server: AppServer, addresses: tuple[Address, ...]) -> AsyncIterator[AppListener]:
    """Serve the application on `addresses` until the block ends.

    Raises:
        ListenError: one of them cannot be used; the others are closed again.
    """
    async with _open(AppListener(server), addresses) as listener:
        yield listener


@asynccontextmanager
async def _open(listener: L, addresses: tuple[Address, ...]) -> AsyncIterator[L]:
    try:
        for address in addresses:
            await listener.open(address)
        yield listener
    finally:
        await listener.close()
