"""One request's whole life: identify, route, admit, dispatch, settle, record.

Each step is a decision that is made elsewhere, without I/O, or a carrying out of one. Every request ends in
`record`, whatever happened, with the rules it took from given back exactly once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from tidegate_policy.model import Dialect, Mode
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.policies.base import Call, Settlement
from tidegate_sidecar.providers.base import DialectAdapter, Operation
from tidegate_sidecar.providers.registry import ADAPTERS
from tidegate_sidecar.proxy import identify
from tidegate_sidecar.proxy.attempt import Attempts, Sending
from tidegate_sidecar.proxy.body import BodyError, read_all
from tidegate_sidecar.proxy.dispatch import Dispatch
from tidegate_sidecar.proxy.downstream import AiohttpResponse, AppGoneError, AppResponse
from tidegate_sidecar.proxy.drain import InFlight
from tidegate_sidecar.proxy.respond import respond
from tidegate_sidecar.proxy.upstream import ProviderLeg
from tidegate_sidecar.routing.refusal import (
    FAULTS,
    Refusal,
    config_pending,
    internal_error,
    rate_limited,
    suspended,
    too_many_calls,
)
from tidegate_sidecar.routing.router import Route, is_allowed, not_allowed
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.metrics import OTHER, Metrics
from tidegate_sidecar.telemetry.records import CallRecord, Decision, Ending, RecordSink

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every exchange uses."""

    live: Live
    leg: ProviderLeg
    keyring: Keyring
    metrics: Metrics
    records: RecordSink
    in_flight: InFlight
    settings: Settings
    clock: Clock
    random: Callable[[], float]
    """Uniform in [0, 1): weights and jitter."""


@dataclass(slots=True)
class _Life:
    """One request while it lives."""

    request: web.BaseRequest
    headers: Mapping[str, str]
    adapter: DialectAdapter
    app: AppResponse
    record: CallRecord
    started_ns: int
    call: Call | None = None
    """Set once the rules have admitted it: there is something to settle."""
    settlement: Settlement = field(default=Settlement.NOT_SENT)


class Exchange:
    """Handles the application's requests."""

    def __init__(self, services: Services) -> None:
        """Use `services` for every request."""
        self._services = services

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what aiohttp calls."""
        services = self._services
        pipeline = services.live.pipeline  # one configuration for this request's whole life
        headers = {name.lower(): value for name, value in request.headers.items()}
        response = AiohttpResponse(request)
        life = _Life(
            request=request,
            headers=headers,
            adapter=ADAPTERS[identify.dialect_of(request.path, headers)],
            app=response,
            record=CallRecord(
                request_id=f"tg-{secrets.token_hex(8)}", started_wall_ns=services.clock.wall_ns()
            ),
            started_ns=services.clock.monotonic_ns(),
        )
        with services.in_flight:
            services.metrics.in_flight.inc()
            try:
                refusal = await self._serve(life, pipeline)
                if refusal is not None:
                    await self._refuse(life, refusal)
            except (AppGoneError, asyncio.CancelledError) as gone:
                life.record.ending = Ending.CLIENT_GONE
                if isinstance(gone, asyncio.CancelledError):
                    raise
            except Exception:
                # A fault of ours must not look like one of the provider; the record says so, the log says where.
                _log.exception("the exchange %s failed", life.record.request_id)
                life.record.ending = Ending.INTERNAL
                await self._fail(life)
            finally:
                self._finish(life, pipeline)
        return response.finished()

    async def _serve(self, life: _Life, pipeline: Pipeline | None) -> Refusal | None:
        """The steps; a refusal when one of them says no, None when the application has its answer."""
        services = self._services
        if pipeline is None:
            return config_pending(services.live.problem)
        life.record.config = pipeline.digest[:12]
        life.record.namespace, life.record.workload = (
            pipeline.identity.namespace,
            pipeline.identity.workload_name,
        )
        if services.in_flight.count > services.settings.max_calls_in_flight:
            return too_many_calls(services.settings.max_calls_in_flight)
        endpoint = identify.endpoint_of(life.request.method, life.request.path)
        if isinstance(endpoint, Refusal):
            return endpoint
        life.adapter = ADAPTERS[endpoint.dialect]
        life.record.dialect, life.record.operation = endpoint.dialect, endpoint.operation
        if pipeline.denial is not None:
            return pipeline.denial
        try:
            body = await read_all(life.request, services.settings)
        except BodyError as error:
            return error.refusal
        asked = identify.read_body(body)
        if isinstance(asked, Refusal):
            return asked
        life.record.requested_model, life.record.stream = asked.model, asked.stream
        route = self._decide(life, pipeline, endpoint.dialect, asked)
        if isinstance(route, Refusal):
            return route
        return await self._dispatch(life, pipeline, route, endpoint.operation, asked, body)

    def _decide(
        self, life: _Life, pipeline: Pipeline, dialect: Dialect, asked: identify.Asked
    ) -> Route | Refusal:
        """Everything that may refuse a call before a provider is chosen; what reserves comes last."""
        record = life.record
        consumer, missing = identify.consumer_of(pipeline.config.consumer, life.headers)
        record.consumer = consumer
        if missing is not None and self._is_final(life, missing, pipeline.config.consumer):
            return missing
        route = pipeline.router.resolve(dialect, asked.model)
        if isinstance(route, Refusal):
            return route
        pool = pipeline.pools[route.pool]
        record.model, record.pool = route.model, pool.label
        record.model_label = route.model if route.is_listed else OTHER
        for allowed in pipeline.config.allow_models:
            if not is_allowed(route.model, allowed):
                refusal = not_allowed(route.model, allowed, pipeline.router.names(dialect))
                if self._is_final(life, refusal, allowed):
                    return refusal
        if pool.pool.suspended:
            return suspended(pool.pool.source)
        life.call = Call(model=route.model, consumer=consumer, headers=life.headers)
        admitted = pipeline.call_rules.admit(life.call, self._services.clock.monotonic_ns())
        for limit in admitted.would_reject:
            _note_shadow(record, rate_limited(limit))
        if admitted.rejected is not None:
            life.call = None
            return rate_limited(admitted.rejected)
        return route

    def _is_final(self, life: _Life, refusal: Refusal, rule: HasMode | None) -> bool:
        """Whether a refusal counts; one of a rule in Shadow is only written down."""
        if rule is None or rule.mode is Mode.ENFORCE:
            return True
        _note_shadow(life.record, refusal)
        return False

    async def _dispatch(
        self,
        life: _Life,
        pipeline: Pipeline,
        route: Route,
        operation: Operation,
        asked: identify.Asked,
        body: bytes,
    ) -> Refusal | None:
        """Send an admitted call on its way."""
        services = self._services
        assert life.call is not None, "a call is admitted before it is sent"  # noqa: S101
        pool = pipeline.pools[route.pool]
        deadline_ns = life.started_ns + pool.pool.timeouts.request_ms * 1_000_000
        consumer = pipeline.config.consumer
        sending = Sending(
            asked=asked,
            body=body,
            operation=operation,
            query=life.request.rel_url.raw_query_string,
            headers=tuple(life.request.headers.items()),
            consumer_header=consumer.header if consumer is not None else "",
            request_id=life.record.request_id,
            timeouts=pool.pool.timeouts,
            deadline_ns=deadline_ns,
        )
        life.settlement = Settlement.SENT
        return await Dispatch(
            attempts=Attempts(
                leg=services.leg,
                app=life.app,
                clock=services.clock,
                max_response_bytes=services.settings.max_response_bytes,
                sending=sending,
            ),
            pool=pool,
            route=route,
            rules=pipeline.attempt_rules,
            keyring=services.keyring,
            call=life.call,
            record=life.record,
            app=life.app,
            clock=services.clock,
            random=services.random,
            started_ns=life.started_ns,
            deadline_ns=deadline_ns,
        ).run()

    async def _refuse(self, life: _Life, refusal: Refusal) -> None:
        """Say no, in the caller's dialect."""
        record = life.record
        record.ending = Ending.FAILED if refusal.case in FAULTS else Ending.REFUSED
        record.status, record.code = refusal.case.status, refusal.case.code
        record.object = str(refusal.source) if refusal.source is not None else ""
        record.rule, record.reason = refusal.rule, refusal.message
        answer = respond(refusal, life.adapter, record.request_id)
        headers = (*answer.headers, ("x-tidegate-request-id", record.request_id))
        await life.app.whole(answer.status, headers, answer.body)

    async def _fail(self, life: _Life) -> None:
        """A fault of ours: the application gets an answer if it has seen nothing of one yet."""
        if life.app.started:
            return
        await self._refuse(life, internal_error(life.record.request_id))
        life.record.ending = Ending.INTERNAL

    def _finish(self, life: _Life, pipeline: Pipeline | None) -> None:
        """Give back what was taken, and write down what happened. Never awaits, never raises."""
        services = self._services
        now_ns = services.clock.monotonic_ns()
        if life.call is not None and pipeline is not None:
            pipeline.call_rules.settle(life.call, life.settlement, now_ns)
        life.record.duration_ms = (now_ns - life.started_ns) // 1_000_000
        services.metrics.in_flight.dec()
        services.metrics.record(life.record)
        services.records(life.record)


class HasMode(Protocol):
    """A rule that may be only a shadow."""

    @property
    def mode(self) -> Mode:
        """Enforce or Shadow."""
        ...


def _note_shadow(record: CallRecord, refusal: Refusal) -> None:
    record.would_refuse.append(Decision(str(refusal.source or ""), refusal.rule, refusal.case.code))
