"""A body that is passed on while it arrives: the variant of `Message` for files, which nobody parses and nobody holds whole.

The shell that reads from the application feeds pieces, and reads on while there is room. The connection to the provider
starts the upload once, with what writes a piece, and pauses and resumes it as its transport fills and drains. So what is in
memory is bounded by `max_buffered_bytes` and one piece, however large the file and however slow the provider.

What an upload costs its call: there is no document, so nothing that reads members applies; and once a byte was written, what
was written is gone, so no other attempt can be made (`is_repeatable`). Whoever needs either reads a `Message`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

WHOLE: Final = ""
"""What `on_end` is told when all was written."""


class Body(Protocol):
    """What a connection sends without knowing where it comes from."""

    @property
    def length_bytes(self) -> int | None:
        """How many bytes there will be; None: nobody knows, so they are sent in chunks."""
        ...

    def start(self, write: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        """Write what is there, and from now on what comes; `on_end` is told once why no more follows, or `WHOLE`."""
        ...

    def pause(self) -> None:
        """Write nothing until `resume`."""
        ...

    def resume(self) -> None: ...


class Upload:
    """One body on its way. All of it happens within the calls: nothing is scheduled.

    Attributes:
        length_bytes: what the application said it sends; None: it did not say.
        buffered_bytes: were fed and not written.
        is_repeatable: nothing was written so far.
    """

    __slots__ = (
        "_end",
        "_is_ended",
        "_is_paused",
        "_max",
        "_on_end",
        "_on_room",
        "_pieces",
        "_write",
        "buffered_bytes",
        "is_repeatable",
        "length_bytes",
    )

    def __init__(
        self, max_buffered_bytes: int, on_room: Callable[[], None], *, length_bytes: int | None = None
    ) -> None:
        """`on_room` is called when an upload that was full may be fed again."""
        self.length_bytes = length_bytes
        self.buffered_bytes = 0
        self.is_repeatable = True
        self._max = max_buffered_bytes
        self._on_room = on_room
        self._pieces: deque[bytes] = deque()
        self._write: Callable[[bytes], None] | None = None
        self._on_end: Callable[[str], None] | None = None
        self._is_paused = False
        self._end: str | None = None
        self._is_ended = False

    @property
    def is_full(self) -> bool:
        """The shell must stop reading until `on_room`."""
        return self.buffered_bytes >= self._max

    def feed(self, piece: bytes) -> None:
        """The next piece, not empty. After `fail` it is dropped: the shell may not have heard yet.

        Raises:
            BufferError: the upload was full, or finished.
        """
        if self._end:
            return
        if self._end is not None or self.is_full:
            raise BufferError("an upload was fed after its end, or while it was full")
        self._pieces.append(piece)
        self.buffered_bytes += len(piece)
        self._flow()

    def finish(self) -> None:
        """All pieces were fed."""
        if self._end is None:
            self._end = WHOLE
            self._flow()

    def fail(self, reason: str) -> None:
        """No more follows, and what is left is dropped: the application is gone, or the provider is. `reason` is not empty."""
        if self._is_ended or self._end:
            return
        self._end = reason
        self._pieces.clear()
        self.buffered_bytes = 0
        self._tell_end(reason)

    def start(self, write: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        assert self._write is None, "an upload is started once"  # noqa: S101 - a programming error
        self._write = write
        self._on_end = on_end
        if self._end:
            self._tell_end(self._end)
        else:
            self._go_on()

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        if self._write is not None:
            self._go_on()

    def _go_on(self) -> None:
        was_full = self.is_full
        self._flow()
        if was_full and not self.is_full and self._end is None:
            self._on_room()

    def _flow(self) -> None:
        """Write until the consumer pauses, which it may do within `write`."""
        write = self._write
        if write is None:
            return
        while self._pieces and not self._is_paused:
            piece = self._pieces.popleft()
            self.buffered_bytes -= len(piece)
            self.is_repeatable = False
            write(piece)
        if self._end == WHOLE and not self._pieces:
            self._tell_end(WHOLE)

    def _tell_end(self, reason: str) -> None:
        if self._on_end is not None and not self._is_ended:
            self._is_ended = True
            self._on_end(reason)
