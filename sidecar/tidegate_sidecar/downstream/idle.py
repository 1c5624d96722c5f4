"""Connections on which nothing happens."""

from __future__ import annotations

import select
from typing import Protocol


class Closable(Protocol):
    """A connection, as far as this module needs one."""

    def force_close(self) -> None:
        """Close it; what was written still goes out."""
        ...

    def fileno(self) -> int:
        """Its descriptor; -1: it has none any more."""
        ...


class IdleConnections:
    """Those that wait for a request, in the order in which they began to wait."""

    __slots__ = ("_most", "_waiting")

    def __init__(self, most: int) -> None:
        """Keep at most so many."""
        self._most = most
        self._waiting: dict[Closable, None] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._waiting)

    def add(self, connection: Closable) -> None:
        """It begins to wait. Where that is one too many, the one that has waited longest is closed."""
        self._waiting[connection] = None
        if len(self._waiting) > self._most:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.force_close()

    def discard(self, connection: Closable) -> None:
        """It waits no more."""
        self._waiting.pop(connection, None)

    def close_quiet(self) -> None:
        """Close those that have nothing to read. What has arrived on the others is read next, and is served."""
        poll = select.poll()
        by_number = {number: it for it in self._waiting if (number := it.fileno()) >= 0}
        for number in by_number:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            del by_number[number]
        for connection in by_number.values():
            self.discard(connection)
            connection.force_close()
