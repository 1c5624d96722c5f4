"""Records as lines on standard output. A reader that stalls, or has gone, never stalls a call."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import IO, Final, Self

from tidegate_sidecar.telemetry.records import CallRecord
from tidegate_sidecar.telemetry.rendering import Renderer

MAX_WRITE_BYTES: Final = 65_536
"""Written at once: what a pipe holds. Between two writes the thread looks whether it is still wanted."""


class LineWriter:
    """A `RecordSink` that writes to a file, a pipe or a terminal, from within a `with` block.

    A record is rendered at once, while what it tells is at hand, and waits. `flush` hands all that waits to a thread as
    one blob; a hand-over for each record would cost as much as half a call. Records that find no room are dropped.
    """

    def __init__(
        self,
        stream: IO[bytes],
        on_dropped: Callable[[int], None],
        *,
        max_records: int = 10_000,
        max_bytes: int = 8 * 2**20,
        exit_ms: int = 2_000,
    ) -> None:
        """Nothing is started yet.

        Args:
            stream: with a file descriptor, which is written to directly; it stays open.
            on_dropped: told how many records nobody took, each record once; called from the thread, too.
            max_records: that may wait, and as many again may be under way.
            max_bytes: of records that may wait, and as many again may be under way.
            exit_ms: how long the end of the block may take.
        """
        self._stream = stream  # kept, so that it is not closed
        self._fd = stream.fileno()
        self._on_dropped = on_dropped
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._exit_ms = exit_ms
        self._render = Renderer().render
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._blobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._unwritten = 0
        """Records of the blob under way whose line is not wholly written. Whoever drops them sets it to 0."""
        self._is_mid_line = False
        self._thread = threading.Thread(target=self._write_all, name="records", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, and drop what the reader has not taken after `exit_ms`."""
        ends_s = time.monotonic() + self._exit_ms / 1_000
        if self._idle.wait(_until(ends_s)):
            self.flush()
            self._idle.wait(_until(ends_s))
        self._blobs.put(None)
        self._drop_unwritten()
        if self._waiting:
            self._on_dropped(len(self._waiting))
            self._waiting = []
        self._thread.join(_until(ends_s))

    def __call__(self, record: CallRecord) -> None:
        if len(self._waiting) >= self._max_records or self._waiting_bytes >= self._max_bytes:
            self._on_dropped(1)
            return
        line = self._render(record)
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def flush(self) -> None:
        """Hand over what waits; to be called every few milliseconds. Returns at once.

        While the thread still has the blob before, records go on waiting.
        """
        if self._waiting and self._idle.is_set():
            self._idle.clear()
            self._unwritten = len(self._waiting)
            self._blobs.put(b"".join(self._waiting))
            self._waiting, self._waiting_bytes = [], 0

    def _write_all(self) -> None:
        while (blob := self._blobs.get()) is not None:
            try:
                self._write(blob)
            except OSError:
                # Nobody reads any more (the pipe is closed), or the disk is full: calls go on.
                self._drop_unwritten()
            self._idle.set()

    def _write(self, blob: bytes) -> None:
        if self._is_mid_line:
            self._write_some(b"\n")
        view, at = memoryview(blob), 0
        while self._unwritten:
            end = at + self._write_some(view[at : at + MAX_WRITE_BYTES])
            with self._lock:
                self._unwritten = max(0, self._unwritten - blob.count(b"\n", at, end))
            at = end

    def _write_some(self, piece: bytes | memoryview) -> int:
        """How many bytes were taken, at least one."""
        while True:
            try:
                count = os.write(self._fd, piece)
            except BlockingIOError:
                # Whoever shares the stream may have made it non-blocking.
                _wait_writable(self._fd)
            else:
                self._is_mid_line = piece[count - 1] != ord("\n")
                return count

    def _drop_unwritten(self) -> None:
        with self._lock:
            dropped, self._unwritten = self._unwritten, 0
        if dropped:
            self._on_dropped(dropped)


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def _until(ends_s: float) -> float:
    return max(0.0, ends_s - time.monotonic())
