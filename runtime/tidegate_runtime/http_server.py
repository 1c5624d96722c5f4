"""aiohttp's server, which quotes nothing of what it could not read.

By itself it logs and answers such a head with the line that is wrong, and with the key or token that stands in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

_log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 75.0
"""Between two requests of a connection, and until the first: who asks these servers, asks again soon or not at all."""

_BAD_REQUEST: Final = 400


class HttpServer(web.Server):  # noqa: TID251 - the one that others are to use
    """Serves HTTP for everybody but the application (which has a server of its own)."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        handler_cancellation: bool = False,
        keepalive_timeout: float = KEEPALIVE_S,
    ) -> None:
        """Take what aiohttp's server takes."""
        super().__init__(handler, handler_cancellation=handler_cancellation)
        self._keepalive_s = keepalive_timeout

    def __call__(self) -> RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # what aiohttp documents as "none"
            keepalive_timeout=self._keepalive_s,
        )


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        _log.info("what came from %s is no request that can be read: %s", request.remote, type(exc).__name__)
        answer = web.Response(status=_BAD_REQUEST, text="The request is not valid HTTP/1.1.\n")
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        if isinstance(kw.get("exc_info"), HttpProcessingError):
            kw["exc_info"] = None
        super().log_exception(*args, **kw)
