"""The webhook's shell: TLS and HTTP. What a review gets is decided in `review`."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final

from aiohttp import web

from tidegate_operator.inject.metrics import Metrics
from tidegate_operator.inject.pod import Platform
from tidegate_operator.inject.request import Request, RequestError, read_request
from tidegate_operator.inject.response import Outcome, failed, write_response
from tidegate_operator.inject.review import Entry, answer
from tidegate_runtime.connections import Connections
from tidegate_runtime.http_server import HttpServer

_log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 180.0
"""Longer than the 90 seconds that an API server keeps an idle connection: it is the client who closes, and no review
meets a connection that is just being closed."""
HANDSHAKE_S: Final = 3.0
"""Until a client has said all of its part. The API server does so within milliseconds."""
MAX_CONNECTIONS: Final = 2_048
"""In all, and none for each address: all reviews of a cluster come from a few API servers, and bursts from one of them."""
BODY_S: Final = 4.0
"""A review takes no longer than the API server waits, which is five seconds."""
SMALL_BYTES: Final = 32 * 2**10
"""Reviews up to this size are answered at once, within a few milliseconds: nearly all of them. Others have a thread, so that
they keep nobody else waiting."""
MAX_LARGE: Final = 16
"""Large reviews that are answered or wait for it. One more is refused, as it would be too late anyway."""
MAX_BODY_BYTES: Final = 8 * 2**20
"""The API server takes objects of 3 MiB; a review may hold two."""
DECIDE_S: Final = 3.0
"""For a large review, its waiting included."""
CLOSE_S: Final = 1.0
BACKLOG: Final = 1_024


class WebhookServer:
    """Answers `POST /<entry>`."""

    def __init__(
        self,
        platform: Callable[[], Platform],
        context: ssl.SSLContext,
        metrics: Metrics,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        decide_s: float = DECIDE_S,
    ) -> None:
        """Serve nothing yet.

        Args:
            platform: what is injected at this moment.
            context: with the certificate; it may change while it is in use.
            metrics: where to count.
            monotonic_ns: for durations.
            decide_s: how long a large review may take.
        """
        self._platform = platform
        self._context = context
        self._metrics = metrics
        self._monotonic_ns = monotonic_ns
        self._decide_s = decide_s
        self._server = HttpServer(self._handle, keepalive_timeout=KEEPALIVE_S)
        self._connections = Connections(self._server, most=MAX_CONNECTIONS)
        self._sockets: list[asyncio.Server] = []
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large reviews")
        self._large = 0
        self.is_draining = False
        """Set: each answer asks the API server to come back by another connection, and so to another replica."""

    def __repr__(self) -> str:
        return f"<WebhookServer{' draining' if self.is_draining else ''}>"

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, once the context has a certificate; the address with the port that the system chose.

        Raises:
            OSError: the address cannot be used.
        """
        server = await asyncio.get_running_loop().create_server(
            self._connections,
            host,
            port,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_S,
            backlog=BACKLOG,
        )
        self._sockets.append(server)
        found = server.sockets[0].getsockname()
        return str(found[0]), int(found[1])

    async def stop(self, grace_s: float) -> None:
        """Take no new connection; reviews in flight have `grace_s` seconds."""
        for server in self._sockets:
            server.close()
        self._server.pre_shutdown()
        await self._server.shutdown(grace_s)
        await self._connections.wait_closed(CLOSE_S)
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            entry = Entry(request.path.removeprefix("/"))
        except ValueError:
            served = ", ".join(f"/{entry.value}" for entry in Entry)
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f"Served are: POST {served}.\n")
        if request.method != "POST":
            return web.Response(
                status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": "POST"}, text="Use POST.\n"
            )
        response = await self._review(entry, request)
        if self.is_draining:
            response.force_close()
        return response

    async def _review(self, entry: Entry, request: web.BaseRequest) -> web.Response:
        try:
            async with asyncio.timeout(BODY_S):
                body = await _read(request)
            started_ns = self._monotonic_ns()
            review = read_request(body)
            outcome = await self._decide(entry, review, len(body))
        except (RequestError, TimeoutError, web.RequestPayloadError) as error:
            self._metrics.malformed()
            problem = str(error) or "the request was cut"
            _log.warning("no review on /%s from %s: %s", entry.value, request.remote, problem)
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"{problem}\n")
        response = web.Response(body=write_response(review.uid, outcome), content_type="application/json")
        seconds = (self._monotonic_ns() - started_ns) / 1_000_000_000
        self._metrics.answered(entry, outcome, seconds)
        _tell(entry, review, outcome, seconds)
        return response

    async def _decide(self, entry: Entry, review: Request, size: int) -> Outcome:
        """What a review gets. A large one is decided on in a thread, while others are answered."""
        if size <= SMALL_BYTES:
            return self._answer(entry, review)
        if self._large >= MAX_LARGE:
            return failed(f"{self._large} large reviews wait already; create the pod again in a moment")
        self._large += 1
        deciding = asyncio.get_running_loop().run_in_executor(self._worker, self._answer, entry, review)
        deciding.add_done_callback(self._decided)
        done, _ = await asyncio.wait((deciding,), timeout=self._decide_s)
        if not done:
            deciding.cancel()  # it has not begun, or ends by itself
            return failed(f"no decision within {self._decide_s:g} s")
        return deciding.result()

    def _decided(self, _: asyncio.Future[Outcome]) -> None:
        self._large -= 1

    def _answer(self, entry: Entry, review: Request) -> Outcome:
        try:
            return answer(entry, review, self._platform())
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is broken, the API server gets an answer and a reason
            _log.exception("%s: the review failed", review.subject)
            return failed(type(error).__name__)


async def _read(request: web.BaseRequest) -> bytes:
    parts, size = [], 0
    async for part in request.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise RequestError(f"expected at most {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


def _tell(entry: Entry, review: Request, outcome: Outcome, seconds: float) -> None:
    """One line for each decision. It has names and reasons, and nothing of what the object holds."""
    _log.info(
        "%s %s entry=%s reason=%s uid=%s operations=%d ms=%.1f%s",
        outcome.result.value,
        review.subject,
        entry.value,
        outcome.reason or "-",
        review.uid,
        len(outcome.patch),
        seconds * 1_000,
        f" message={outcome.message!r}" if outcome.message else "",
    )
