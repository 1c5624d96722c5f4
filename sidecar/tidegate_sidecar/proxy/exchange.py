"""One request's whole life: identify, route, admit, dispatch, settle, record.

Each step is a decision that is made elsewhere, without I/O, or a carrying out of one. Every request ends in
`record`, whatever happened, with the rules it took from given back exactly once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.config.pipeline import Pipeline, PoolState
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.policies.base import Settlement
from tidegate_sidecar.providers.base import DialectAdapter
from tidegate_sidecar.providers.registry import ADAPTERS
from tidegate_sidecar.proxy import identify
from tidegate_sidecar.proxy.admission import Admitted, admit
from tidegate_sidecar.proxy.attempt import Attempts, Sending
from tidegate_sidecar.proxy.body import BodyError, read_all
from tidegate_sidecar.proxy.dispatch import Dispatch
from tidegate_sidecar.proxy.downstream import AiohttpResponse, AppGoneError, AppResponse
from tidegate_sidecar.proxy.drain import InFlight
from tidegate_sidecar.proxy.holding import Held, Hold
from tidegate_sidecar.proxy.identify import Asked, Endpoint
from tidegate_sidecar.proxy.pass_through import OTHER_OPERATION, Passing, PassThrough
from tidegate_sidecar.proxy.respond import respond
from tidegate_sidecar.proxy.upstream import ProviderLeg
from tidegate_sidecar.routing.refusal import FAULTS, Refusal, config_pending, internal_error, too_many_calls
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.metrics import OTHER, Metrics
from tidegate_sidecar.telemetry.records import CallRecord, Ending, RecordSink

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
    held: Held
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
    hold: Hold
    admitted: Admitted | None = None
    """Set once the rules have admitted it: there is something to settle."""


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
        response = AiohttpResponse(
            request, stall_ms=services.settings.app_stall_ms, is_last=services.in_flight.draining
        )
        life = _Life(
            request=request,
            headers=headers,
            adapter=ADAPTERS[identify.dialect_of(request.path, headers)],
            app=response,
            record=CallRecord(
                request_id=f"tg-{secrets.token_hex(8)}", started_wall_ns=services.clock.wall_ns()
            ),
            started_ns=services.clock.monotonic_ns(),
            hold=Hold(services.held),
        )
        with services.in_flight:
            services.metrics.in_flight.inc()
            try:
                refusal = await self._serve(life, pipeline)
                if refusal is not None:
                    await self._refuse(life, refusal)
            except AppGoneError as gone:
                life.record.ending, life.record.reason = Ending.CLIENT_GONE, str(gone)
            except asyncio.CancelledError:
                self._note_cancelled(life.record)
                raise
            except Exception:  # noqa: BLE001 - nothing may end a call without an answer and a record
                # A fault of ours must not look like one of the provider; the record says so, the log says where.
                _log.exception("the exchange %s failed", life.record.request_id)
                await self._fail(life)
            finally:
                self._finish(life, pipeline)
        return response.finished()

    async def _serve(self, life: _Life, pipeline: Pipeline | None) -> Refusal | None:
        """The steps; a refusal when one of them says no, None when the application has its answer."""
        if pipeline is None:
            live = self._services.live
            return config_pending(live.problem, is_refused=live.is_refused)
        if pipeline.pass_through is not None:
            return await self._let_through(life, pipeline, pipeline.pass_through)
        return await self._enforce(life, pipeline)

    async def _enforce(self, life: _Life, pipeline: Pipeline) -> Refusal | None:
        """The steps of a call under policies."""
        endpoint = self._enter(life, pipeline)
        if isinstance(endpoint, Refusal):
            return endpoint
        try:
            body = await read_all(life.request, self._services.settings, life.hold)
        except BodyError as error:
            return error.refusal
        asked = identify.read_body(body)
        if isinstance(asked, Refusal):
            return asked
        life.record.requested_model, life.record.stream = asked.model, asked.stream
        admitted = admit(
            pipeline,
            life.record,
            dialect=endpoint.dialect,
            model=asked.model,
            headers=life.headers,
            now_ns=self._services.clock.monotonic_ns(),
        )
        if isinstance(admitted, Refusal):
            return admitted
        life.admitted = admitted
        dispatch = self._dispatch(life, pipeline, admitted, endpoint=endpoint, asked=asked, body=body)
        return await dispatch.run()

    async def _let_through(self, life: _Life, pipeline: Pipeline, pool: PoolState) -> Refusal | None:
        """The steps of a call to which no policy applies and which the platform lets go out as it is."""
        services, record, request = self._services, life.record, life.request
        record.policy, record.pass_through, record.pool, record.model_label = "none", True, pool.label, OTHER
        if (busy := self._begin(life, pipeline)) is not None:
            return busy
        place = identify.place_of(request.method, request.rel_url.raw_path, life.headers)
        if isinstance(place, Refusal):
            return place
        life.adapter = ADAPTERS[place.dialect]
        endpoint = identify.endpoint_of(request.method, request.path)
        record.dialect = place.dialect
        record.operation = OTHER_OPERATION if isinstance(endpoint, Refusal) else endpoint.operation
        try:
            body = await read_all(request, services.settings, life.hold)
        except BodyError as error:
            return error.refusal
        passing = Passing(
            method=request.method,
            query=request.rel_url.raw_query_string,
            headers=tuple(request.headers.items()),
            body=body,
        )
        return await PassThrough(
            leg=services.leg,
            app=life.app,
            clock=services.clock,
            record=record,
            pool=pool,
            max_response_bytes=services.settings.max_response_bytes,
            hold=life.hold,
            started_ns=life.started_ns,
        ).run(place, passing)

    def _begin(self, life: _Life, pipeline: Pipeline) -> Refusal | None:
        """Write down who asks; a refusal when too many calls are in flight."""
        services, record = self._services, life.record
        record.config = pipeline.digest[:12]
        record.namespace, record.workload = pipeline.identity.namespace, pipeline.identity.workload_name
        most = services.settings.max_calls_in_flight
        return too_many_calls(most) if services.in_flight.count > most else None

    def _enter(self, life: _Life, pipeline: Pipeline) -> Endpoint | Refusal:
        """What can be said before the body is read."""
        record = life.record
        if (busy := self._begin(life, pipeline)) is not None:
            return busy
        endpoint = identify.endpoint_of(life.request.method, life.request.path)
        if isinstance(endpoint, Refusal):
            return endpoint
        life.adapter = ADAPTERS[endpoint.dialect]
        record.dialect, record.operation = endpoint.dialect, endpoint.operation
        return endpoint if pipeline.denial is None else pipeline.denial

    def _dispatch(
        self,
        life: _Life,
        pipeline: Pipeline,
        admitted: Admitted,
        *,
        endpoint: Endpoint,
        asked: Asked,
        body: bytes,
    ) -> Dispatch:
        """An admitted call, ready to be sent on its way."""
        services = self._services
        pool = pipeline.pools[admitted.route.pool]
        deadline_ns = life.started_ns + pool.pool.timeouts.request_ms * 1_000_000
        consumer = pipeline.config.consumer
        sending = Sending(
            asked=asked,
            body=body,
            operation=endpoint.operation,
            query=life.request.rel_url.raw_query_string,
            headers=tuple(life.request.headers.items()),
            consumer_header=consumer.header if consumer is not None else "",
            request_id=life.record.request_id,
            timeouts=pool.pool.timeouts,
            deadline_ns=deadline_ns,
        )
        return Dispatch(
            attempts=Attempts(
                leg=services.leg,
                app=life.app,
                clock=services.clock,
                max_response_bytes=services.settings.max_response_bytes,
                hold=life.hold,
                sending=sending,
            ),
            pool=pool,
            route=admitted.route,
            rules=pipeline.attempt_rules,
            keyring=services.keyring,
            call=admitted.call,
            record=life.record,
            app=life.app,
            clock=services.clock,
            random=services.random,
            started_ns=life.started_ns,
            deadline_ns=deadline_ns,
        )

    async def _refuse(self, life: _Life, refusal: Refusal) -> None:
        """Say no, in the caller's dialect."""
        record = life.record
        record.ending = Ending.FAILED if refusal.case in FAULTS else Ending.REFUSED
        record.status, record.code = refusal.case.status, refusal.case.code
        record.object = str(refusal.source) if refusal.source is not None else ""
        record.rule, record.reason = refusal.rule, refusal.message
        answer = respond(refusal, life.adapter, record.request_id)
        headers = [*answer.headers, ("x-tidegate-request-id", record.request_id)]
        if record.attempts:
            headers.append(("x-tidegate-attempts", str(len(record.attempts))))
        await life.app.whole(answer.status, tuple(headers), answer.body)

    async def _fail(self, life: _Life) -> None:
        """A fault of ours: the application gets an answer if it has seen nothing of one yet."""
        if not life.app.started:
            try:
                await self._refuse(life, internal_error(life.record.request_id))
            except AppGoneError:
                life.record.status = 0
        life.record.ending = Ending.INTERNAL

    def _note_cancelled(self, record: CallRecord) -> None:
        if self._services.in_flight.cutting:
            record.ending = Ending.FAILED
            record.reason = "the sidecar stopped before the call was over"
        else:
            record.ending = Ending.CLIENT_GONE
            record.reason = "the application closed its connection"

    def _finish(self, life: _Life, pipeline: Pipeline | None) -> None:
        """Give back what was taken, and write down what happened. Never awaits, never raises."""
        services, record = self._services, life.record
        life.hold.release()
        now_ns = services.clock.monotonic_ns()
        if life.admitted is not None and pipeline is not None:
            sent = Settlement.SENT if record.attempts else Settlement.NOT_SENT
            pipeline.call_rules.settle(life.admitted.call, sent, now_ns)
        record.duration_ms = (now_ns - life.started_ns) // 1_000_000
        services.metrics.in_flight.dec()
        services.metrics.record(record)
        services.records(record)
