"""The leg to the application, behind one narrow interface: a head, chunks, an end.

What faces the application can be replaced without touching the relay.
"""

from __future__ import annotations

from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from tidegate_sidecar.providers.base import Headers


class AppGoneError(Exception):
    """The application closed its connection: nothing more can be said to it."""


class AppResponse(Protocol):
    """One response. `started` tells whether the application has seen any of it."""

    started: bool

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A response that is all there."""
        ...

    async def head(self, status: int, headers: Headers) -> None:
        """Start a response that comes piece by piece."""
        ...

    async def chunk(self, data: bytes) -> None:
        """A piece; returns when the application has taken enough for more to be useful. `AppGoneError`."""
        ...

    async def end(self) -> None:
        """No more pieces."""
        ...


class AiohttpResponse:
    """`AppResponse` on `aiohttp.web`."""

    __slots__ = ("_request", "response", "started")

    def __init__(self, request: web.BaseRequest) -> None:
        """Answer `request`; `response` is what the handler returns in the end."""
        self._request = request
        self.response: web.StreamResponse | None = None
        self.started = False

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """See `AppResponse`; aiohttp writes it when the handler returns."""
        self.response = web.Response(status=status, headers=CIMultiDict(headers), body=body)
        self.started = True

    async def head(self, status: int, headers: Headers) -> None:
        """See `AppResponse`."""
        self.response = web.StreamResponse(status=status, headers=CIMultiDict(headers))
        self.started = True
        try:
            await self.response.prepare(self._request)
        except ConnectionError as error:
            raise AppGoneError from error

    async def chunk(self, data: bytes) -> None:
        """See `AppResponse`."""
        assert self.response is not None, "head comes before chunks"  # noqa: S101 - a programming error
        try:
            await self.response.write(data)
        except ConnectionError as error:
            raise AppGoneError from error

    async def end(self) -> None:
        """See `AppResponse`."""
        assert self.response is not None, "head comes before the end"  # noqa: S101 - a programming error
        try:
            await self.response.write_eof()
        except ConnectionError as error:
            raise AppGoneError from error

    def finished(self) -> web.StreamResponse:
        """What the handler gives back to aiohttp; where nothing was said, the connection is closed without a word."""
        if self.response is not None:
            return self.response
        raise ConnectionResetError("the application is gone")
