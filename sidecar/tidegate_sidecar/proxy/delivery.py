"""The only thing that writes to the application: an answer, whoever made it, whole or piece by piece.

Theory of operation. A whole answer is one write, or a few of bounded size where it is large. A stream is pushed through
this object within the callback that brought its bytes. The application's socket says when it takes less than comes: then
the source is held back. A reader that is slow but takes something is never cut; one that takes nothing for
`app_stall_ms` is, since it holds a provider's connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from tidegate_sidecar.downstream.request import AppRequest
from tidegate_sidecar.downstream.stalling import StallWatch
from tidegate_sidecar.proxy.answer import Answer, Rest, Sink
from tidegate_sidecar.proxy.headers import HeaderNames, safe_lines, value_of
from tidegate_sidecar.proxy.ticker import ENDLESS, Ticker

PIECE_BYTES: Final = 256 * 2**10
"""How much is written at a time."""

_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    if status >= HTTPStatus.OK
}


class Delivery:
    """One response.

    Attributes:
        status: of the response once its head is written; 0 before.
        is_over: all of it has been written.
        keeps_alive: the connection may take another request after it.
        gone: why the application is not there any more; empty while it is.
        on_gone: called when the application goes away.
        due_ns: when to look whether the application still takes something.
    """

    # Every call makes one: what is the same at each beginning stands on the class, and costs a call nothing.
    status = 0
    is_over = False
    gone = ""
    on_gone: Callable[[], None] | None = None
    due_ns = ENDLESS
    _is_chunked = False
    _rest: Rest | None = None
    _resumed: asyncio.Future[None] | None = None
    _sinks: tuple[Sink, ...] = ()
    _watch: StallWatch | None = None

    def __init__(self, request: AppRequest, ticker: Ticker, stall_ms: int) -> None:
        """Answer `request`; after `stall_ms` without the application taking anything, it is gone."""
        self._app = app = request.app
        self._request = request
        self._ticker = ticker
        self._stall_ms = stall_ms
        self.keeps_alive = not (request.wants_close or request.is_http10)
        app.events = self

    def deliver_at_once(self, answer: Answer, names: HeaderNames, own: bytes) -> bool:
        """Write `answer` if it is whole and small, as most are; False: nothing was written, see `deliver`."""
        body = answer.first
        if answer.rest is not None or len(body) > PIECE_BYTES or self._request.method == "HEAD":
            return False
        self.status = status = answer.status
        if status in _BODILESS:
            return False
        lines = safe_lines(names.lines(answer.headers))
        self._app.write(self._head(status, lines, own, b"content-length: %d\r\n" % len(body)) + body)
        self.is_over = True
        return True

    async def deliver(
        self, answer: Answer, names: HeaderNames, own: bytes, sinks: tuple[Sink, ...] = ()
    ) -> None:
        """Write `answer`.

        Args:
            answer: its headers are the source's; those of framing are made here.
            names: which of them go on.
            own: header lines of ours, as bytes.
            sinks: hear each piece of a stream too.
        """
        lines = safe_lines(names.lines(answer.headers))
        self.status = answer.status
        if answer.rest is None:
            await self._whole(answer, lines, own)
        else:
            await self._stream(answer, lines, own, sinks)

    def close(self) -> None:
        """Nothing more is said: forget the connection."""
        if self._watch is not None:
            self._ticker.discard(self)
        self._app.events = self.on_gone = None

    @staticmethod
    def last_words(answer: Answer, names: HeaderNames, own: bytes) -> bytes:
        """An answer on a connection that is closed behind it."""
        lines = safe_lines(names.lines(answer.headers))
        framing = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(answer.first)
        return b"".join((_status_line(answer.status), lines, own, framing, answer.first))

    # whole answers

    async def _whole(self, answer: Answer, lines: bytes, own: bytes) -> None:
        body = answer.first
        is_head = self._request.method == "HEAD"
        if is_head or answer.status in _BODILESS:
            length = value_of(answer.headers, b"content-length") if is_head else b""
            framing = b"content-length: %b\r\n" % length if length.isdigit() else b""
            body = b""
        else:
            framing = b"content-length: %d\r\n" % len(body)
        head = self._head(answer.status, lines, own, framing)
        if len(body) <= PIECE_BYTES:
            self._app.write(head + body)
        else:
            await self._in_pieces(head, memoryview(body))
        self.is_over = True

    async def _in_pieces(self, head: bytes, body: memoryview) -> None:
        self._app.write(head)
        for at in range(0, len(body), PIECE_BYTES):
            self._app.write(self._piece(bytes(body[at : at + PIECE_BYTES])))
            while self._app.is_paused and not self.gone:
                self._resumed = asyncio.get_running_loop().create_future()
                try:
                    await self._resumed
                finally:
                    self._resumed = None

    # streams

    async def _stream(self, answer: Answer, lines: bytes, own: bytes, sinks: tuple[Sink, ...]) -> None:
        rest = answer.rest
        assert rest is not None, "an answer without a rest is whole"  # noqa: S101 - a programming error
        self._is_chunked = not self._request.is_http10
        framing = b"transfer-encoding: chunked\r\n" if self._is_chunked else b""
        head = self._head(answer.status, lines, own, framing)
        if len(answer.first) > PIECE_BYTES:
            rest.pause()
            await self._in_pieces(head, memoryview(answer.first))
            rest.resume()
        else:
            self._app.write(head + self._piece(answer.first))
        self._rest, self._sinks = rest, sinks
        for sink in sinks:
            sink.on_piece(answer.first)
        if self._app.is_paused:
            rest.pause()
        rest.start(self)
        await rest.over()
        self._rest = None

    def on_piece(self, piece: bytes) -> None:
        self._app.write(self._piece(piece))
        for sink in self._sinks:
            sink.on_piece(piece)

    def on_end(self, last: bytes) -> None:
        end = self._piece(last)
        self._app.write(end + b"0\r\n\r\n" if self._is_chunked else end)
        self.is_over = True
        for sink in self._sinks:
            sink.on_end(last)

    def on_cut(self) -> None:
        self.keeps_alive = (
            False  # without its end the response is cut: the application sees that it is not whole
        )
        self._app.close_after_this()
        for sink in self._sinks:
            sink.on_cut()

    def _piece(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if piece and self._is_chunked else piece

    # the application

    def on_app_gone(self, reason: str) -> None:
        self.gone = self.gone or reason
        self._ticker.discard(self)
        if self.on_gone is not None:
            self.on_gone()

    def on_app_paused(self) -> None:
        if self._rest is not None:
            self._rest.pause()
        self._watch = StallWatch(self._stall_ms)
        self.due_ns = 0  # looked at with every tick
        self._ticker.add(self)

    def on_app_resumed(self) -> None:
        self._ticker.discard(self)
        self._watch = None
        if self._rest is not None:
            self._rest.resume()
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    def on_due(self, now_ns: int) -> None:
        """At each tick while the application takes less than comes."""
        app = self._app
        if self._watch is not None and self._watch.is_stalled(app.written_bytes, app.buffered_bytes, now_ns):
            self.on_app_gone(f"the application took nothing of its answer for {self._stall_ms} ms")
            app.abort()

    def _head(self, status: int, lines: bytes, own: bytes, framing: bytes) -> bytes:
        line = _status_line(status)
        if self._app.is_draining or self._app.is_last:
            self.keeps_alive = False
        close = b"" if self.keeps_alive else b"connection: close\r\n"
        return b"".join((line, lines, own, framing, close, b"\r\n"))


def _status_line(status: int) -> bytes:
    return _LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
