"""Origin: the connections to one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.connector import Connector, OriginKey
from tidegate_sidecar.upstream.faults import ConnectError, ConnectionFault, FaultKind

LINGER_NS: Final = 250 * 1_000_000
"""For so long the end of an answer is awaited that nobody needs any more."""

_SWEEP_NS: Final = 1_000_000_000
"""So often idle connections are looked through."""

_MS: Final = 1_000_000


class OriginLimits(NamedTuple):
    """What one origin may hold.

    Attributes:
        idle_ms: an idle connection is closed after this time, before the minute after which common load balancers forget it.
        age_ms: an older connection carries no new request, so that a name that leads elsewhere is followed.
        idle_max: idle connections; beyond them the one goes that was idle longest.
        open_max: connections, those being made included.
    """

    idle_ms: int = 50_000
    age_ms: int = 600_000
    idle_max: int = 64
    open_max: int = 1_024


class Origin:
    """Connections to one place. The one used last is taken first, as the least likely to have been closed.

    Attributes:
        key: which place.
    """

    __slots__ = ("__weakref__", "_age_ns", "_all_lost", "_connector", "_idle", "_idle_max", "_idle_ns", "_is_closed", "_lingering",
                 "_making", "_open", "_open_max", "_sweep_ns", "key", "monotonic_ns")  # fmt: skip

    def __init__(
        self, key: OriginKey, connector: Connector, limits: OriginLimits, monotonic_ns: Callable[[], int]
    ) -> None:
        self.key = key
        self.monotonic_ns = monotonic_ns
        self._connector = connector
        self._age_ns = limits.age_ms * _MS
        self._idle_ns = limits.idle_ms * _MS
        self._idle_max = limits.idle_max
        self._open_max = limits.open_max
        self._idle: list[Connection] = []
        self._lingering: list[Connection] = []
        self._open: set[Connection] = set()
        self._making = 0
        self._sweep_ns = 0
        self._is_closed = False
        self._all_lost: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Origin {self.key!r} open={self.open_count} idle={self.idle_count}>"

    @property
    def open_count(self) -> int:
        """Connections that are open or are being made."""
        return len(self._open) + self._making

    @property
    def idle_count(self) -> int:
        """Those of them that carry nothing."""
        return len(self._idle)

    def take(self, now_ns: int) -> Connection | None:
        """An idle connection, to be sent on at once; None: there is none that is of use.

        Each is looked at first. What came since the loop has last read lies unread, however short the connection was idle,
        and would be taken for the answer.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            connection.is_idle = False
            if now_ns - connection.made_ns <= self._age_ns and not connection.has_unread():
                return connection
            connection.close()
        return None

    async def connect(self, within_ms: int) -> Connection:
        """Make one more. It is the caller's, who sends on it or closes it.

        Raises:
            ConnectError: it was not made, or not in time; or there may be no more (`TOO_MANY`).
        """
        if self._is_closed:
            raise ConnectError(ConnectionFault(FaultKind.CLOSED, "no connections are made any more"))
        if self.open_count >= self._open_max:
            reason = f"there are {self._open_max} connections to it, and there may be no more"
            raise ConnectError(ConnectionFault(FaultKind.TOO_MANY, reason))
        self._making += 1
        try:
            connection = await self._connector.connect(self._make, within_ms)
        finally:
            self._making -= 1
        if self._is_closed:
            connection.close()
            raise ConnectError(ConnectionFault(FaultKind.CLOSED, "no connections are made any more"))
        self._open.add(connection)
        return connection

    def tick(self, now_ns: int) -> None:
        """Close what has been idle or has lingered for too long. To be called every 50 ms."""
        if self._lingering:
            for connection in self._lingering:
                if connection.is_lingering and now_ns - connection.since_ns > LINGER_NS:
                    connection.close()
            self._lingering = [it for it in self._lingering if it.is_lingering]
        if now_ns >= self._sweep_ns:
            self._sweep_ns = now_ns + _SWEEP_NS
            for connection in tuple(self._idle):
                if now_ns - connection.since_ns > self._idle_ns or now_ns - connection.made_ns > self._age_ns:
                    connection.close()

    def close(self) -> None:
        """Close all connections, whatever they carry. None is made any more."""
        self._is_closed = True
        for connection in tuple(self._open):
            connection.close()

    async def all_lost(self) -> None:
        """Wait until the loop has closed the connections, which it does in its next turns."""
        if self._open:
            self._all_lost = asyncio.get_running_loop().create_future()
            await self._all_lost

    # What connections say.

    def give_back(self, connection: Connection) -> None:
        connection.since_ns = self.monotonic_ns()
        connection.is_idle = True
        idle = self._idle
        idle.append(connection)
        if len(idle) > self._idle_max:
            idle[0].close()

    def let_linger(self, connection: Connection) -> None:
        self._lingering.append(connection)

    def take_out(self, connection: Connection) -> None:
        connection.is_idle = False
        self._idle.remove(connection)

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._all_lost is not None and not self._open and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _make(self) -> Connection:
        return Connection(self)
