"""aiohttp's low-level server, set up for the simulator and telling how many connections there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader
    from aiohttp.web_protocol import RequestHandler

REQUEST_BYTES_MAX: Final = 32 * 1024 * 1024
"""Longer requests get 413; Anthropic's own bound."""


class CountingServer(web.Server):  # noqa: TID251 - keys that it is given open nothing
    """A protocol factory for `create_server`.

    Args:
        handler: answers one request; cancelled as soon as its connection is lost.
        count: called with 1 and -1 as connections come and go.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        count: Callable[[int], None],
    ) -> None:
        # Without handler_cancellation a stalled stream would outlive its client.
        super().__init__(handler, request_factory=_request, handler_cancellation=True, access_log=None)
        self._count = count

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """One more, before its first request."""
        super().connection_made(handler, transport)
        self._count(1)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """One less; its handler is being cancelled."""
        super().connection_lost(handler, exc)
        self._count(-1)


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    # aiohttp's own factory leaves the bound at 1 MiB.
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=REQUEST_BYTES_MAX)
