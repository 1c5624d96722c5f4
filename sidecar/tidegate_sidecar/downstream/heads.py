"""What is known of the head that is coming in."""

from __future__ import annotations

from tidegate_sidecar.downstream.faults import MAX_HEAD_BYTES, SEEN_BYTES


class HeadWatch:
    """Watches for a head that never ends. It does not read: who reads says what each read has completed.

    Attributes:
        seen: the first bytes; empty where none of it is known.
        since_ns: since when it comes in, or may do so; None: there is none for sure.
    """

    __slots__ = ("_size", "seen", "since_ns")

    def __init__(self) -> None:
        """Before the first byte."""
        self.seen = b""
        self.since_ns: int | None = None
        self._size = 0

    def may_follow(self, now_ns: int) -> None:
        """A request was completed by a read, in which another one may have begun."""
        self.seen = b""
        self.since_ns = now_ns

    def add(self, data: bytes, now_ns: int) -> None:
        """A read that completed nothing: it belongs to a head."""
        if not self.seen:
            self.seen, self.since_ns, self._size = data[:SEEN_BYTES], now_ns, 0
        self._size += len(data)

    def forget(self) -> None:
        """There is none."""
        self.seen = b""
        self.since_ns = None

    @property
    def beginning(self) -> bytes | None:
        """All of it that has come, empty where none is known; None: not all was kept."""
        return self.seen if not self.seen or len(self.seen) == self._size else None

    @property
    def is_too_large(self) -> bool:
        """It has more bytes than all its lines together may have."""
        return bool(self.seen) and self._size > MAX_HEAD_BYTES

    def is_due(self, now_ns: int, head_ms: int) -> bool:
        """It should have been complete by now, since it may take no longer than `head_ms`."""
        return self.since_ns is not None and now_ns - self.since_ns >= head_ms * 1_000_000
