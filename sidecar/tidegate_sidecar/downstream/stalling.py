"""Readers that are slow, told from readers that read nothing."""

from __future__ import annotations

import fcntl
import sys
import termios


class StallWatch:
    """Watches how one answer is taken. Looked at from time to time; time between two looks without any progress adds up.

    A reader is never judged by its pace. What its own system has acknowledged counts as taken by the application, since
    nobody can see further.
    """

    __slots__ = ("_since_ns", "_stall_ns", "_taken")

    def __init__(self, stall_ms: int) -> None:
        """Call it a stall after `stall_ms` without a byte taken."""
        self._stall_ns = stall_ms * 1_000_000
        self._taken = -1
        self._since_ns = 0

    def is_stalled(self, written_bytes: int, buffered_bytes: int, now_ns: int) -> bool:
        """Whether the reader has taken nothing for too long.

        Args:
            written_bytes: all that was written so far. By what is buffered alone, a reader who takes just as much as is
                written would look like one who takes nothing.
            buffered_bytes: how much of it is not taken yet.
            now_ns: monotonic.
        """
        taken = written_bytes - buffered_bytes
        if taken != self._taken or not buffered_bytes:
            self._taken, self._since_ns = taken, now_ns
            return False
        return now_ns - self._since_ns >= self._stall_ns


def in_socket(descriptor: int) -> int:
    """Bytes that our system has taken and the other side's has not acknowledged; 0 where it does not tell.

    Without them a slow reader looks like none: a socket holds megabytes, and takes more only when a third of it is free.
    """
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # closed, or none of TCP
        return 0
