"""The leg to the application, behind one narrow interface: a head, chunks, an end.

What faces the application can be replaced without touching the relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, Protocol

from aiohttp import web
from multidict import CIMultiDict

from tidegate_sidecar.providers.base import Headers

PIECE_BYTES: Final = 256 * 1024
"""A whole answer is written in such pieces, so that one that is taken slowly is told from one that is not taken."""


class AppGoneError(Exception):
    """The application closed its connection, or reads no more: nothing can be said to it. The message says which."""


class AppResponse(Protocol):
    """One response; every method may raise `AppGoneError`. `started` tells whether the application may have seen any."""

    started: bool

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A response that is all there."""
        ...

    async def head(self, status: int, headers: Headers) -> None:
        """Start a response that comes piece by piece."""
        ...

    async def chunk(self, data: bytes) -> None:
        """A piece; returns when the application has taken enough for more to be useful."""
        ...

    async def end(self) -> None:
        """No more pieces. A response that is never ended is cut, so that the application sees that it is not whole."""
        ...


class AiohttpResponse:
    """`AppResponse` on `aiohttp.web`."""

    __slots__ = ("_ended", "_is_last", "_request", "_response", "_stall_ms", "started")

    def __init__(self, request: web.BaseRequest, *, stall_ms: int, is_last: bool = False) -> None:
        """Answer `request`.

        Args:
            request: what aiohttp handed over.
            stall_ms: after so long without the application taking anything, it is gone.
            is_last: the connection is closed after this response.
        """
        self._request = request
        self._stall_ms = stall_ms
        self._is_last = is_last
        self._response: web.StreamResponse | None = None
        self._ended = False
        self.started = False

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """See `AppResponse`."""
        if len(body) > PIECE_BYTES:
            await self.head(status, (*headers, ("content-length", str(len(body)))))
            for at in range(0, len(body), PIECE_BYTES):
                await self.chunk(body[at : at + PIECE_BYTES])
            await self.end()
            return
        response = web.Response(status=status, headers=CIMultiDict(headers), body=body)
        await self._begin(response)
        await self.end()

    async def head(self, status: int, headers: Headers) -> None:
        """See `AppResponse`."""
        await self._begin(web.StreamResponse(status=status, headers=CIMultiDict(headers)))

    async def chunk(self, data: bytes) -> None:
        """See `AppResponse`."""
        assert self._response is not None, "head comes before chunks"  # noqa: S101 - a programming error
        await self._taken(self._response.write(data))

    async def end(self) -> None:
        """See `AppResponse`."""
        assert self._response is not None, "head comes before the end"  # noqa: S101 - a programming error
        await self._taken(self._response.write_eof())
        self._ended = True

    def finished(self) -> web.StreamResponse:
        """What the handler gives back to aiohttp. The connection of a response that was not ended is closed."""
        if not self._ended and self._request.transport is not None:
            # aiohttp would end the response properly, and half an answer would pass for a whole one.
            self._request.transport.close()
        return self._response or web.Response()

    async def _begin(self, response: web.StreamResponse) -> None:
        if self._is_last:
            response.force_close()
        self._response = response
        self.started = True
        await self._taken(response.prepare(self._request))

    async def _taken(self, writing: Awaitable[object]) -> None:
        """Wait for a write, though not for ever: a reader that stalls must not hold a provider's connection."""
        try:
            async with asyncio.timeout(self._stall_ms / 1_000):
                await writing
        except ConnectionError as error:
            raise AppGoneError("the application closed its connection") from error
        except TimeoutError as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise AppGoneError(
                f"the application took nothing of its answer for {self._stall_ms} ms"
            ) from error
