"""A provider's answer on its way to the application, usage tapped as it passes.

Nothing reaches the application before it is certain that this answer is the one: a whole answer is read to its end,
a stream up to its first event. Until then a failure is a `FailedTry`, and another provider may be asked. After that
a broken stream is ended with an error event in the caller's dialect, and the failure is told in the `Relayed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from tidegate_policy.model import RetryOn, Timeouts
from tidegate_sidecar.providers.base import DialectAdapter, Headers, StreamTap, Usage
from tidegate_sidecar.providers.sse import EventSplitter, EventTooLargeError, events
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.headers import content_type
from tidegate_sidecar.proxy.respond import WholeResponse, error_body
from tidegate_sidecar.proxy.upstream import UpstreamError, UpstreamFault, UpstreamResponse
from tidegate_sidecar.routing.refusal import Case, Refusal


class FailedTry(Exception):  # noqa: N818 - it is the failure of a try, not of the program
    """A try came to nothing before the application saw any of it.

    Attributes:
        kind: the word of `retryOn` that it counts as; None when no repetition would help.
        case: what the application is told when this was the last try and there is no answer to pass on.
        answer: the provider's own error, when there was one.
        retry_after_ms: how long the provider asked to wait.
        counts: whether the breaker counts it as a failure of the provider.
        only_here: it is this provider's alone, whatever `kind` says: another one may well answer.
        label: the result in records, where it is not `kind`.
    """

    def __init__(
        self,
        kind: RetryOn | None,
        reason: str,
        *,
        case: Case,
        answer: WholeResponse | None = None,
        retry_after_ms: int | None = None,
        counts: bool = True,
        only_here: bool = False,
        label: str = "",
    ) -> None:
        """Keep the facts beside the words."""
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.case = case
        self.answer = answer
        self.retry_after_ms = retry_after_ms
        self.counts = counts
        self.only_here = only_here
        self.label = label or (kind.value if kind else "Failed")


@dataclass(slots=True)
class Relayed:
    """What became of an answer that the application has seen."""

    status: int
    usage: Usage = field(default_factory=Usage)
    first_event_ns: int | None = None
    fault: FailedTry | None = None
    """The stream was cut after it had begun."""


def failed_on_the_way(error: UpstreamError) -> FailedTry:
    """A fault of the connection as a failed try."""
    if error.fault is UpstreamFault.CONNECT_TIMEOUT:
        return FailedTry(RetryOn.CONNECT_FAILURE, str(error), case=Case.TIMEOUT)
    return FailedTry(RetryOn.CONNECT_FAILURE, str(error), case=Case.UNREACHABLE)


class Relay:
    """Relays one answer."""

    def __init__(
        self,
        *,
        app: AppResponse,
        adapter: DialectAdapter,
        timeouts: Timeouts,
        max_bytes: int,
        now_ns: Callable[[], int],
        request_id: str,
    ) -> None:
        """`max_bytes` bounds what is held of a whole answer."""
        self._app = app
        self._adapter = adapter
        self._timeouts = timeouts
        self._max_bytes = max_bytes
        self._now_ns = now_ns
        self._request_id = request_id

    async def whole(self, answer: UpstreamResponse, headers: Headers) -> Relayed:
        """Relay an answer that is one document. Raises `FailedTry` while the application has seen nothing."""
        body = bytearray()
        try:
            while piece := await answer.read():
                body += piece
                if len(body) > self._max_bytes:
                    return await self._overlong(answer, headers, bytes(body))
        except UpstreamError as error:
            raise failed_on_the_way(error) from error
        usage = Usage()
        if content_type(headers) in ("application/json", ""):
            try:
                usage = self._adapter.usage(orjson.loads(body))
            except orjson.JSONDecodeError as error:
                raise FailedTry(
                    RetryOn.SERVER_ERROR, "its answer is not JSON", case=Case.UNREACHABLE, label="Garbage"
                ) from error
        await self._app.whole(answer.status, headers, bytes(body))
        return Relayed(status=answer.status, usage=usage)

    async def _overlong(self, answer: UpstreamResponse, headers: Headers, held: bytes) -> Relayed:
        """More than is held: pass it on as it comes; its usage stays unread."""
        await self._app.head(answer.status, headers)
        await self._app.chunk(held)
        relayed = Relayed(status=answer.status)
        try:
            while piece := await answer.read():
                await self._app.chunk(piece)
        except UpstreamError as error:
            # The application is owed the rest by the length or the last chunk: leaving that out tells it.
            relayed.fault = failed_on_the_way(error)
            return relayed
        await self._app.end()
        return relayed

    async def stream(
        self,
        answer: UpstreamResponse,
        headers: Headers,
        first_ns: int,
        deadline_ns: int,
        on_first_event: Callable[[int], None],
    ) -> Relayed:
        """Relay an event stream. Its first event must be there by `first_ns`, its last by `deadline_ns`.

        Raises `FailedTry` while the application has seen nothing.
        """
        splitter = EventSplitter()
        tap = self._adapter.tap()
        try:
            async with asyncio.timeout(max(0, first_ns - self._now_ns()) / 1e9):
                first = await self._first(answer, splitter, tap)
        except TimeoutError as error:
            raise FailedTry(
                RetryOn.TIMEOUT,
                f"no first event within {self._timeouts.first_token_ms} ms",
                case=Case.TIMEOUT,
            ) from error
        except UpstreamError as error:
            raise failed_on_the_way(error) from error
        now_ns = self._now_ns()
        on_first_event(now_ns)
        relayed = Relayed(status=answer.status, first_event_ns=now_ns)
        await self._app.head(answer.status, headers)
        await self._app.chunk(first)
        try:
            await self._rest(answer, splitter, tap, deadline_ns)
        except FailedTry as fault:
            relayed.fault = fault
            await self._cut(fault)
        relayed.usage = tap.usage
        return relayed

    async def _first(self, answer: UpstreamResponse, splitter: EventSplitter, tap: StreamTap) -> bytes:
        """The first bytes that hold an event; comments before it are dropped, so that they commit to nothing."""
        while piece := await answer.read():
            whole = self._split(splitter, piece)
            found = self._read_events(whole, tap) if whole else 0
            if tap.error:
                raise _error_in_stream(tap.error)
            if found:
                return whole
        raise FailedTry(
            RetryOn.SERVER_ERROR, "the stream ended before its first event", case=Case.UNREACHABLE
        )

    async def _rest(
        self, answer: UpstreamResponse, splitter: EventSplitter, tap: StreamTap, deadline_ns: int
    ) -> None:
        """Everything after the first event; `FailedTry` when the stream is cut."""
        idle_ns = self._timeouts.stream_idle_ms * 1_000_000
        while True:
            left_ns = deadline_ns - self._now_ns()
            try:
                async with asyncio.timeout(max(0, min(idle_ns, left_ns)) / 1e9):
                    piece = await answer.read()
            except TimeoutError as error:
                reason = (
                    f"nothing came for {self._timeouts.stream_idle_ms} ms (timeouts.streamIdle)"
                    if idle_ns <= left_ns
                    else f"it was not over within {self._timeouts.request_ms} ms (timeouts.request)"
                )
                raise FailedTry(RetryOn.TIMEOUT, reason, case=Case.TIMEOUT) from error
            except UpstreamError as error:
                raise failed_on_the_way(error) from error
            if not piece:
                break
            whole = self._split(splitter, piece)
            if whole:
                self._read_events(whole, tap)
                await self._app.chunk(whole)
        if splitter.held_bytes or not (tap.complete or _is_delimited(answer.headers)):
            raise FailedTry(
                RetryOn.CONNECT_FAILURE, "the stream ended without its last event", case=Case.UNREACHABLE
            )
        await self._app.end()
        if tap.error:
            raise _Passed(tap.error)

    def _split(self, splitter: EventSplitter, piece: bytes) -> bytes:
        try:
            return splitter.feed(piece)
        except EventTooLargeError as error:
            raise FailedTry(
                RetryOn.SERVER_ERROR, str(error), case=Case.UNREACHABLE, label="Garbage"
            ) from error

    def _read_events(self, whole: bytes, tap: StreamTap) -> int:
        """How many events `whole` holds; `FailedTry` when one is no event of any dialect."""
        found = events(whole)
        for event in found:
            # Both dialects send objects, or OpenAI's last word; parsing each would cost more than the relay itself.
            if not (event.data[:1] == b"{" and event.data[-1:] == b"}") and event.data != b"[DONE]":
                raise FailedTry(
                    RetryOn.SERVER_ERROR,
                    "the stream holds an event that is not JSON",
                    case=Case.UNREACHABLE,
                    label="Garbage",
                )
            tap.feed(event)
        return len(found)

    async def _cut(self, fault: FailedTry) -> None:
        """End a broken stream so that an SDK raises an error instead of taking half an answer for a whole one."""
        if isinstance(fault, _Passed):
            return
        refusal = Refusal(case=fault.case, message=f"The stream from the provider was cut: {fault.reason}.")
        await self._app.chunk(self._adapter.stream_error(error_body(refusal, self._request_id)))
        await self._app.end()


class _Passed(FailedTry):
    """The provider itself put an error event into the stream; the application has it already."""

    def __init__(self, error: str) -> None:
        super().__init__(_stream_kind(error), f"the stream holds the error {error!r}", case=Case.UNREACHABLE)


def _error_in_stream(error: str) -> FailedTry:
    return FailedTry(
        _stream_kind(error), f"the stream begins with the error {error[:80]!r}", case=Case.UNAVAILABLE
    )


def _stream_kind(error: str) -> RetryOn:
    if "overloaded" in error:
        return RetryOn.OVERLOADED
    if "rate_limit" in error:
        return RetryOn.RATE_LIMITED
    return RetryOn.SERVER_ERROR


def _is_delimited(headers: Headers) -> bool:
    """Whether the end of the body can be told from a lost connection (RFC 9112 section 6.3)."""
    return any(name.lower() in ("transfer-encoding", "content-length") for name, _ in headers)
