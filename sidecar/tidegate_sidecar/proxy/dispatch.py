"""The tries of one call: which provider, and after a failure whether and where to try again.

Every choice is made by a pure function; this module carries it out. A try that has shown the application anything
is the last one, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.pipeline import PoolState, ProviderState
from tidegate_sidecar.credentials.keyring import Key, Keyring, NoKeyError
from tidegate_sidecar.policies import retry, select
from tidegate_sidecar.policies.base import Call, PolicySet, Settlement
from tidegate_sidecar.policies.breaker import Result, State, Ticket
from tidegate_sidecar.providers.base import Usage
from tidegate_sidecar.proxy.admission import note_shadows
from tidegate_sidecar.proxy.attempt import Attempts
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.failure import FailedTry, Out, no_answer, none_left
from tidegate_sidecar.proxy.relay import Relayed
from tidegate_sidecar.routing.refusal import Refusal
from tidegate_sidecar.routing.router import Route
from tidegate_sidecar.telemetry.records import AttemptRecord, CallRecord, Ending, UsageState


@dataclass(slots=True)
class _Turn:
    """A provider that may be asked now; whoever holds it must settle its ticket and the rules of the try."""

    state: ProviderState
    upstream_name: str
    key: Key | None
    ticket: Ticket | None
    """None once it is settled."""

    def settle(self, result: Result, *, slow: bool | None, now_ns: int) -> None:
        """Tell the breaker, once."""
        if self.ticket is not None:
            self.state.breaker.settle(self.ticket, result, slow=slow, now_ns=now_ns)
            self.ticket = None


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """Makes the tries of one call. `run` is called once."""

    attempts: Attempts
    pool: PoolState
    route: Route
    rules: PolicySet
    keyring: Keyring
    call: Call
    record: CallRecord
    app: AppResponse
    clock: Clock
    random: Callable[[], float]
    started_ns: int
    deadline_ns: int
    _tried: set[int] = field(default_factory=set)
    """Asked in this round; a new round begins when all were."""
    _asked: set[int] = field(default_factory=set)
    """Asked at all: to ask one of these again takes from the retry budget."""
    _out: dict[int, Out] = field(default_factory=dict)

    async def run(self) -> Refusal | None:
        """Try until there is an answer or no reason to go on; a refusal when there is no answer to pass on."""
        self.pool.retry_budget.on_call(self.clock.monotonic_ns())
        failed: FailedTry | None = None
        while True:
            turn = self._next_turn()
            if turn is None:
                return self._none_left() if failed is None else await self._give_up(failed)
            try:
                await self._try(turn)
            except FailedTry as error:
                failed = error
            else:
                return None
            decision = self._decide(failed)
            if isinstance(decision, retry.Stop):
                return await self._give_up(failed)
            if isinstance(decision, retry.Again):
                await asyncio.sleep(decision.wait_ms / 1_000)
                self._out.clear()
                if all(at in self._tried for at, _ in self.route.candidates):
                    self._tried.clear()

    def _next_turn(self) -> _Turn | None:
        """The next provider that takes the call; those that do not are remembered with the reason."""
        states = self.pool.providers
        names = dict(self.route.candidates)
        while True:
            chosen = select.choose(
                [states[at].candidate for at in names if at not in self._tried and at not in self._out],
                self.random(),
            )
            if chosen is None:
                return None
            state = states[chosen.id]
            turn = self._take(state, names[chosen.id])
            if isinstance(turn, _Turn):
                self._tried.add(chosen.id)
                self._asked.add(chosen.id)
                return turn
            self._out[chosen.id] = turn

    def _take(self, state: ProviderState, upstream_name: str) -> _Turn | Out:
        """Ask all that has a say in whether this provider is tried, the one with side effects last."""
        now_ns = self.clock.monotonic_ns()
        try:
            key = self.keyring.find(state.provider)
        except NoKeyError as error:
            return Out(str(error))
        self.call.provider = state.provider.name
        admitted = self.rules.admit(self.call, now_ns)
        note_shadows(self.record, admitted.would_reject)
        if admitted.rejected is not None:
            limit = admitted.rejected
            return Out(f"its limit {limit.rule} is reached ({limit.limit})", limit.retry_after_ms, limit)
        ticket = state.breaker.admit(now_ns)
        if ticket is None:
            self.rules.settle(self.call, Settlement.NOT_ADMITTED, now_ns)
            wait_ms = state.breaker.retry_after_ms(now_ns)
            return Out(f"its circuit breaker is open ({state.breaker.reason})", wait_ms)
        return _Turn(state, upstream_name, key, ticket)

    async def _try(self, turn: _Turn) -> None:
        """One try, recorded and settled whatever becomes of it."""
        started_ns = self.clock.monotonic_ns()
        name = turn.state.provider.name
        attempt = AttemptRecord(provider=name, result="Cancelled")
        self.record.attempts.append(attempt)
        self.record.provider = name
        relayed = Relayed()
        result, is_slow = Result.NEUTRAL, None

        def first_event(now_ns: int) -> None:
            nonlocal is_slow
            waited_ms = (now_ns - started_ns) // 1_000_000
            is_slow = waited_ms > self.pool.pool.breaker.slow_first_token_ms
            self._probe_answered(turn, slow=is_slow, now_ns=now_ns)

        try:
            await self.attempts.make(
                turn.state,
                turn.upstream_name,
                turn.key,
                extra=self._extra_headers(turn.state),
                relayed=relayed,
                on_first_event=first_event,
            )
            attempt.result, result = "ok", Result.SUCCESS
            self.record.ending = (
                Ending.SERVED if relayed.status < HTTPStatus.BAD_REQUEST else Ending.PROVIDER_ERROR
            )
        except FailedTry as failed:
            _note(attempt, failed)
            result = _verdict(failed)
            raise
        finally:
            if relayed.fault is not None:
                _note(attempt, relayed.fault)
                result = _verdict(relayed.fault)
            now_ns = self.clock.monotonic_ns()
            attempt.status = relayed.status or attempt.status
            attempt.duration_ms = (now_ns - started_ns) // 1_000_000
            turn.settle(result, slow=is_slow, now_ns=now_ns)
            self.rules.settle(self.call, Settlement.SENT, now_ns)
            self._note_seen(relayed, is_cancelled=attempt.result == "Cancelled")

    def _decide(self, failed: FailedTry) -> retry.Decision:
        another = any(at not in self._asked and at not in self._out for at, _ in self.route.candidates)
        now_ns = self.clock.monotonic_ns()
        return retry.decide(
            self.pool.pool.retry,
            self.pool.retry_budget,
            attempts=len(self.record.attempts),
            kind=failed.kind,
            retry_after_ms=failed.retry_after_ms,
            unusable=failed.only_here,
            another=another,
            left_ms=(self.deadline_ns - now_ns) // 1_000_000,
            jitter=self.random(),
            now_ns=now_ns,
        )

    def _extra_headers(self, state: ProviderState) -> tuple[tuple[str, str], ...]:
        return (
            ("x-tidegate-request-id", self.record.request_id),
            ("x-tidegate-provider", state.provider.name),
            ("x-tidegate-model", self.route.model),
            ("x-tidegate-attempts", str(len(self.record.attempts))),
        )

    def _probe_answered(self, turn: _Turn, *, slow: bool, now_ns: int) -> None:
        """A stream that begins is answer enough for a probe: its end may be minutes away, and others wait.

        What becomes of the rest counts as a call of the closed breaker.
        """
        breaker = turn.state.breaker
        if breaker.state(now_ns) is State.HALF_OPEN:
            turn.settle(Result.SUCCESS, slow=slow, now_ns=now_ns)
            turn.ticket = breaker.admit(now_ns)

    def _note_seen(self, relayed: Relayed, *, is_cancelled: bool) -> None:
        """What the application has of an answer, also where it hung up before the end."""
        record, usage = self.record, relayed.usage
        record.status = relayed.status
        record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        if usage != Usage():
            record.usage = UsageState.REPORTED
        elif is_cancelled or 0 < relayed.status < HTTPStatus.BAD_REQUEST:
            record.usage = UsageState.UNREPORTED
        if relayed.first_event_ns is not None:
            record.first_token_ms = (relayed.first_event_ns - self.started_ns) // 1_000_000
        if relayed.fault is not None:
            record.ending, record.reason = Ending.FAILED, relayed.fault.reason
            record.code = relayed.fault.case.code

    async def _give_up(self, failed: FailedTry) -> Refusal | None:
        """The last failure is the answer: the provider's own words where it said any, else ours."""
        if failed.answer is not None:
            answer = failed.answer
            self.record.status, self.record.reason = answer.status, failed.reason
            self.record.ending = Ending.PROVIDER_ERROR
            await self.app.whole(answer.status, answer.headers, answer.body)
            return None
        return no_answer(self.pool.pool.source, self.route.model, self.record.attempts, failed)

    def _none_left(self) -> Refusal:
        out = {self.pool.providers[at].provider.name: out for at, out in sorted(self._out.items())}
        return none_left(self.pool.pool.source, self.route.model, out)


def _note(attempt: AttemptRecord, failed: FailedTry) -> None:
    attempt.result, attempt.reason, attempt.status = failed.label, failed.reason, failed.status


def _verdict(failed: FailedTry) -> Result:
    return Result.FAILURE if failed.counts else Result.NEUTRAL
