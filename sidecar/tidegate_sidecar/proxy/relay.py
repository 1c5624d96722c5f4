"""A provider's answer on its way to the application, usage tapped as it passes.

Nothing reaches the application before it is certain that this answer is the one: a whole answer is read to its end,
a stream up to its first event. Until then a failure is a `FailedTry`, and another provider may be asked. After that
a broken stream is ended with an error event in the caller's dialect, and the failure is told in the `Relayed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import orjson

from tidegate_policy.model import RetryOn, Timeouts
from tidegate_sidecar.providers.base import DialectAdapter, Headers, StreamTap, Usage
from tidegate_sidecar.providers.sse import EventSplitter, EventTooLargeError, events
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.failure import (
    FailedTry,
    error_in_stream,
    failed_on_the_way,
    garbage,
    timed_out,
)
from tidegate_sidecar.proxy.holding import Hold
from tidegate_sidecar.proxy.respond import error_body
from tidegate_sidecar.proxy.upstream import UpstreamError, UpstreamResponse
from tidegate_sidecar.routing.refusal import Case, Refusal

LINGER_S: Final = 0.25
"""How long a provider may take to end its answer after its last event, so that the connection can be used again."""


@dataclass(slots=True)
class Relayed:
    """What the application has seen of an answer, written down as it happens."""

    status: int = 0
    """0 while it has seen nothing."""
    usage: Usage = field(default_factory=Usage)
    first_event_ns: int | None = None
    fault: FailedTry | None = None
    """The answer was cut after it had begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Relays one answer.

    Attributes:
        app: the leg to the application.
        adapter: of the dialect.
        timeouts: of the pool.
        deadline_ns: when the whole call has to be over.
        max_bytes: bounds what is held of a whole answer.
        hold: takes the bytes of a whole answer; where there is no room for them it is relayed as it comes.
        now_ns: monotonic time.
        request_id: of the call.
        relayed: where progress is written down.
        on_first_event: told when a stream has begun, in monotonic nanoseconds.
    """

    app: AppResponse
    adapter: DialectAdapter
    timeouts: Timeouts
    deadline_ns: int
    max_bytes: int
    hold: Hold
    now_ns: Callable[[], int]
    request_id: str
    relayed: Relayed
    on_first_event: Callable[[int], None]

    async def whole(self, answer: UpstreamResponse, headers: Headers) -> None:
        """Relay an answer that is one document. Raises `FailedTry` while the application has seen nothing."""
        before = self.hold.count
        try:
            await self._whole(answer, headers)
        except FailedTry:
            self.hold.shrink(self.hold.count - before)  # the next try may wait for long
            raise

    async def _whole(self, answer: UpstreamResponse, headers: Headers) -> None:
        body = bytearray()
        while piece := await self._piece(answer):
            body += piece
            if len(body) > self.max_bytes or not self.hold.grow_answer(len(body), len(piece)):
                await self._overlong(answer, headers, bytes(body))
                return
        if answer.status < HTTPStatus.BAD_REQUEST:
            self.relayed.usage = self._usage(bytes(body), answer.status)
        self.relayed.status = answer.status
        await self.app.whole(answer.status, headers, bytes(body))

    async def stream(self, answer: UpstreamResponse, headers: Headers, first_ns: int) -> None:
        """Relay an event stream whose first event must be there by `first_ns`.

        Raises `FailedTry` while the application has seen nothing.
        """
        relayed = self.relayed
        splitter = EventSplitter()
        tap = self.adapter.tap()
        first = await self._first(answer, splitter, tap, first_ns)
        relayed.status, relayed.first_event_ns = answer.status, self.now_ns()
        self.on_first_event(relayed.first_event_ns)
        try:
            await self.app.head(answer.status, headers)
            await self.app.chunk(first)
            await self._rest(answer, splitter, tap)
        except FailedTry as fault:
            relayed.fault = fault
        finally:
            relayed.usage = tap.usage
        if tap.error:
            # The provider's own event has told the application already.
            relayed.fault = error_in_stream(tap.error)
        elif relayed.fault is not None:
            await self.app.chunk(self._cut(relayed.fault))
        await self.app.end()
        if tap.complete:
            await _linger(answer)

    async def _overlong(self, answer: UpstreamResponse, headers: Headers, held: bytes) -> None:
        """More than is held: pass it on as it comes; its usage stays unread."""
        self.relayed.status = answer.status
        await self.app.head(answer.status, headers)
        await self.app.chunk(held)
        try:
            while piece := await self._piece(answer):
                await self.app.chunk(piece)
        except FailedTry as fault:
            # Without its end the response is cut, which is all that can be said by now.
            self.relayed.fault = fault
            return
        await self.app.end()

    async def _first(
        self, answer: UpstreamResponse, splitter: EventSplitter, tap: StreamTap, first_ns: int
    ) -> bytes:
        """The first bytes that hold an event; comments before it are dropped, so that they commit to nothing."""
        while piece := await self._piece(answer, first_ns, first_token=True):
            whole = _split(splitter, piece)
            found = _read_events(whole, tap) if whole else 0
            if tap.error:
                raise error_in_stream(tap.error)
            if found:
                return whole
        raise FailedTry(
            RetryOn.SERVER_ERROR, "its stream ended before the first event", case=Case.UNREACHABLE
        )

    async def _rest(self, answer: UpstreamResponse, splitter: EventSplitter, tap: StreamTap) -> None:
        """Everything after the first event, up to the last; `FailedTry` when the stream is cut."""
        idle_ns = self.timeouts.stream_idle_ms * 1_000_000
        while not tap.complete:
            try:
                piece = await self._piece(answer, self.now_ns() + idle_ns)
            except FailedTry:
                if tap.error:
                    return
                raise
            if not piece:
                break
            whole = _split(splitter, piece)
            if whole:
                _read_events(whole, tap)
                await self.app.chunk(whole)
        if not (tap.may_end or tap.error):
            raise FailedTry(
                RetryOn.CONNECT_FAILURE, "its stream ended without the last event", case=Case.UNREACHABLE
            )

    async def _piece(
        self, answer: UpstreamResponse, limit_ns: int | None = None, *, first_token: bool = False
    ) -> bytes:
        """The next piece of the body, by `limit_ns` and by the call's deadline; empty at the end."""
        ends_ns = self.deadline_ns if limit_ns is None else min(limit_ns, self.deadline_ns)
        try:
            async with asyncio.timeout(max(0, ends_ns - self.now_ns()) / 1e9):
                return await answer.read()
        except TimeoutError as error:
            timeouts = self.timeouts
            if ends_ns == self.deadline_ns:
                raise timed_out("the answer was not over", timeouts.request_ms, "request") from error
            if first_token:
                raise timed_out("no event came", timeouts.first_token_ms, "firstToken") from error
            raise timed_out("nothing more came", timeouts.stream_idle_ms, "streamIdle") from error
        except UpstreamError as error:
            raise failed_on_the_way(error) from error

    def _usage(self, body: bytes, status: int) -> Usage:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise garbage("its answer is not JSON", status) from error
        if not isinstance(document, dict):
            raise garbage("its answer is not a JSON object", status)
        return self.adapter.usage(document)

    def _cut(self, fault: FailedTry) -> bytes:
        """The end of a broken stream, for which an SDK raises an error; it would take silence for a whole answer."""
        refusal = Refusal(case=fault.case, message=f"The stream from the provider was cut: {fault.reason}.")
        return self.adapter.stream_error(error_body(refusal, self.request_id))


def _split(splitter: EventSplitter, piece: bytes) -> bytes:
    try:
        return splitter.feed(piece)
    except EventTooLargeError as error:
        raise garbage(str(error)) from error


def _read_events(whole: bytes, tap: StreamTap) -> int:
    """How many events `whole` holds; `FailedTry` when one is no event of any dialect."""
    found = events(whole)
    for event in found:
        # Both dialects send objects, or OpenAI's last word; parsing each would cost more than the relay itself.
        if not (event.data[:1] == b"{" and event.data[-1:] == b"}") and event.data != b"[DONE]":
            raise garbage("its stream holds an event that is not JSON")
        tap.feed(event)
    return len(found)


async def _linger(answer: UpstreamResponse) -> None:
    """Read what follows the last event, usually nothing: a connection that is read to its end is used again."""
    with suppress(TimeoutError, UpstreamError):
        async with asyncio.timeout(LINGER_S):
            while await answer.read():
                pass
