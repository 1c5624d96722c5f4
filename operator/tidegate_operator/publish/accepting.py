"""Connections, taken a few at a time, and of no address more than its share.

When an operator comes back, all of its sidecars connect in one moment. Handshakes that share the processor all end at
the end, and past a number of them none ends before somebody's deadline; the memory that they need at once is never given
back. In turn, each takes a millisecond. A turn is for who has said something: a client that is silent waits outside, for a
few seconds, and where too many wait it is the address with the most of them that makes room.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tidegate_runtime.connections import Watched

_log = logging.getLogger(__name__)

BACKLOG: Final = 4_096
"""Connections that the kernel keeps waiting; clients beyond that try again by themselves (SYN)."""

_PAUSE_S: Final = 0.5
"""After the system could give no connection, e.g. for want of file descriptors."""

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _ClosedError(Exception):
    """Ends the handshakes that are not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What a listener gives at most.

    Attributes:
        per_address: connections that one source address may have, open or on their way. Pods of the host's network, and
            those behind one translated address, share theirs.
        handshakes: at the same time: enough that clients far away do not hold up the others.
        silent: connections on which nothing has come yet.
        first_byte_s: how long nothing may come on a new connection.
        handshake_s: how long a handshake may take that has begun.
    """

    per_address: int = 512
    handshakes: int = 256
    silent: int = 1_024
    first_byte_s: float = 3.0
    handshake_s: float = 30.0


_SHARES: Final = Shares()


class Acceptor:
    """A listening socket, and the handshakes of those who come."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        shares: Shares = _SHARES,
        *,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """Listen nowhere yet; each connection gets a `protocol()` once its handshake is done.

        Args:
            protocol: makes what speaks on a connection.
            context: with the certificate.
            shares: what is given at most.
            on_refused: told of each connection that is closed since its address has its share.
        """
        self._protocol = protocol
        self._context = context
        self._shares = shares
        self._on_refused = on_refused
        self._of_address: Counter[str] = Counter()
        self._silent: dict[str, dict[socket.socket, asyncio.Future[bool]]] = {}
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
        address = listening.getsockname()
        return str(address[0]), int(address[1])

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

    async def _accept(self, greetings: asyncio.TaskGroup) -> None:
        """Until `close`, which ends the handshakes as well."""
        turns = asyncio.Semaphore(self._shares.handshakes)
        # Who is accepted is silent, has a turn or waits for one; of the last there are as many as may be silent, and the
        # others wait in the kernel.
        room = asyncio.Semaphore(self._shares.handshakes + 2 * self._shares.silent)
        while True:
            await room.acquire()
            accepted = await self._next()
            if accepted is None:
                raise _ClosedError
            connection, address = accepted
            if self._of_address[address] >= self._shares.per_address:
                connection.close()
                self._on_refused()
                room.release()
                continue
            self._of_address[address] += 1
            greeting = greetings.create_task(self._greet(connection, address, turns))
            greeting.add_done_callback(lambda _: room.release())

    async def _next(self) -> tuple[socket.socket, str] | None:
        """The next connection and where it comes from; None when closed."""
        while self._socket is not None:
            try:
                connection, peer = self._socket.accept()
            except BlockingIOError:
                await self._readable(self._socket)
            except OSError as error:
                # The client gave up while it waited; or the system has run out of something.
                if error.errno in _OUT_OF:
                    _log.warning("no connection can be accepted: %s", error.strerror)
                    await asyncio.sleep(_PAUSE_S)
            else:
                connection.setblocking(False)  # noqa: FBT003 - the library's own way
                return connection, str(peer[0])
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

    async def _greet(self, connection: socket.socket, address: str, turns: asyncio.Semaphore) -> None:
        """Wait for a first byte, then for a turn, then for the handshake."""
        is_open = is_handed_over = False

        def opened(_: asyncio.Transport) -> None:
            nonlocal is_open
            is_open = True

        def protocol() -> asyncio.Protocol:
            return Watched(self._protocol(), opened, lambda _: self._left(address))

        try:
            if not await self._speaks(connection, address):
                return
            async with turns:
                is_handed_over = True
                await asyncio.get_running_loop().connect_accepted_socket(
                    protocol,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=self._shares.handshake_s,
                )
        except OSError:
            # A scanner, a client that trusts another authority or one that gave up: it is the client who says so.
            connection.close()
        finally:
            if not is_handed_over:
                connection.close()
            if not is_open:
                self._left(address)

    async def _speaks(self, connection: socket.socket, address: str) -> bool:
        """Whether anything comes in time, the end of the connection included: the handshake finds out about that."""
        if _has_spoken(connection):
            return True
        loop = asyncio.get_running_loop()
        if sum(map(len, self._silent.values())) >= self._shares.silent:
            self._make_room()
        spoken: asyncio.Future[bool] = loop.create_future()
        waiting = self._silent.setdefault(address, {})
        waiting[connection] = spoken
        loop.add_reader(connection, _settle, spoken, True)  # noqa: FBT003 - a result
        timer = loop.call_later(self._shares.first_byte_s, _settle, spoken, False)  # noqa: FBT003 - the same
        try:
            return await spoken
        finally:
            timer.cancel()
            loop.remove_reader(connection)
            del waiting[connection]
            if not waiting and self._silent.get(address) is waiting:
                del self._silent[address]

    def _make_room(self) -> None:
        """The address with the most silent connections loses the one that has been so for longest."""
        most = max(self._silent.values(), key=len)
        for spoken in most.values():
            if not spoken.done():
                spoken.set_result(False)
                return

    def _left(self, address: str) -> None:
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]


def _has_spoken(connection: socket.socket) -> bool:
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def _settle(spoken: asyncio.Future[bool], value: bool) -> None:  # noqa: FBT001 - a result
    if not spoken.done():
        spoken.set_result(value)
