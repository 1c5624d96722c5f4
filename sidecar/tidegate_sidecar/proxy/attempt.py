"""One try: send the request to one provider, judge the head of its answer, relay it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson

from tidegate_policy.model import RetryOn, Timeouts
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.pipeline import ProviderState
from tidegate_sidecar.credentials.keyring import Key
from tidegate_sidecar.providers.base import Headers, Operation, classify, retry_after_ms
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.headers import is_event_stream, request_headers, response_headers
from tidegate_sidecar.proxy.identify import Asked
from tidegate_sidecar.proxy.relay import FailedTry, Relay, Relayed, failed_on_the_way
from tidegate_sidecar.proxy.respond import WholeResponse
from tidegate_sidecar.proxy.upstream import ProviderLeg, UpstreamError, UpstreamRequest, UpstreamResponse
from tidegate_sidecar.routing.refusal import Case

MAX_ERROR_BYTES: Final = 2**20
"""How much of a provider's error is kept to be passed on."""

ERROR_BODY_S: Final = 5.0
"""How long a provider may take to finish an error's body: its status has said enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What stays the same over all tries of a call."""

    asked: Asked
    body: bytes
    operation: Operation
    query: str
    headers: tuple[tuple[str, str], ...]
    consumer_header: str
    request_id: str
    timeouts: Timeouts
    deadline_ns: int
    """Monotonic: when the whole call has to be over."""


class Attempts:
    """Makes tries for one call; knows nothing of what was tried before."""

    def __init__(
        self, *, leg: ProviderLeg, app: AppResponse, clock: Clock, max_response_bytes: int, sending: Sending
    ) -> None:
        """Send `sending` over `leg`, answer `app`."""
        self._leg = leg
        self._app = app
        self._clock = clock
        self._max_response_bytes = max_response_bytes
        self._sending = sending

    async def make(
        self,
        state: ProviderState,
        upstream_name: str,
        key: Key | None,
        extra: Headers,
        on_first_event: Callable[[int], None],
    ) -> Relayed:
        """Ask one provider and relay what it says.

        `extra` are our own headers of the answer; `on_first_event` is told when a stream has begun (monotonic ns).

        Raises:
            FailedTry: it came to nothing, and the application has seen nothing of it.
            AppGoneError: the application went away.
        """
        sending = self._sending
        now_ns = self._clock.monotonic_ns()
        first_ns = sending.deadline_ns
        if sending.asked.stream:
            first_ns = min(first_ns, now_ns + sending.timeouts.first_token_ms * 1_000_000)
        answer = await self._send(self._request(state, upstream_name, key), first_ns)
        try:
            await self._judge(answer, key, extra)
            return await self._relay(answer, state, extra, first_ns, on_first_event)
        finally:
            answer.close()

    def _request(self, state: ProviderState, upstream_name: str, key: Key | None) -> UpstreamRequest:
        sending = self._sending
        provider = state.provider
        body = sending.body
        if sending.asked.ambiguous or upstream_name != sending.asked.model:
            body = orjson.dumps({**sending.asked.document, "model": upstream_name})
        url = provider.base_url + state.adapter.path(sending.operation)
        auth = state.adapter.auth(key.reveal()) if key is not None else ()
        return UpstreamRequest(
            url=f"{url}?{sending.query}" if sending.query else url,
            headers=request_headers(sending.headers, provider, auth, sending.consumer_header),
            body=body,
            connect_ms=sending.timeouts.connect_ms,
        )

    async def _send(self, request: UpstreamRequest, deadline_ns: int) -> UpstreamResponse:
        try:
            async with asyncio.timeout(self._left_s(deadline_ns)):
                return await self._leg.send(request)
        except UpstreamError as error:
            raise failed_on_the_way(error) from error
        except TimeoutError as error:
            raise self._timed_out(deadline_ns) from error

    async def _relay(
        self,
        answer: UpstreamResponse,
        state: ProviderState,
        extra: Headers,
        first_ns: int,
        on_first_event: Callable[[int], None],
    ) -> Relayed:
        sending = self._sending
        relay = Relay(
            app=self._app,
            adapter=state.adapter,
            timeouts=sending.timeouts,
            max_bytes=self._max_response_bytes,
            now_ns=self._clock.monotonic_ns,
            request_id=sending.request_id,
        )
        headers = (*response_headers(answer.headers), *extra)
        if is_event_stream(answer.headers):
            return await relay.stream(answer, headers, first_ns, sending.deadline_ns, on_first_event)
        try:
            async with asyncio.timeout(self._left_s(sending.deadline_ns)):
                return await relay.whole(answer, headers)
        except TimeoutError as error:
            raise self._timed_out(sending.deadline_ns) from error

    async def _judge(self, answer: UpstreamResponse, key: Key | None, extra: Headers) -> None:
        """Return for an answer to relay; `FailedTry` for one that says the provider cannot serve the call."""
        status = answer.status
        if 300 <= status < 400:
            # A redirect would send the prompt elsewhere; nobody allowed that place.
            raise FailedTry(
                RetryOn.SERVER_ERROR, f"it answered with a redirect ({status})", case=Case.UNREACHABLE
            )
        if status == 401 and key is not None:
            # Its body may quote our key; and a key of ours that is refused is no error of the caller.
            raise FailedTry(
                None,
                f"it refused the key of {key.credential.source} ({status})",
                case=Case.UNAVAILABLE,
                counts=False,
                only_here=True,
                label="Unauthorized",
            )
        kind = classify(status)
        if kind is None:
            return
        wait_ms = retry_after_ms(answer.headers, self._clock.wall_ns() // 1_000_000)
        body = await self._error_bytes(answer)
        if key is not None:
            body = body.replace(key.reveal().encode(), b"[redacted]")
        raise FailedTry(
            kind,
            f"it answered {status}",
            case=Case.UNAVAILABLE,
            answer=WholeResponse(
                status=status, headers=(*response_headers(answer.headers), *extra), body=body
            ),
            retry_after_ms=wait_ms,
            counts=kind is not RetryOn.RATE_LIMITED,
        )

    async def _error_bytes(self, answer: UpstreamResponse) -> bytes:
        """As much of an error's body as comes soon; a body that breaks off is passed on as far as it came."""
        body = bytearray()
        try:
            async with asyncio.timeout(min(ERROR_BODY_S, self._left_s(self._sending.deadline_ns))):
                while len(body) < MAX_ERROR_BYTES and (piece := await answer.read()):
                    body += piece
        except (TimeoutError, UpstreamError):
            pass  # the status is the answer; the caller gets the part of the words that came
        return bytes(body[:MAX_ERROR_BYTES])

    def _timed_out(self, deadline_ns: int) -> FailedTry:
        timeouts = self._sending.timeouts
        which = (
            f"no answer within {timeouts.request_ms} ms (timeouts.request)"
            if deadline_ns >= self._sending.deadline_ns
            else f"no first event within {timeouts.first_token_ms} ms (timeouts.firstToken)"
        )
        return FailedTry(RetryOn.TIMEOUT, which, case=Case.TIMEOUT)

    def _left_s(self, deadline_ns: int) -> float:
        return max(0, deadline_ns - self._clock.monotonic_ns()) / 1e9
