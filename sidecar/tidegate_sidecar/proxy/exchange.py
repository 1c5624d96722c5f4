"""One call's whole life, on one screen: what is asked of it, what is taken, who is asked, what is delivered, what is written down.

Each phase is a decision that is made elsewhere, without I/O, or a carrying out of one. Every request ends in a record,
whatever happened, also one that is no HTTP, with everything that it took given back exactly once.

    receive ─ identify ─ access ─ resolve ─ gate ─ filters(request) ─ attempts ─ filters(answer) ─ deliver ─ settle ─ record
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.dialects.base import Dialect, Operation, Problem
from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.hosts import HostRules
from tidegate_sidecar.downstream.in_flight import InFlight
from tidegate_sidecar.downstream.request import AppRequest, HeadFault, Written
from tidegate_sidecar.messages.message import AT_ONCE_BYTES, Message, read
from tidegate_sidecar.policies.base import (
    NOT_SENT,
    Admitted,
    Needs,
    Outcome,
    Rejected,
    Sent,
    Wait,
    settle_all,
)
from tidegate_sidecar.proxy.admission import Acquisitions, admit
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.attempts import Attempts
from tidegate_sidecar.proxy.call import Call
from tidegate_sidecar.proxy.decisions import note_refusal, note_shadows
from tidegate_sidecar.proxy.delivery import Delivery
from tidegate_sidecar.proxy.head_faults import dialect_of_head
from tidegate_sidecar.proxy.headers import answer_names
from tidegate_sidecar.proxy.holding import MemoryBudget, Reservation
from tidegate_sidecar.proxy.model_lists import models_answer
from tidegate_sidecar.proxy.pass_through import PassThrough
from tidegate_sidecar.proxy.receive import body_at_hand, read_body, read_message, refused
from tidegate_sidecar.proxy.request_filters import filtered
from tidegate_sidecar.proxy.respond import respond
from tidegate_sidecar.proxy.ticker import Ticker
from tidegate_sidecar.routing.refusal import (
    Refusal,
    config_pending,
    head_fault,
    host_refused,
    internal_error,
    not_served,
    rate_limited,
    too_many_calls,
)
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.telemetry.records import CallRecord, Ending, RecordSink
from tidegate_sidecar.upstream.origins import Origins

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every call uses."""

    live: Live
    origins: Origins
    keyring: Keyring
    metrics: Metrics
    records: RecordSink
    in_flight: InFlight
    held: MemoryBudget
    hosts: HostRules
    ticker: Ticker
    settings: Settings
    clock: Clock
    random: Callable[[], float]
    """Uniform in [0, 1): weights and jitter."""
    request_ids: Callable[[], str]
    """A new name for each call."""


class Exchange:
    """Handles the application's requests."""

    def __init__(self, services: Services) -> None:
        """Use `services` for every request."""
        self._services = services
        self._acquisitions = Acquisitions()
        self._answer_names = answer_names()

    async def handle(self, request: AppRequest) -> Written:
        """Answer one request; what the server calls."""
        services = self._services
        pipeline = services.live.pipeline  # one configuration for this call's whole life
        call = self._begin(request)
        services.in_flight.begin(call)
        try:
            refusal = self._reach(call, pipeline)
            if refusal is None and pipeline is not None:
                if pipeline.pass_through is None:
                    refusal = await self._enforce(call, pipeline)
                else:
                    refusal = await PassThrough(
                        services, call, pipeline, pipeline.pass_through, self._answer_names
                    ).run()
            if refusal is not None:
                await self._refuse(call, refusal)
        except asyncio.CancelledError:
            self._note_cancelled(call)
            raise
        except Exception:  # noqa: BLE001 - nothing may end a call without an answer and a record
            # A fault of ours must not look like one of the provider; the record says so, the log says where.
            _log.exception("the exchange %s failed", call.record.request_id)
            await self._fail(call)
        finally:
            self._finish(call)
        return Written(keep_alive=call.delivery.is_over and call.delivery.keeps_alive)

    def _reach(self, call: Call, pipeline: Pipeline | None) -> Refusal | None:
        """What holds for every call: it comes from a program of this machine, and there is a configuration and room."""
        services, record = self._services, call.record
        if (problem := services.hosts.check(call.request)) is not None:
            services.metrics.head_faults.labels("host").inc()
            return host_refused(problem.status, problem.message)
        if pipeline is None:
            return config_pending(services.live.problem, is_refused=services.live.is_refused)
        record.config, record.namespace, record.workload = pipeline.told
        if services.in_flight.count > services.settings.max_calls_in_flight:
            return too_many_calls(services.settings.max_calls_in_flight)
        return None

    async def _enforce(  # noqa: C901, PLR0911, PLR0912 - every phase in its order, and where each may say no
        self, call: Call, pipeline: Pipeline
    ) -> Refusal | None:
        """The phases of a call under policies."""
        if call.request.method == "GET" and (
            asked := pipeline.dialects.models(call.request.path, call.request.headers)
        ):
            return await self._tell_models(call, pipeline, *asked)
        refusal = self._enter(call, pipeline)
        if refusal is not None:
            return refusal
        body = body_at_hand(call.request, self._services.settings, call.hold)
        if body is None:
            body = await read_body(call.request, self._services.settings, call.hold)
        if isinstance(body, Refusal):
            return body
        message = read(body) if len(body) <= AT_ONCE_BYTES else await read_message(body)
        refusal = self._understand(call, message)
        if refusal is not None:
            return refusal
        for decide in pipeline.decisions:  # identify, access, resolve
            refusal = decide(call)
            if refusal is not None:
                return refusal
        rules = pipeline.call_rules
        if rules.policies:  # gate
            admitted = rules.admit(call.facts, self._services.clock.monotonic_ns())
            if type(admitted) is not Admitted:
                admitted = await self._obtain(call, pipeline, admitted)
            if isinstance(admitted, Rejected):
                return rate_limited(admitted)
            call.grants = admitted.grants
            if admitted.would_reject:
                note_shadows(call.record, admitted.would_reject)
        answer: Answer | Refusal | None = None
        if pipeline.request_filters:  # filters(request)
            answer = await filtered(
                pipeline.request_filters,
                call,
                ticker=self._services.ticker,
                request_ms=pipeline.pools[call.route.pool].pool.timeouts.request_ms,
            )
        attempts = Attempts(self._services, self._acquisitions, call, pipeline)
        if answer is None:
            answer = await attempts.answer()
        if isinstance(answer, Refusal):
            return answer
        await attempts.deliver(answer, self._answer_names)
        return None

    async def _tell_models(
        self, call: Call, pipeline: Pipeline, dialect: Dialect, name: str
    ) -> Refusal | None:
        """Which models there are; nobody is asked, and no limit counts it."""
        record = call.record
        record.dialect, record.operation = dialect.name, Operation.MODELS
        for decide in pipeline.decisions_before_the_body:
            if (refusal := decide(call)) is not None:
                return refusal
        answer = models_answer(dialect, name, pipeline.router)
        if isinstance(answer, Refusal):
            return answer
        await call.delivery.deliver(answer, self._answer_names, _request_id_line(record))
        record.ending, record.status = Ending.SERVED, answer.status
        return None

    def _enter(self, call: Call, pipeline: Pipeline) -> Refusal | None:
        """The endpoint, and what can be said before the body is read."""
        request, record = call.request, call.record
        endpoint = pipeline.dialects.endpoint(request.path) if request.method == "POST" else None
        if endpoint is None:
            return not_served(request.method, request.path, pipeline.dialects.served_paths())
        call.dialect, call.endpoint = endpoint
        record.dialect, record.operation = call.dialect.name, call.endpoint.operation
        for decide in pipeline.decisions_before_the_body:
            if (refusal := decide(call)) is not None:
                return refusal
        return None

    def _understand(self, call: Call, message: Message | Problem) -> Refusal | None:
        """What the body asks for."""
        asked = message if isinstance(message, Problem) else call.endpoint.asked(message.document)
        if isinstance(asked, Problem):
            return refused(asked)
        assert isinstance(message, Message)  # noqa: S101 - or there was a problem
        call.message = message
        call.model, call.wants_stream, call.state = asked
        call.record.requested_model, call.record.stream = asked.model, asked.stream
        call.record.consumer = call.consumer  # nobody's, until a rule names one
        return None

    async def _obtain(
        self, call: Call, pipeline: Pipeline, verdict: Admitted | Rejected | Needs | Wait
    ) -> Admitted | Rejected:
        """What rules say in the end that need something first: rights, or a turn in a queue."""
        if isinstance(verdict, Admitted | Rejected):
            return verdict
        request_ms = pipeline.pools[call.route.pool].pool.timeouts.request_ms
        return await admit(
            pipeline.call_rules,
            call.facts,
            self._services.clock.monotonic_ns,
            self._acquisitions,
            due_ns=call.started_ns + request_ms * 1_000_000,
        )

    def refuse_head(self, fault: HeadFault, _: AppConnection) -> bytes:
        """A request that is no HTTP, or never whole: its record, and the bytes of an answer that ends its connection."""
        services = self._services
        dialect = dialect_of_head(fault.seen, services.live.registry.dialects)
        record = CallRecord()
        record.request_id, record.started_wall_ns = services.request_ids(), services.clock.wall_ns()
        record.dialect = dialect.name
        refusal = head_fault(fault.status, fault.message)
        note_refusal(record, refusal)
        if fault.is_gone:
            record.ending, record.status = Ending.CLIENT_GONE, 0
        services.metrics.head_faults.labels("http").inc()
        services.metrics.count(record)
        services.records(record)
        answer = respond(refusal, dialect, record.request_id)
        return Delivery.last_words(answer, self._answer_names, _request_id_line(record))

    def _begin(self, request: AppRequest) -> Call:
        services = self._services
        record = CallRecord()
        record.request_id, record.started_wall_ns = services.request_ids(), services.clock.wall_ns()
        return Call(
            request,
            record,
            Delivery(request, services.ticker, services.settings.app_stall_ms),
            Reservation(services.held),
            services.clock.monotonic_ns(),
        )

    async def _refuse(self, call: Call, refusal: Refusal) -> None:
        """Say no, in the caller's dialect."""
        record = call.record
        note_refusal(record, refusal)
        if not call.request.content.is_eof():
            call.request.app.leave_body()
        own = _request_id_line(record)
        if record.attempts:
            own += b"x-tidegate-attempts: %d\r\n" % len(record.attempts)
        dialects = self._services.live.registry.dialects
        answer = respond(
            refusal, dialects.of_path(call.request.path, call.request.headers), record.request_id
        )
        await call.delivery.deliver(answer, self._answer_names, own)

    async def _fail(self, call: Call) -> None:
        """A fault of ours: the application gets an answer if it has seen nothing of one yet."""
        if not call.delivery.status:
            await self._refuse(call, internal_error(call.record.request_id))
        else:
            call.delivery.on_cut()
        call.record.ending = Ending.INTERNAL

    def _note_cancelled(self, call: Call) -> None:
        record = call.record
        if self._services.in_flight.cutting:
            record.ending, record.reason = Ending.FAILED, "the sidecar stopped before the call was over"
        else:
            record.ending = Ending.CLIENT_GONE
            record.reason = call.delivery.gone or "the application closed its connection"

    def _finish(self, call: Call) -> None:
        """Give back what was taken, and write down what happened. Never awaits, never raises."""
        services, record = self._services, call.record
        call.hold.release()
        call.delivery.close()
        services.in_flight.end(call)
        now_ns = services.clock.monotonic_ns()
        if call.grants:
            settle_all(call.grants, _outcome(call), now_ns)
        record.duration_ms = (now_ns - call.started_ns) // 1_000_000
        services.metrics.count(record)
        services.records(record)


def _request_id_line(record: CallRecord) -> bytes:
    return b"x-tidegate-request-id: %b\r\n" % record.request_id.encode("ascii")


def _outcome(call: Call) -> Outcome:
    """What became of the call as a whole."""
    for attempt in call.record.attempts:
        if attempt.sent:
            return Outcome(Sent.SENT, call.usage, call.usage_class)
    return NOT_SENT
