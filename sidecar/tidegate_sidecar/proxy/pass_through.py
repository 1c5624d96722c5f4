"""A call to which no policy applies, where the platform lets such calls go out as they are.

Path, query, body and the application's own key go to the provider that speaks the call's dialect; the answer comes back
as the provider gave it, whatever it is. It is the same relay, without rules, breaker and second attempt; the bounds of a
call, its record and its counting are those of any other. What can be read in passing (model, usage) is written down, and
decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tidegate_sidecar.config.pipeline import Pipeline, PoolState
from tidegate_sidecar.config.targets import ProviderState
from tidegate_sidecar.dialects.asking import model_and_stream
from tidegate_sidecar.dialects.base import NO_USAGE, Asked, Dialect, Operation, Problem, RawHeaders, Usage
from tidegate_sidecar.policies.base import UsageClass
from tidegate_sidecar.proxy.answer import Answer, Whole
from tidegate_sidecar.proxy.attempt import Begun
from tidegate_sidecar.proxy.call import Call
from tidegate_sidecar.proxy.failure import Failure, of_connection
from tidegate_sidecar.proxy.headers import HeaderNames, own_keys, without_placeholder
from tidegate_sidecar.proxy.passage import Passage
from tidegate_sidecar.proxy.receive import read_body, read_document, read_message
from tidegate_sidecar.proxy.refusals import case_of
from tidegate_sidecar.routing.refusal import (
    Refusal,
    method_not_let_through,
    no_key_of_its_own,
    nothing_let_through,
)
from tidegate_sidecar.telemetry.records import OTHER, AttemptRecord, Ending, UsageState
from tidegate_sidecar.upstream.faults import ConnectError, is_stale

if TYPE_CHECKING:
    from tidegate_sidecar.proxy.exchange import Services

OTHER_OPERATION: Final = "Other"
"""In records and metrics: what is asked for is none of the operations that rules know."""

METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_MS_NS: Final = 1_000_000


class PassThrough:
    """Lets one call through. `run` is called once."""

    __slots__ = (
        "_call",
        "_names",
        "_pipeline",
        "_pool",
        "_services",
        "called_ns",
        "hold",
        "max_answer_bytes",
        "now_ns",
        "operation",
        "ping",
        "ticker",
        "timeouts",
        "wants_stream",
    )

    def __init__(
        self, services: Services, call: Call, pipeline: Pipeline, pool: PoolState, names: HeaderNames
    ) -> None:
        """Send `call` to the provider of `pool` that speaks its dialect; `names` are the headers of answers that go on."""
        self._services = services
        self._call = call
        self._pipeline = pipeline
        self._pool = pool
        self._names = names
        # What the attempt is made under, see `Asker`.
        self.operation: Operation | None = None
        self.wants_stream = False
        self.timeouts = pool.pool.timeouts
        self.called_ns = call.started_ns
        self.max_answer_bytes = services.settings.max_response_bytes
        self.hold = call.hold
        self.ticker = services.ticker
        self.now_ns = services.clock.monotonic_ns
        self.ping = b""

    async def run(self) -> Refusal | None:
        """Send it and deliver the answer; a refusal where there is none."""
        call, record = self._call, self._call.record
        request = call.request
        record.policy, record.pass_through = "none", True
        record.pool, record.model_label = self._pool.label, OTHER
        if request.method not in METHODS:
            return method_not_let_through(request.method, METHODS)
        dialects = self._pipeline.dialects
        mounted = dialects.mount(request.path, request.headers)
        if mounted is None:
            return nothing_let_through(request.path, dialects.mounts())
        call.dialect, rest = mounted
        record.dialect = call.dialect.name
        served = dialects.endpoint(request.path) if request.method == "POST" else None
        endpoint = None if served is None else served[1]
        if endpoint is None:
            record.operation = OTHER_OPERATION
        else:
            record.operation = self.operation = endpoint.operation
        state = self._provider(call.dialect)
        if state is None:
            return nothing_let_through(request.path, dialects.mounts())
        headers = without_placeholder(request.headers, state.dialect)
        if headers is None and state.provider.caller_credential:
            return no_key_of_its_own(self._pool.pool.source)
        body = await read_body(request, self._services.settings, call.hold, is_kept_encoded=True)
        if isinstance(body, Refusal):
            return body
        await self._note_asked(body, model_and_stream if endpoint is None else endpoint.asked)
        return await self._pass(state, rest, headers or request.headers, body)

    def _provider(self, dialect: Dialect) -> ProviderState | None:
        return next((it for it in self._pool.providers if it.dialect is dialect), None)

    async def _note_asked(self, body: bytes, read: Callable[[Mapping[str, object]], Asked | Problem]) -> None:
        """What the body asks for, where it is one that can be read."""
        message = await read_message(body)
        if isinstance(message, Problem):
            return
        asked = read(message.document)
        if not isinstance(asked, Problem):
            record = self._call.record
            record.requested_model = record.model = asked.model
            record.stream = self._call.wants_stream = self.wants_stream = asked.stream

    async def _pass(
        self, state: ProviderState, rest: str, headers: RawHeaders, body: bytes
    ) -> Refusal | None:
        """One attempt, and its answer."""
        call, record, services = self._call, self._call.record, self._services
        attempt_record = AttemptRecord()
        attempt_record.provider = record.provider = state.provider.name
        record.attempts = (attempt_record,)
        began_ns = services.clock.monotonic_ns()
        passage = Passage(
            self,
            state.dialect,
            tuple(own_keys(headers, state.dialect)),
            asyncio.get_running_loop().create_future(),
            lambda _: None,
        )
        call.delivery.on_gone = passage.drop
        try:
            begun = await self._send(passage, state, self._head(state, rest, headers, body), body)
            if isinstance(begun, Failure):
                attempt_record.result, attempt_record.reason = begun.kind.value, begun.reason
                attempt_record.sent = begun.is_sent
                return self._no_answer(begun, attempt_record)
            assert isinstance(begun, Whole | Answer), "no rule looks at it"  # noqa: S101 - a programming error
            attempt_record.result = "ok"
            await self._deliver(begun, passage, state)
            if passage.failure is not None:
                attempt_record.result = passage.failure.kind.value
                attempt_record.reason = passage.failure.reason
        finally:
            passage.drop()
            record.status = call.delivery.status
            self._note_usage(passage)
            attempt_record.status = passage.status
            attempt_record.duration_ms = (services.clock.monotonic_ns() - began_ns) // _MS_NS
        return None

    def _head(self, state: ProviderState, rest: str, headers: RawHeaders, body: bytes) -> bytes:
        request = self._call.request
        lines = state.request_names.lines(headers)
        encoding = [
            b"content-encoding: %b\r\n" % value
            for name, value in headers
            if name.lower() == b"content-encoding"
        ]
        length = (
            b"content-length: %d\r\n" % len(body) if body or request.method not in ("GET", "HEAD") else b""
        )
        return b"".join(
            (state.head_of(request.method, rest, request.query), *lines, *encoding, length, b"\r\n")
        )

    async def _send(self, passage: Passage, state: ProviderState, head: bytes, body: bytes) -> Begun:
        services = self._services
        origin = state.origin(services.origins)
        connection = origin.take(services.clock.monotonic_ns())
        while True:
            is_new = connection is None
            if connection is None:
                try:
                    connection = await origin.connect(self._pool.pool.timeouts.connect_ms)
                except ConnectError as error:
                    return of_connection(error.fault, 0)
            passage.ask(
                connection, head, body, services.clock.monotonic_ns(), method=self._call.request.method
            )
            begun = await passage.begun
            if is_new or type(begun) is not Failure or begun.fault is None or not is_stale(begun.fault):
                return begun
            services.metrics.stale_connections.inc()
            passage.ask_again(asyncio.get_running_loop().create_future())
            connection = None

    async def _deliver(self, begun: Whole | Answer, passage: Passage, state: ProviderState) -> None:
        record = self._call.record
        if isinstance(begun, Whole):
            passage.usage_of_whole = await _usage(begun, state.dialect)
            begun = Answer(begun.status, begun.headers, begun.body)
        own = b"x-tidegate-request-id: %b\r\nx-tidegate-provider: %b\r\n" % (
            record.request_id.encode("ascii"),
            state.provider.name.encode("utf-8"),
        )
        await self._call.delivery.deliver(begun, self._names, own)
        if passage.failure is not None:
            # Without its end the response is cut: the application sees that it is not whole.
            record.ending, record.reason = Ending.FAILED, passage.failure.reason
            record.code = case_of(passage.failure).code
        elif begun.status < HTTPStatus.BAD_REQUEST:
            record.ending = Ending.SERVED
        else:
            record.ending = Ending.PROVIDER_ERROR

    def _note_usage(self, passage: Passage) -> None:
        record, usage = self._call.record, passage.usage
        record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        record.cached_input_tokens, record.cache_write_tokens = (
            usage.cached_input_tokens,
            usage.cache_write_tokens,
        )
        record.reasoning_tokens = usage.reasoning_tokens
        if usage != NO_USAGE:
            record.usage = UsageState.REPORTED
        elif passage.usage_class is UsageClass.UNREPORTED and passage.status and record.model:
            record.usage = UsageState.UNREPORTED
        if passage.first_event_ns is not None:
            record.stream = True
            record.first_token_ms = (passage.first_event_ns - self._call.started_ns) // _MS_NS

    def _no_answer(self, failure: Failure, attempt: AttemptRecord) -> Refusal:
        pool, model = self._pool.pool.source, self._call.record.model or self._call.request.path
        return Refusal(
            case=case_of(failure),
            message=f"No provider of {pool} answered for {model!r} (1 attempt; {attempt.provider}: {failure.reason}).",
            source=pool,
            retry_after_ms=1_000,
            details={"attempts": 1},
        )

    def cut_event(self, failure: Failure) -> bytes:  # noqa: ARG002 - an answer that is let through is cut, and nothing else
        return b""

    def is_last(self) -> bool:
        return False


async def _usage(whole: Whole, dialect: Dialect) -> Usage:
    if whole.status >= HTTPStatus.BAD_REQUEST or whole.is_encoded or whole.body[:1] != b"{":
        return NO_USAGE
    document = await read_document(whole.body)
    return dialect.usage(document) if isinstance(document, Mapping) else NO_USAGE
