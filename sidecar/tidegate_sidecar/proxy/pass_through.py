"""A call to which no policy applies, where the platform lets such calls go out as they are.

Path, query, body and the application's own key go to the provider that speaks the call's dialect; the answer comes back
as the provider gave it, whatever it is. No rule, no breaker and no second try; the bounds of a call, its record and its
counting are those of any other. What can be read in passing (model, usage) is written down, and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson

from tidegate_policy.model import Timeouts
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.pipeline import PoolState, ProviderState
from tidegate_sidecar.providers.base import DialectAdapter, Headers, StreamTap, Usage
from tidegate_sidecar.providers.sse import EventSplitter, EventTooLargeError, events
from tidegate_sidecar.proxy import identify
from tidegate_sidecar.proxy.attempt import EVENT_STREAM
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.failure import FailedTry, failed_on_the_way, no_answer, timed_out
from tidegate_sidecar.proxy.headers import (
    content_type,
    own_keys,
    request_headers,
    response_headers,
    without_placeholder,
)
from tidegate_sidecar.proxy.holding import Hold
from tidegate_sidecar.proxy.identify import Asked, Place
from tidegate_sidecar.proxy.redact import RedactedResponse
from tidegate_sidecar.proxy.upstream import ProviderLeg, UpstreamError, UpstreamRequest, UpstreamResponse
from tidegate_sidecar.routing.refusal import Refusal, no_key_of_its_own
from tidegate_sidecar.telemetry.records import AttemptRecord, CallRecord, Ending, UsageState

OTHER_OPERATION: Final = "Other"
"""In records and metrics: what is asked for is none of the operations that rules know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A request as it came."""

    method: str
    query: str
    headers: Headers
    body: bytes


@dataclass(slots=True, kw_only=True)
class PassThrough:
    """Lets one call through. `run` is called once."""

    leg: ProviderLeg
    app: AppResponse
    clock: Clock
    record: CallRecord
    pool: PoolState
    max_response_bytes: int
    hold: Hold
    started_ns: int

    async def run(self, place: Place, passing: Passing) -> Refusal | None:
        """Send it and relay the answer; a refusal when there is none.

        Raises:
            AppGoneError: the application went away.
        """
        state = self._provider(place)
        if state is None:
            return identify.nothing_served(place.path)
        received = without_placeholder(passing.headers)
        if received is None and state.provider.caller_credential:
            return no_key_of_its_own(self.pool.pool.source)
        received = received or passing.headers
        record = self.record
        record.provider = state.provider.name
        _note_asked(record, passing.body)
        attempt = AttemptRecord(provider=state.provider.name, result="Cancelled")
        record.attempts.append(attempt)
        began_ns = self.clock.monotonic_ns()
        request = UpstreamRequest(
            method=passing.method,
            url=f"{state.provider.base_url}{place.rest}" + (f"?{passing.query}" if passing.query else ""),
            headers=request_headers(received, state.provider, (), ""),
            body=passing.body,
            connect_ms=self._timeouts.connect_ms,
            public_only=state.provider.public_only,
        )
        try:
            answer = await self._send(request)
            try:
                for key in own_keys(received):
                    answer = RedactedResponse(answer, key)
                await self._relay(answer, state)
            finally:
                answer.close()
            attempt.result = "ok"
        except FailedTry as failed:
            attempt.result, attempt.reason = failed.label, failed.reason
            if not self.app.started:
                return no_answer(self.pool.pool.source, record.model or place.path, record.attempts, failed)
            # Without its end the response is cut: the application sees that it is not whole.
            record.ending, record.reason, record.code = Ending.FAILED, failed.reason, failed.case.code
        finally:
            attempt.status = record.status
            attempt.duration_ms = (self.clock.monotonic_ns() - began_ns) // 1_000_000
        return None

    @property
    def _timeouts(self) -> Timeouts:
        return self.pool.pool.timeouts

    @property
    def _deadline_ns(self) -> int:
        return self.started_ns + self._timeouts.request_ms * 1_000_000

    def _provider(self, place: Place) -> ProviderState | None:
        return next(
            (it for it in self.pool.providers if it.provider.type.dialect is place.dialect),
            None,
        )

    async def _send(self, request: UpstreamRequest) -> UpstreamResponse:
        try:
            async with asyncio.timeout(max(0, self._deadline_ns - self.clock.monotonic_ns()) / 1e9):
                return await self.leg.send(request)
        except UpstreamError as error:
            raise failed_on_the_way(error) from error
        except TimeoutError as error:
            raise timed_out("no answer came", self._timeouts.request_ms, "request") from error

    async def _relay(self, answer: UpstreamResponse, state: ProviderState) -> None:
        record = self.record
        extra = (
            ("x-tidegate-request-id", record.request_id),
            ("x-tidegate-provider", state.provider.name),
        )
        headers = (*response_headers(answer.headers), *extra)
        if content_type(answer.headers) == EVENT_STREAM:
            await self._stream(answer, headers, state.adapter)
        else:
            await self._whole(answer, headers, state.adapter)
        record.ending = Ending.SERVED if answer.status < HTTPStatus.BAD_REQUEST else Ending.PROVIDER_ERROR

    async def _whole(self, answer: UpstreamResponse, headers: Headers, adapter: DialectAdapter) -> None:
        """Held until it is all there, so that a failure can still be told; a longer one goes on as it comes."""
        body = bytearray()
        while piece := await self._piece(answer):
            body += piece
            if len(body) > self.max_response_bytes or not self.hold.grow_answer(len(body), len(piece)):
                break
        self.record.status = answer.status
        if not piece:
            self._note_usage(_usage(bytes(body), adapter), answer.status)
            await self.app.whole(answer.status, headers, bytes(body))
            return
        self._note_usage(Usage(), answer.status)
        await self.app.head(answer.status, headers)
        await self.app.chunk(bytes(body))
        while piece := await self._piece(answer):
            await self.app.chunk(piece)
        await self.app.end()

    async def _stream(self, answer: UpstreamResponse, headers: Headers, adapter: DialectAdapter) -> None:
        """Each piece at once, as it came."""
        record = self.record
        reader = _Reader(adapter.tap())
        record.status, record.stream = answer.status, True
        await self.app.head(answer.status, headers)
        try:
            while piece := await self._piece(answer, is_stream=True):
                if record.first_token_ms is None:
                    record.first_token_ms = (self.clock.monotonic_ns() - self.started_ns) // 1_000_000
                await self.app.chunk(piece)
                reader.read(piece)
        finally:
            self._note_usage(reader.tap.usage, answer.status)
        await self.app.end()

    async def _piece(self, answer: UpstreamResponse, *, is_stream: bool = False) -> bytes:
        """The next piece, by the deadline of the call and, in a stream, before it has been idle for too long."""
        now_ns = self.clock.monotonic_ns()
        idle_ns = now_ns + self._timeouts.stream_idle_ms * 1_000_000
        is_idle = is_stream and idle_ns < self._deadline_ns
        ends_ns = idle_ns if is_idle else self._deadline_ns
        try:
            async with asyncio.timeout(max(0, ends_ns - now_ns) / 1e9):
                return await answer.read()
        except UpstreamError as error:
            raise failed_on_the_way(error) from error
        except TimeoutError as error:
            if is_idle:
                raise timed_out("nothing more came", self._timeouts.stream_idle_ms, "streamIdle") from error
            raise timed_out("the answer was not over", self._timeouts.request_ms, "request") from error

    def _note_usage(self, usage: Usage, status: int) -> None:
        record = self.record
        record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        if usage != Usage():
            record.usage = UsageState.REPORTED
        elif status < HTTPStatus.BAD_REQUEST and record.model:
            record.usage = UsageState.UNREPORTED


class _Reader:
    """Reads a stream in passing; what it cannot understand ends the reading and nothing else."""

    def __init__(self, tap: StreamTap) -> None:
        self.tap = tap
        self._splitter: EventSplitter | None = EventSplitter()

    def read(self, piece: bytes) -> None:
        if self._splitter is None:
            return
        try:
            whole = self._splitter.feed(piece)
        except EventTooLargeError:
            self._splitter = None
            return
        for event in events(whole) if whole else ():
            self.tap.feed(event)


def _note_asked(record: CallRecord, body: bytes) -> None:
    """What the body asks for, where it is one that can be read."""
    asked = identify.read_body(body)
    if isinstance(asked, Asked):
        record.requested_model = record.model = asked.model
        record.stream = asked.stream


def _usage(body: bytes, adapter: DialectAdapter) -> Usage:
    document: object = None
    if body[:1] == b"{":
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
    return adapter.usage(document) if isinstance(document, Mapping) else Usage()
