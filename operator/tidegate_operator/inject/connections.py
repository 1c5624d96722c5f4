"""Connections that are open, so that a process ends when they have ended.

aiohttp asks its connections to close and forgets them. With TLS that takes some more turns of the loop, since both sides say
goodbye, and a loop that ends before leaves sockets open and the process fails in its last moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast


class Connections:
    """Wraps the protocols of a server and knows which of their transports are not closed yet."""

    def __init__(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """There are none yet; `factory` makes what speaks on each."""
        self._factory = factory
        self._open: set[asyncio.Transport] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def __len__(self) -> int:
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        """For `loop.create_server`."""
        return _Connection(self, self._factory())

    def opened(self, transport: asyncio.Transport) -> None:
        """One more."""
        self._open.add(transport)
        self._all_closed.clear()

    def closed(self, transport: asyncio.Transport) -> None:
        """One less."""
        self._open.discard(transport)
        if not self._open:
            self._all_closed.set()

    async def wait_closed(self, within_s: float) -> None:
        """Return when all are closed; those that are not `within_s` seconds later are cut."""
        try:
            async with asyncio.timeout(within_s):
                await self._all_closed.wait()
        except TimeoutError:
            for transport in self._open:
                transport.abort()
            await self._all_closed.wait()
        # The loop closes its handles in the turn after it has told the protocol.
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    """Passes everything on, and tells when it begins and ends."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self.data_received = inner.data_received  # type: ignore[method-assign] # once less to call, for each piece
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by inheritance
        self._transport = cast("asyncio.Transport", transport)
        self._connections.opened(self._transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._inner.connection_lost(exc)
        finally:
            if self._transport is not None:
                self._connections.closed(self._transport)
