"""The rest of an answer that comes piece by piece: pushed into a sink once there is one, kept until then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tidegate_sidecar.proxy.answer import Sink

if TYPE_CHECKING:
    from tidegate_sidecar.proxy.attempt import Attempt
    from tidegate_sidecar.proxy.failure import Failure


class PushedRest:
    """A `Rest` that its body reader pushes into.

    Between the commit point and `start` lies a turn of the event loop, in which a few more pieces may come.
    """

    __slots__ = ("_attempt", "_is_cut", "_is_ended", "_kept", "_last", "_sink", "_waiter")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._sink: Sink | None = None
        self._kept: list[bytes] = []
        self._last = b""
        self._is_ended = self._is_cut = False
        self._waiter: asyncio.Future[None] | None = None

    # what deliver does

    def start(self, sink: Sink) -> None:
        self._sink = sink
        kept, self._kept = b"".join(self._kept), []
        if self._is_cut:
            if kept:
                sink.on_piece(kept)
            sink.on_cut()
        elif self._is_ended:
            sink.on_end(kept + self._last)
        elif kept:
            sink.on_piece(kept)

    def pause(self) -> None:
        self._attempt.pause()

    def resume(self) -> None:
        self._attempt.resume()

    async def over(self) -> None:
        while not self._is_ended:
            await self._woken()

    # what the reader of the body does

    def push(self, piece: bytes) -> None:
        """More for the application."""
        if self._sink is not None:
            self._sink.on_piece(piece)
        elif piece:
            self._kept.append(piece)

    def end(self, last: bytes) -> None:
        """No more after `last`."""
        self._close()
        if self._sink is not None:
            self._sink.on_end(last)
        else:
            self._last = last

    def cut(self, failure: Failure) -> None:
        """It breaks off, and there is no way to say so within the body."""
        self._attempt.failure = failure
        self._attempt.drop()
        self._is_cut = True
        self._close()
        if self._sink is not None:
            self._sink.on_cut()

    def _close(self) -> None:
        self._is_ended = True
        self._attempt.asker.ticker.discard(self._attempt)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
