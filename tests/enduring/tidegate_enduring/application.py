"""An application's connection: what is written is written as it is, what comes back is read strictly."""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

import httptools

WORD: Final = re.compile(rb"word-\d+-")
WAIT_S: Final = 60.0
"""Whatever is waited for is there long before, or it never comes."""


class Answered:
    """One response."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.is_whole = False


class WrongError(Exception):
    """The sidecar did what it must not do."""


class Application(asyncio.Protocol):
    """One connection.

    Attributes:
        answers: that have come, the last one maybe in part.
        is_over: it is closed, by either side.
        hangs_up_after: bytes of answers after which the application closes it; None: it does not.
        keeps_alive: the last answer lets another request follow.
    """

    def __init__(self) -> None:
        self.answers: list[Answered] = []
        self.is_over = False
        self.hangs_up_after: int | None = None
        self.keeps_alive = True
        self.came_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._answer = Answered()
        self._problem: Exception | None = None

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Application:
        _, protocol = await asyncio.get_running_loop().create_connection(cls, *address)
        return protocol

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def half_close(self) -> None:
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def answered(self, count: int = 1) -> list[Answered]:
        """Wait for so many answers, or the end of the connection, and take what has come."""
        await self._until(count)
        answers, self.answers = self.answers, []
        if self.is_over and self._answer.status:
            answers.append(self._answer)
        return answers

    async def over(self) -> None:
        """Wait for the end of the connection."""
        await self._until(1 << 30)

    async def _until(self, count: int) -> None:
        self._wanted = count
        while len(self.answers) < count and not self.is_over:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            late = loop.call_later(WAIT_S, self._wake)
            await self._waiter
            if late.when() <= loop.time():
                raise WrongError(f"nothing came for {WAIT_S} s; so far {self.came_bytes} bytes")
            late.cancel()
        if self._problem is not None:
            raise self._problem

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.came_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._problem = WrongError(f"an answer is no HTTP ({error}): {data[:300]!r}")
            self.abort()
        if self.hangs_up_after is not None and self.came_bytes >= self.hangs_up_after:
            self.abort()
        if len(self.answers) >= self._wanted:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.is_over, self._transport = True, None
        self._wake()

    # what the parser says

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._answer.body += data

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, Answered()
        if answer.status >= 200:
            answer.is_whole = True
            self.keeps_alive = self._parser.should_keep_alive()
            self.answers.append(answer)
