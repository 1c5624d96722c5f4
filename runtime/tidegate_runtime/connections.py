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

    def __init__(self, factory: Callable[[], asyncio.Protocol], *, most: int) -> None:
        """There are none yet; `factory` makes what speaks on each. What comes while `most` are open is cut at once."""
        self._factory = factory
        self._most = most
        self._open: set[asyncio.Transport] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def __len__(self) -> int:
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        """For `loop.create_server`."""
        return Watched(self._factory(), self.opened, self.closed)

    def opened(self, transport: asyncio.Transport) -> None:
        """One more."""
        self._open.add(transport)
        self._all_closed.clear()
        if len(self._open) > self._most:
            transport.abort()

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


class Watched(asyncio.Protocol):
    """Passes everything on, and tells when its connection begins and ends."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        on_open: Callable[[asyncio.Transport], None],
        on_closed: Callable[[asyncio.Transport], None],
    ) -> None:
        """Have `inner` speak."""
        self._inner = inner
        self._on_open = on_open
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self.data_received = inner.data_received  # type: ignore[method-assign] # once less to call, for each piece
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by inheritance
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)
        self._on_open(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._inner.connection_lost(exc)
        finally:
            if self._transport is not None:
                self._on_closed(self._transport)
