"""Bodies on their way out that are not sent in one write: large ones in pieces, and uploads whose end is not known.

Both write only as fast as the transport drains. Before each piece they look whether something can be read, and let that be
read first: a provider that has seen enough answers (413) and closes, and a write that meets the closed end would throw away
the answer that lies unread in the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

PIECE_BYTES: Final = 256 * 2**10
"""What is written at a time, each in its own turn of the loop, so that other calls go on between two pieces."""


class Upload(Protocol):
    """A body that comes piece by piece."""

    @property
    def length_bytes(self) -> int | None:
        """How many bytes there will be; None: nobody knows, so they are sent in chunks. The request's head says the same."""
        ...

    def start(self, write: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        """Call `write` with each piece from now on, and `on_end` once: empty behind the last piece, or why no more follows.

        Both are ignored once the connection is not the request's any more.
        """
        ...

    def pause(self) -> None:
        """Write nothing for now."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class Wire(Protocol):
    """What a body on its way needs of its connection."""

    def write(self, data: bytes | memoryview) -> None:
        """Hand it to the transport, which may call `pause` in the same moment."""
        ...

    def has_unread(self) -> bool:
        """Whether something can be read, and will be in the loop's next turn."""
        ...

    def body_is_out(self) -> None:
        """Nothing is left to be written."""
        ...

    def break_off(self, reason: str) -> None:
        """The rest will not come."""
        ...


class Outgoing(Protocol):
    """A body on its way, as its connection sees it."""

    def start(self) -> None: ...

    def pause(self) -> None:
        """The transport is full."""
        ...

    def resume(self) -> None:
        """The transport has drained."""
        ...

    def stop(self) -> None:
        """Write nothing more, ever."""
        ...


class Pieces:
    """A large body, in pieces. `at` is where the first of them begins."""

    __slots__ = ("_at", "_body", "_is_paused", "_turn", "_wire")

    def __init__(self, wire: Wire, body: bytes, at: int) -> None:
        self._wire = wire
        self._body = memoryview(body)
        self._at = at
        self._is_paused = False
        self._turn: asyncio.Handle | None = None

    def start(self) -> None:
        self._turn = asyncio.get_running_loop().call_soon(self._write_piece)

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        if self._turn is None:
            self.start()

    def stop(self) -> None:
        self._is_paused = True
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _write_piece(self) -> None:
        self._turn = None
        if self._is_paused:
            return
        if not self._wire.has_unread():
            piece = self._body[self._at : self._at + PIECE_BYTES]
            self._at += len(piece)
            is_last = self._at == len(self._body)
            self._wire.write(piece)
            if is_last:
                self._wire.body_is_out()
                return
        if not self._is_paused:
            self.start()


class Uploading:
    """An upload on its way: as it comes, or each piece of it one chunk."""

    __slots__ = (
        "_has_ended",
        "_held",
        "_is_chunked",
        "_is_paused",
        "_is_stopped",
        "_left_bytes",
        "_turn",
        "_upload",
        "_wire",
    )

    def __init__(self, wire: Wire, upload: Upload) -> None:
        self._wire = wire
        self._upload = upload
        self._is_chunked = upload.length_bytes is None
        self._left_bytes = upload.length_bytes or 0
        self._held: list[bytes] = []
        self._has_ended = self._is_paused = self._is_stopped = False
        self._turn: asyncio.Handle | None = None

    def start(self) -> None:
        self._upload.start(self._write, self._end)

    def pause(self) -> None:
        self._is_paused = True
        self._upload.pause()

    def resume(self) -> None:
        self._is_paused = False
        if not self._held:
            self._upload.resume()
        elif self._turn is None:
            self._wait_a_turn()

    def stop(self) -> None:
        self._is_stopped = True
        self._held.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _write(self, piece: bytes) -> None:
        if self._is_stopped or not piece:  # an empty chunk would be the end
            return
        if self._is_chunked:
            self._send(b"%x\r\n%b\r\n" % (len(piece), piece))
            return
        self._left_bytes -= len(piece)
        if self._left_bytes < 0:
            self._wire.break_off("it is longer than was said")
        else:
            self._send(piece)

    def _end(self, reason: str) -> None:
        if self._is_stopped:
            return
        if reason or self._left_bytes:
            self._wire.break_off(reason or "it is shorter than was said")
            return
        self._has_ended = True
        self._send(b"0\r\n\r\n" if self._is_chunked else b"")

    def _send(self, data: bytes) -> None:
        if not self._held and not self._wire.has_unread():
            self._put(data)
            return
        self._held.append(data)
        if self._turn is None and not self._is_paused:
            self._upload.pause()
            self._wait_a_turn()

    def _wait_a_turn(self) -> None:
        self._turn = asyncio.get_running_loop().call_soon(self._send_held)

    def _send_held(self) -> None:
        self._turn = None
        if self._is_paused:
            return
        if self._wire.has_unread():
            self._wait_a_turn()
            return
        held = b"".join(self._held)
        self._held.clear()
        self._put(held)
        self._ask_for_more()

    def _put(self, data: bytes) -> None:
        self._wire.write(data)
        if self._has_ended and not self._is_stopped:
            self._wire.body_is_out()

    def _ask_for_more(self) -> None:
        if not (self._is_paused or self._is_stopped or self._has_ended):
            self._upload.resume()
