"""/healthz, /readyz and /metrics over plain HTTP. What healthy means is decided by whoever starts the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from tidegate_runtime.http_server import HttpServer

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_PATHS = ("/healthz", "/readyz", "/metrics")
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a probe is told.

    Attributes:
        problems: what is wrong, in words; a probe succeeds when there is nothing.
        facts: what else a person wants to know.
    """

    problems: tuple[str, ...]
    facts: dict[str, object]


class HealthServer:
    """Answers probes and scrapes."""

    def __init__(
        self, live: Callable[[], Health], ready: Callable[[], Health], metrics: Callable[[], bytes]
    ) -> None:
        """`live`: whether a restart would help; `ready`: whether to send sidecars here."""
        self._live = live
        self._ready = ready
        self._metrics = metrics
        self._server = HttpServer(self._handle)
        self._sockets: list[asyncio.Server] = []

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address with the port that the system chose.

        Raises:
            OSError: the address cannot be used.
        """
        server = await asyncio.get_running_loop().create_server(self._server, host, port)
        self._sockets.append(server)
        found = server.sockets[0].getsockname()
        return str(found[0]), int(found[1])

    async def stop(self) -> None:
        """Close."""
        for server in self._sockets:
            server.close()
        await self._server.shutdown(_CLOSE_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in _PATHS:
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f"Served are: {', '.join(_PATHS)}.\n")
        if request.method not in ("GET", "HEAD"):
            headers = {"allow": "GET, HEAD"}
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers=headers, text="Use GET.\n")
        if request.path == "/metrics":
            return web.Response(body=self._metrics(), headers={"content-type": _TEXT})
        health = self._live() if request.path == "/healthz" else self._ready()
        body = {"ok": not health.problems, "problems": health.problems, **health.facts}
        return web.Response(
            status=HTTPStatus.SERVICE_UNAVAILABLE if health.problems else HTTPStatus.OK,
            body=json.dumps(body, indent=2).encode() + b"\n",
            content_type="application/json",
        )
