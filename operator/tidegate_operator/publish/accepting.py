"""Connections, taken a few at a time.

When an operator comes back, all of its sidecars connect in one moment. Handshakes that share the processor all end at
the end, and past a number of them none ends before somebody's deadline; the memory that they need at once is never given
back. In turn, each takes a millisecond, and those who wait do so in the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)

BACKLOG: Final = 4_096
"""Connections that the kernel keeps waiting; clients beyond that try again by themselves (SYN)."""

HANDSHAKES_AT_ONCE: Final = 256
"""Enough that clients far away or silent do not hold up the others."""

HANDSHAKE_S: Final = 30.0

_PAUSE_S: Final = 0.5
"""After the system could give no connection, e.g. for want of file descriptors."""

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _ClosedError(Exception):
    """Ends the handshakes that are not done."""


class Acceptor:
    """A listening socket, and the handshakes of those who come."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        *,
        at_once: int = HANDSHAKES_AT_ONCE,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        """Listen nowhere yet; each connection gets a `protocol()` once its handshake is done."""
        self._protocol = protocol
        self._context = context
        self._at_once = at_once
        self._handshake_s = handshake_s
        self._socket: socket.socket | None = None
        self._bound = asyncio.Event()
        self._ready = asyncio.Event()

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Let the kernel take connections; `run` serves them. The address with the port that the system chose.

        Raises:
            OSError: the address cannot be used.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server(
            (host, port),
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
        listening.setblocking(False)  # noqa: FBT003 - the library's own way
        self._socket = listening
        self._bound.set()
        found = listening.getsockname()
        return str(found[0]), int(found[1])

    def close(self) -> None:
        """Take no more connections; those that are there go on."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._bound.set()
        self._ready.set()

    async def run(self) -> None:
        """Serve who comes, until `close`; the body of one task."""
        await self._bound.wait()
        try:
            async with asyncio.TaskGroup() as handshakes:
                await self._accept(handshakes)
        except* _ClosedError:
            _log.debug("no more connections are accepted; who waited for a handshake goes elsewhere")

    async def _accept(self, handshakes: asyncio.TaskGroup) -> None:
        """Until `close`, which ends the handshakes as well."""
        turns = asyncio.Semaphore(self._at_once)
        while True:
            await turns.acquire()
            connection = await self._next()
            if connection is None:
                raise _ClosedError
            handshakes.create_task(self._greet(connection, turns))

    async def _next(self) -> socket.socket | None:
        """The next connection; None when closed."""
        while self._socket is not None:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                await self._readable(self._socket)
            except OSError as error:
                # The client gave up while it waited; or the system has run out of something.
                if error.errno in _OUT_OF:
                    _log.warning("no connection can be accepted: %s", error.strerror)
                    await asyncio.sleep(_PAUSE_S)
            else:
                connection.setblocking(False)  # noqa: FBT003 - the library's own way
                return connection
        return None

    async def _readable(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._ready.clear()
        loop.add_reader(listening, self._ready.set)
        try:
            await self._ready.wait()
        finally:
            if listening.fileno() >= 0:
                loop.remove_reader(listening)

    async def _greet(self, connection: socket.socket, turns: asyncio.Semaphore) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
            )
        except OSError:
            # A scanner, a client that trusts another authority or one that gave up: it is the client who says so.
            connection.close()
        finally:
            turns.release()
