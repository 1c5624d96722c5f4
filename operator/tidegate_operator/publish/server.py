"""The publisher's shell: TLS and HTTP. What is answered is decided in `answer`, who may ask in `tokens`."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web

from tidegate_operator.certificates.loading import load
from tidegate_operator.publish import tls
from tidegate_operator.publish.accepting import Acceptor, Shares
from tidegate_operator.publish.answer import Decision, Send, Unchanged, Wait, WaitFor
from tidegate_operator.publish.identity import ServiceAccount
from tidegate_operator.publish.observe import Sparing
from tidegate_operator.publish.polls import RETRY_ELSEWHERE_S, Context, Polls
from tidegate_operator.publish.reports import ReplicaReport
from tidegate_operator.publish.requests import ProblemError, bearer, problem, read_ask
from tidegate_operator.publish.tokens import Caller, Denied, TokenVerifier
from tidegate_policy import wire
from tidegate_policy.envelope import seal
from tidegate_policy.errors import DecodeError
from tidegate_policy.poll import ACKS_PATH, AS_OF, CONFIG_PATH, format_as_of
from tidegate_runtime.http_server import HttpServer

_log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 75.0
"""Between two requests of a connection, and until the first."""
BODY_S: Final = 10.0
SEND_S: Final = 30.0
PIECE_BYTES: Final = 4_096
CLOSE_S: Final = 2.0
_SHARES: Final = Shares()


class ConfigServer:
    """`GET /v1/config` for sidecars, `POST /v1/acks` for other replicas."""

    def __init__(
        self, context: Context, tokens: TokenVerifier, peers: ServiceAccount, shares: Shares = _SHARES
    ) -> None:
        """Serve nothing yet; `peers` is the operator's own ServiceAccount, the one that may post acks."""
        self._context = context
        self._tokens = tokens
        self._peers = peers
        self._polls = Polls(context)
        self._log_sparingly = Sparing(monotonic_ns=context.monotonic_ns)
        self._tls = tls.serving_context()
        self._server = HttpServer(self._handle, handler_cancellation=True, keepalive_timeout=KEEPALIVE_S)
        self._acceptor = Acceptor(self._server, self._tls, shares, on_refused=self._refused)

    def __repr__(self) -> str:
        return f"<ConfigServer {self._polls.count} polls open{', stopping' if self._polls.stopping else ''}>"

    def use_certificate(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Serve this certificate from now on; open connections go on with theirs.

        Raises:
            ssl.SSLError: it cannot be used; the former one stays.
        """
        load(self._tls, certificate_pem, key_pem)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, after `use_certificate`; the address with the port that the system chose. `run` serves who comes.

        Raises:
            OSError: the address cannot be used.
        """
        return self._acceptor.listen(host, port)

    async def run(self) -> None:
        """Serve whoever connects, until `stop`; the body of one task, which may begin before `start`."""
        await self._acceptor.run()

    async def stop(self, grace_s: float) -> None:
        """Send every poll elsewhere, then close; what is not answered after `grace_s` seconds is cut."""
        self._acceptor.close()
        await self._polls.stop(grace_s)
        # Connections between two polls: nothing comes any more that would be worth waiting for.
        self._server.pre_shutdown()
        await self._server.shutdown(CLOSE_S)

    def _passed_over(self, field: str) -> None:
        self._context.observer.passed_over()
        if self._log_sparingly.lets("unknown field"):
            _log.info("a field of a later release is passed over: %s", field[:100])

    def _refused(self) -> None:
        self._context.observer.answered("too_many_connections")
        if self._log_sparingly.lets("too many connections"):
            _log.warning(
                "a connection was closed: its address has as many as TIDEGATE_CONNECTIONS_PER_ADDRESS lets it have"
            )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._route(request)
        except ProblemError as error:
            if self._log_sparingly.lets(error.code):
                _log.warning("refused %s from %s: %s: %s", request.path, request.remote, error.code, error)
            self._context.observer.answered(error.code)
            response = problem(error)
            if self._polls.stopping:
                response.force_close()
        return response

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == CONFIG_PATH and request.method == "GET":
            with self._polls.open():
                caller = await self._caller(request)
                try:
                    ask = read_ask(request.headers, self._passed_over)
                except DecodeError as error:
                    raise ProblemError(400, "bad_request", str(error)) from error
                return await self._respond(request, await self._polls.decide(caller, ask))
        if request.path == ACKS_PATH and request.method == "POST":
            return await self._acks(request)
        raise ProblemError(
            404, "not_found", f"served are GET {CONFIG_PATH} and, for operators, POST {ACKS_PATH}"
        )

    async def _caller(self, request: web.BaseRequest) -> Caller:
        verdict = await self._tokens.verify(bearer(request.headers))
        if isinstance(verdict, Denied):
            retry_s = RETRY_ELSEWHERE_S if verdict.is_temporary else 0
            raise ProblemError(verdict.status, verdict.code, verdict.message, retry_s=retry_s)
        return verdict

    async def _respond(self, request: web.BaseRequest, decision: Decision) -> web.StreamResponse:
        board = self._context.board
        # Whoever decided has seen an edition, and there is one from then on.
        assert board.edition is not None  # noqa: S101
        seals = self._context.seals()
        as_of = board.edition.as_of if seals is None else seals.sealed(board.edition.as_of)
        headers = {AS_OF: format_as_of(as_of), "cache-control": "no-store"}
        if isinstance(decision, Send):
            headers["etag"] = str(decision.tag)
            headers["content-type"] = "application/json"
            body = seal(
                decision.published.body,
                identity=decision.identity,
                secrets=board.edition.secrets_for(decision.identity.namespace),
                as_of=as_of,
                trust=board.trust,
            )
            self._context.observer.answered("sent")
            return await _send(request, self._response(200, headers), body)
        reason = decision.reason if isinstance(decision, Wait) else WaitFor.CHANGE
        if isinstance(decision, Wait | Unchanged) and decision.tag is not None:
            headers["etag"] = str(decision.tag)
        self._context.observer.answered(_RESULTS[reason])
        return self._response(304, headers)

    def _response(self, status: int, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        one_in = self._context.bounds.close_one_in
        if self._polls.stopping or (one_in and self._context.random() * one_in < 1):
            response.force_close()
        return response

    async def _acks(self, request: web.BaseRequest) -> web.Response:
        caller = await self._caller(request)
        if caller.account != self._peers:
            raise ProblemError(
                403, "not_an_operator", "reports are taken from other replicas of the operator alone"
            )
        try:
            async with asyncio.timeout(BODY_S):
                report = wire.decode_message(ReplicaReport, await request.read(), self._passed_over)
                self._context.book.merge(report, self._context.monotonic_ns())
        except TimeoutError as error:
            raise ProblemError(408, "body_timeout", f"the body did not come within {BODY_S} s") from error
        except (DecodeError, web.RequestPayloadError, web.HTTPRequestEntityTooLarge) as error:
            raise ProblemError(400, "bad_request", str(error)) from error
        self._context.observer.answered("acks")
        return web.Response(status=204)


async def _send(request: web.BaseRequest, response: web.StreamResponse, body: bytes) -> web.StreamResponse:
    """Write a body in pieces, and let go of it.

    TLS keeps a buffer as large as the largest write for as long as the connection lives, and aiohttp keeps the last
    response until the next request: a configuration of 100 KB would cost 200 KB more for each sidecar, for ever.
    """
    response.content_length = len(body)
    try:
        async with asyncio.timeout(SEND_S):
            await response.prepare(request)
            for begin in range(0, len(body), PIECE_BYTES):
                await response.write(body[begin : begin + PIECE_BYTES])
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        # The sidecar hung up, or takes nothing any more: it asks again.
        if request.transport is not None:
            request.transport.abort()
    return response


_RESULTS: Final = {
    WaitFor.CHANGE: "unchanged",
    WaitFor.MENDING: "refused_by_sidecar",
    WaitFor.CATCHING_UP: "behind",
    WaitFor.NEWER_RELEASE: "newer_release",
}
