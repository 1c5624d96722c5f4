"""The tries of one call: which provider, and after a failure whether and where to try again.

Every choice is made by a pure function; this module carries it out. A try that has shown the application anything
is the last one, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.pipeline import PoolState, ProviderState
from tidegate_sidecar.credentials.keyring import Key, Keyring, NoKeyError
from tidegate_sidecar.policies import retry, select
from tidegate_sidecar.policies.base import Call, PolicySet, Rejected, Settlement
from tidegate_sidecar.policies.breaker import Result, State, Ticket
from tidegate_sidecar.proxy.attempt import Attempts
from tidegate_sidecar.proxy.downstream import AppResponse
from tidegate_sidecar.proxy.relay import FailedTry, Relayed
from tidegate_sidecar.routing.refusal import Case, Refusal, rate_limited
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


@dataclass(slots=True)
class _Out:
    """Why a provider was not asked."""

    reason: str
    retry_after_ms: int | None = None
    limit: Rejected | None = None


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
    _out: dict[int, _Out] = field(default_factory=dict)

    async def run(self) -> Refusal | None:
        """Try until there is an answer or no reason to go on; a refusal when there is no answer to pass on."""
        self.pool.retry_budget.on_call(self.clock.monotonic_ns())
        failed: FailedTry | None = None
        while True:
            turn = self._next_turn()
            if turn is None:
                return self._none_left() if failed is None else await self._give_up(failed)
            try:
                self._delivered(await self._try(turn))
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

    def _take(self, state: ProviderState, upstream_name: str) -> _Turn | _Out:
        """Ask all that has a say in whether this provider is tried, the one with side effects last."""
        now_ns = self.clock.monotonic_ns()
        try:
            key = self.keyring.find(state.provider)
        except NoKeyError as error:
            return _Out(str(error))
        self.call.provider = state.provider.name
        admitted = self.rules.admit(self.call, now_ns)
        if admitted.rejected is not None:
            limit = admitted.rejected
            return _Out(f"its limit {limit.rule} is reached ({limit.limit})", limit.retry_after_ms, limit)
        ticket = state.breaker.admit(now_ns)
        if ticket is None:
            self.rules.settle(self.call, Settlement.NOT_ADMITTED, now_ns)
            wait_ms = state.breaker.retry_after_ms(now_ns)
            return _Out(f"its circuit breaker is open ({state.breaker.reason})", wait_ms)
        return _Turn(state, upstream_name, key, ticket)

    async def _try(self, turn: _Turn) -> Relayed:
        """One try, recorded and settled whatever becomes of it."""
        started_ns = self.clock.monotonic_ns()
        attempt = AttemptRecord(provider=turn.state.provider.name, result="Cancelled")
        self.record.attempts.append(attempt)
        self.record.provider = turn.state.provider.name
        result, is_slow = Result.NEUTRAL, None

        def first_event(now_ns: int) -> None:
            nonlocal is_slow
            waited_ms = (now_ns - started_ns) // 1_000_000
            is_slow = waited_ms > self.pool.pool.breaker.slow_first_token_ms
            self._probe_answered(turn, slow=is_slow, now_ns=now_ns)

        try:
            relayed = await self.attempts.make(
                turn.state, turn.upstream_name, turn.key, self._extra_headers(turn.state), first_event
            )
        except FailedTry as failed:
            _note(attempt, failed)
            result = Result.FAILURE if failed.counts else Result.NEUTRAL
            raise
        else:
            attempt.result, attempt.status = "ok", relayed.status
            result = Result.SUCCESS
            if relayed.fault is not None:
                _note(attempt, relayed.fault)
                result = Result.FAILURE if relayed.fault.counts else Result.NEUTRAL
            return relayed
        finally:
            now_ns = self.clock.monotonic_ns()
            attempt.duration_ms = (now_ns - started_ns) // 1_000_000
            turn.settle(result, slow=is_slow, now_ns=now_ns)
            self.rules.settle(self.call, Settlement.SENT, now_ns)

    def _probe_answered(self, turn: _Turn, *, slow: bool, now_ns: int) -> None:
        """A stream that begins is answer enough for a probe: its end may be minutes away, and others wait.

        What becomes of the rest counts as a call of the closed breaker.
        """
        breaker = turn.state.breaker
        if breaker.state(now_ns) is State.HALF_OPEN:
            turn.settle(Result.SUCCESS, slow=slow, now_ns=now_ns)
            turn.ticket = breaker.admit(now_ns)

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

    def _delivered(self, relayed: Relayed) -> None:
        """The application has an answer, or the beginning of one."""
        record = self.record
        record.status = relayed.status
        record.input_tokens = relayed.usage.input_tokens
        record.output_tokens = relayed.usage.output_tokens
        reported = record.input_tokens is not None or record.output_tokens is not None
        if relayed.status < 400:
            record.usage = UsageState.REPORTED if reported else UsageState.UNREPORTED
            record.ending = Ending.SERVED
        else:
            record.ending = Ending.PROVIDER_ERROR
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
        tries = "; ".join(f"{it.provider}: {it.reason}" for it in self.record.attempts if it.reason)
        return Refusal(
            case=failed.case,
            message=f"No provider of {self.pool.pool.source} answered for {self.route.model!r} "
            f"({len(self.record.attempts)} tries; {tries}).",
            source=self.pool.pool.source,
            retry_after_ms=failed.retry_after_ms if failed.retry_after_ms is not None else 1_000,
            details={"attempts": len(self.record.attempts)},
        )

    def _none_left(self) -> Refusal:
        """Nobody could be asked: say which provider is out, why, and when it may be back."""
        names = {at: self.pool.providers[at].provider.name for at in self._out}
        limits = [out.limit for out in self._out.values() if out.limit is not None]
        if limits and len(limits) == len(self._out):
            return rate_limited(min(limits, key=lambda limit: limit.retry_after_ms or 0))
        waits = [out.retry_after_ms for out in self._out.values() if out.retry_after_ms is not None]
        reasons = "; ".join(f"{names[at]}: {out.reason}" for at, out in sorted(self._out.items()))
        return Refusal(
            case=Case.UNAVAILABLE,
            message=f"No provider of {self.pool.pool.source} can serve {self.route.model!r} now ({reasons}).",
            source=self.pool.pool.source,
            retry_after_ms=min(waits) if waits else 1_000,
            details={"providers": {names[at]: out.reason for at, out in sorted(self._out.items())}},
        )


def _note(attempt: AttemptRecord, failed: FailedTry) -> None:
    attempt.result, attempt.reason = failed.label, failed.reason
    attempt.status = failed.answer.status if failed.answer is not None else 0
