"""Connector: makes connections to one place. By name or address, directly or through a proxy, with TLS or without.

The rare case of a call, so this awaits. It is bounded in time as a whole, and cancelled at any moment it leaves nothing open.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.faults import ConnectError, ConnectionFault, FaultKind
from tidegate_sidecar.upstream.http_proxy import (
    HttpProxy,
    ProxyError,
    authority,
    connect_request,
    is_tunnel,
    read_proxy,
)
from tidegate_sidecar.upstream.resolver import Resolver, UnknownHostError, is_private_literal, public_ones
from tidegate_sidecar.upstream.tls import TlsContexts, TlsFileError, TlsSettings, handshake_problem

HAPPY_EYEBALLS_S: Final = 0.25
"""RFC 8305, section 5: after this time the next address is tried too."""

_NOT_PUBLIC: Final = "its host name leads to no public address, and its pool does not say allowPrivate"


class OriginKey(NamedTuple):
    """What connections have to have in common to carry the same requests.

    Attributes:
        scheme: http or https.
        host: a name or an address, without brackets.
        port: of the place.
        public_only: only public addresses are connected to. Through a proxy, names are the proxy's to resolve: then only
            hosts that are written as a private address are refused, and the proxy's own rules have to do the rest.
        tls: None is TLS as the system has it; without meaning for http.
        proxy: URL of the proxy on the way; empty: there is none. No repr shows its password.
    """

    scheme: str
    host: str
    port: int
    public_only: bool = False
    tls: TlsSettings | None = None
    proxy: str = ""

    def __repr__(self) -> str:
        public = ", public only" if self.public_only else ""
        through = ", through a proxy" if self.proxy else ""
        return f"OriginKey({self.scheme}://{authority(self.host, self.port)}{public}, {self.tls}{through})"


class Connector:
    """Makes connections to the place that `key` names.

    Raises:
        ValueError: the scheme or the proxy's URL is not one.
        TlsFileError: a file of `key.tls` cannot be used.
    """

    def __init__(self, key: OriginKey, resolver: Resolver, contexts: TlsContexts) -> None:
        if key.scheme not in ("http", "https"):
            raise ValueError(f"the scheme is {key.scheme!r}, and has to be http or https")
        self._key = key
        self._resolver = resolver
        self._contexts = contexts
        self._tls = (key.tls or TlsSettings()) if key.scheme == "https" else None
        self._proxy = read_proxy(key.proxy) if key.proxy else None
        if self._tls is not None:
            contexts.get(self._tls)

    async def connect(self, make: Callable[[], Connection], within_ms: int) -> Connection:
        """A new connection, made by `make` and connected.

        Raises:
            ConnectError: there is none, or not in time.
        """
        connection = make()
        try:
            async with asyncio.timeout(within_ms / 1_000):
                await self._connect(connection)
        except TimeoutError:
            connection.close()
            raise _error(FaultKind.CONNECT_TIMEOUT, "the connection was not made in time") from None
        except BaseException:
            connection.close()
            raise
        if connection.is_closed:
            raise _error(FaultKind.CONNECT, "it closed the connection at once")
        return connection

    async def _connect(self, connection: Connection) -> None:
        opened = await self._open()
        try:
            if self._proxy is not None:
                await self._tunnel(opened, self._proxy)
            await self._hand_over(opened, connection)
        except BaseException:
            # The loop closes what it has taken over; it takes nothing over for a name that is none.
            opened.close()
            raise

    async def _tunnel(self, opened: socket.socket, proxy: HttpProxy) -> None:
        try:
            await _ask(opened, connect_request(self._key.host, self._key.port, proxy))
        except ProxyError as error:
            raise _error(FaultKind.PROXY, str(error)) from error
        except OSError as error:
            raise _error(FaultKind.PROXY, "the proxy closed the connection") from error

    async def _hand_over(self, opened: socket.socket, connection: Connection) -> None:
        """Give the socket to a transport of the loop, and that to the connection."""
        loop = asyncio.get_running_loop()
        if self._tls is None:
            try:
                await loop.create_connection(lambda: connection, sock=opened)
            except (OSError, RuntimeError) as error:
                raise _error(FaultKind.CONNECT, _problem(error)) from error
            return
        name = self._tls.server_name or self._key.host.rstrip(".")
        try:
            context = self._contexts.get(self._tls)
            await loop.create_connection(lambda: connection, sock=opened, ssl=context, server_hostname=name)
        except TlsFileError as error:
            raise _error(FaultKind.TLS, str(error)) from error
        except (OSError, RuntimeError, ValueError) as error:  # the last: a name that no certificate can have
            raise _error(FaultKind.TLS, handshake_problem(error)) from error

    async def _open(self) -> socket.socket:
        """Connected to the place, or to the proxy that leads there."""
        try:
            addresses = await self._addresses()
        except UnknownHostError as error:
            if self._proxy is None:
                raise _error(FaultKind.DNS, str(error)) from error
            raise _error(FaultKind.PROXY, "the proxy's host name was not found") from error
        try:
            opened = await _race(addresses)
        except (OSError, RuntimeError) as error:  # uvloop tells some of them as the latter
            if self._proxy is None:
                raise _error(FaultKind.CONNECT, _problem(error)) from error
            raise _error(FaultKind.PROXY, f"the proxy was not reached: {_problem(error)}") from error
        # A long silence within an answer must not let what lies between forget the connection.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return opened

    async def _addresses(self) -> Sequence[AddrInfoType]:
        key = self._key
        if self._proxy is not None:
            if key.public_only and is_private_literal(key.host):
                raise _error(FaultKind.NOT_PUBLIC, _NOT_PUBLIC)
            return await self._resolver.resolve(self._proxy.host, self._proxy.port)
        addresses = await self._resolver.resolve(key.host, key.port)
        if not key.public_only:
            return addresses
        public = public_ones(addresses)
        if not public:
            raise _error(FaultKind.NOT_PUBLIC, _NOT_PUBLIC)
        return public


async def _race(addresses: Sequence[AddrInfoType]) -> socket.socket:
    """Connected to the first of the addresses that answers."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - nothing else runs coroutines here
    cancellations = task.cancelling()
    opened = await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_S, interleave=1
    )
    if task.cancelling() > cancellations:
        # It takes a cancellation for one of its own that comes while it waits for the addresses that lost (2.7).
        opened.close()
        raise asyncio.CancelledError
    return opened


async def _ask(opened: socket.socket, request: bytes) -> None:
    """Ask a proxy for a tunnel, on a socket that no transport reads yet: what comes behind its answer is for TLS."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(opened, request)
    answer = b""
    while not is_tunnel(answer):
        more = await loop.sock_recv(opened, 4 * 2**10)
        if not more:
            raise ProxyError("the proxy closed the connection")
        answer += more


def _error(kind: FaultKind, reason: str) -> ConnectError:
    return ConnectError(ConnectionFault(kind, reason))


def _problem(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return f"the connection failed: {os.strerror(number) if number else type(error).__name__}"
