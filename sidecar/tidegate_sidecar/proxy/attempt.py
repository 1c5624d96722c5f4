"""One try: send the request to one provider, judge the head of its answer, relay it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from tidegate_policy.model import RetryOn, Timeouts
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.pipeline import ProviderState
from tidegate_sidecar.credentials.keyring import Key
from tidegate_sidecar.providers.base import Headers, Operation, classify, retry_after_ms
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.failure import FailedTry, failed_on_the_way, garbage, timed_out
from tidegate_sidecar.proxy.headers import content_type, request_headers, response_headers
from tidegate_sidecar.proxy.holding import Hold
from tidegate_sidecar.proxy.identify import Asked, with_model
from tidegate_sidecar.proxy.redact import RedactedResponse
from tidegate_sidecar.proxy.relay import Relay, Relayed
from tidegate_sidecar.proxy.respond import WholeResponse
from tidegate_sidecar.proxy.upstream import ProviderLeg, UpstreamError, UpstreamRequest, UpstreamResponse
from tidegate_sidecar.routing.refusal import Case

MAX_ERROR_BYTES: Final = 2**20
"""How much of a provider's error is kept to be passed on."""

ERROR_BODY_S: Final = 5.0
"""How long a provider may take to finish an error's body: its status has said enough."""

EVENT_STREAM: Final = "text/event-stream"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Makes tries for one call; knows nothing of what was tried before."""

    leg: ProviderLeg
    app: AppResponse
    clock: Clock
    max_response_bytes: int
    hold: Hold
    sending: Sending

    async def make(
        self,
        state: ProviderState,
        upstream_name: str,
        key: Key | None,
        *,
        extra: Headers,
        relayed: Relayed,
        on_first_event: Callable[[int], None],
    ) -> None:
        """Ask one provider and relay what it says.

        `extra` are our own headers of the answer. What the application has seen is written down in `relayed`, also
        when this is cancelled; `on_first_event` is told when a stream has begun (monotonic ns).

        Raises:
            FailedTry: it came to nothing, and the application has seen nothing of it.
            AppGoneError: the application went away.
        """
        sending = self.sending
        first_ns = sending.deadline_ns
        if sending.asked.stream:
            first_ns = min(first_ns, self.clock.monotonic_ns() + sending.timeouts.first_token_ms * 1_000_000)
        answer = await self._send(self._request(state, upstream_name, key), first_ns)
        try:
            if key is not None:
                answer = RedactedResponse(answer, key.reveal())
            await self._judge(answer, key, extra)
            relay = Relay(
                app=self.app,
                adapter=state.adapter,
                timeouts=sending.timeouts,
                deadline_ns=sending.deadline_ns,
                max_bytes=self.max_response_bytes,
                hold=self.hold,
                now_ns=self.clock.monotonic_ns,
                request_id=sending.request_id,
                relayed=relayed,
                on_first_event=on_first_event,
            )
            headers = (*response_headers(answer.headers), *extra)
            if sending.asked.stream and answer.status < HTTPStatus.BAD_REQUEST:
                await relay.stream(answer, headers, first_ns)
            else:
                await relay.whole(answer, headers)
        finally:
            answer.close()

    def _request(self, state: ProviderState, upstream_name: str, key: Key | None) -> UpstreamRequest:
        sending = self.sending
        provider = state.provider
        body = sending.body
        if sending.asked.ambiguous or upstream_name != sending.asked.model:
            body = with_model(sending.asked, body, upstream_name)
        url = provider.base_url + state.adapter.path(sending.operation)
        auth = state.adapter.auth(key.reveal()) if key is not None else ()
        return UpstreamRequest(
            url=f"{url}?{sending.query}" if sending.query else url,
            headers=request_headers(sending.headers, provider, auth, sending.consumer_header),
            body=body,
            connect_ms=sending.timeouts.connect_ms,
            public_only=provider.public_only,
        )

    async def _send(self, request: UpstreamRequest, limit_ns: int) -> UpstreamResponse:
        try:
            async with asyncio.timeout(self._left_s(limit_ns)):
                return await self.leg.send(request)
        except UpstreamError as error:
            raise failed_on_the_way(error) from error
        except TimeoutError as error:
            timeouts = self.sending.timeouts
            if limit_ns < self.sending.deadline_ns:
                raise timed_out("no event came", timeouts.first_token_ms, "firstToken") from error
            raise timed_out("no answer came", timeouts.request_ms, "request") from error

    async def _judge(self, answer: UpstreamResponse, key: Key | None, extra: Headers) -> None:
        """Return for an answer to relay; `FailedTry` for one that says the provider cannot serve the call."""
        status = answer.status
        if status == HTTPStatus.UNAUTHORIZED and key is not None:
            # A key of ours that is refused is no error of the caller.
            raise FailedTry(
                None,
                f"it refused the key of {key.credential.source} ({status})",
                case=Case.UNAVAILABLE,
                status=status,
                counts=False,
                only_here=True,
                label="Unauthorized",
            )
        kind = classify(status)
        if kind is None:
            _check_shape(answer, is_stream_wanted=self.sending.asked.stream)
            return
        wait_ms = retry_after_ms(answer.headers, self.clock.wall_ns() // 1_000_000)
        headers = (*response_headers(answer.headers), *extra)
        raise FailedTry(
            kind,
            f"it answered {status}",
            case=Case.UNAVAILABLE,
            status=status,
            answer=WholeResponse(status=status, headers=headers, body=await self._error_bytes(answer)),
            retry_after_ms=wait_ms,
            counts=kind is not RetryOn.RATE_LIMITED,
        )

    async def _error_bytes(self, answer: UpstreamResponse) -> bytes:
        """As much of an error's body as comes soon; a body that breaks off is passed on as far as it came."""
        body = bytearray()
        # The status is the answer: the caller gets the part of the words that came.
        with suppress(TimeoutError, UpstreamError):
            async with asyncio.timeout(min(ERROR_BODY_S, self._left_s(self.sending.deadline_ns))):
                while len(body) < MAX_ERROR_BYTES and (piece := await answer.read()):
                    body += piece
                    if not self.hold.grow_answer(len(body), len(piece)):
                        break
        return bytes(body[:MAX_ERROR_BYTES])

    def _left_s(self, limit_ns: int) -> float:
        return max(0, limit_ns - self.clock.monotonic_ns()) / 1e9


def _check_shape(answer: UpstreamResponse, *, is_stream_wanted: bool) -> None:
    """Whether the answer is of the kind that was asked for; an SDK would take any other for an empty one."""
    status = answer.status
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        # A redirect would send the prompt elsewhere; nobody allowed that place.
        raise FailedTry(
            RetryOn.SERVER_ERROR,
            f"it answered with a redirect ({status})",
            case=Case.UNREACHABLE,
            status=status,
        )
    if status < HTTPStatus.OK:
        raise garbage(f"it answered {status}, which is no answer", status)
    if status >= HTTPStatus.BAD_REQUEST:
        return
    is_stream = content_type(answer.headers) == EVENT_STREAM
    if is_stream is not is_stream_wanted:
        asked, came = ("a stream", "none") if is_stream_wanted else ("no stream", "one")
        raise garbage(f"it was asked for {asked} and answered with {came}", status)
