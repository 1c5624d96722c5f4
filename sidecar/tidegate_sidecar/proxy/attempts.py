"""The attempts of one call: who is asked, with what, and what follows from how it went.

Every choice is made by a pure function; this module carries it out. What an attempt takes (breaker, rules by provider, a
key) is taken when its provider, its model and its body are known, and settled once, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tidegate_policy.model import RetryOn
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.targets import Target, lines_of
from tidegate_sidecar.credentials.keyring import Key, NoKeyError
from tidegate_sidecar.dialects.base import Judged, Verdict
from tidegate_sidecar.dialects.json_text import read_json
from tidegate_sidecar.dialects.retry_after import retry_after_ms
from tidegate_sidecar.messages.message import Message
from tidegate_sidecar.policies.base import (
    NOT_ADMITTED,
    NOT_SENT,
    NOTHING_ADMITTED,
    Admitted,
    Facts,
    Rejected,
    UsageClass,
    settle_all,
)
from tidegate_sidecar.policies.breaker import Result
from tidegate_sidecar.policies.choice import choose
from tidegate_sidecar.policies.cooldowns import WHOLE_ACCOUNT, credential_of_caller
from tidegate_sidecar.policies.failures import TRAITS, FailureKind
from tidegate_sidecar.policies.planner import (
    Ask,
    GiveUp,
    Step,
    WaitThenAsk,
    after_pause,
    first_step,
    next_step,
)
from tidegate_sidecar.policies.standing import Cause, Standing, Unavailable
from tidegate_sidecar.proxy.admission import Acquisitions, admit
from tidegate_sidecar.proxy.answer import Answer, Whole
from tidegate_sidecar.proxy.attempt import Attempt, Begun, Undecided
from tidegate_sidecar.proxy.call import Call
from tidegate_sidecar.proxy.decisions import note_refusal, note_shadows
from tidegate_sidecar.proxy.failure import (
    Failure,
    not_accepted,
    not_judged,
    of_connection,
    of_verdict,
    unreadable,
)
from tidegate_sidecar.proxy.filter_chain import chained
from tidegate_sidecar.proxy.filters import AnswerFilter, AskAgain
from tidegate_sidecar.proxy.headers import HeaderNames, labelled, own_keys, value_of
from tidegate_sidecar.proxy.refusals import gave_up, stream_cut
from tidegate_sidecar.proxy.request_filters import context_of, take
from tidegate_sidecar.proxy.respond import error_body
from tidegate_sidecar.proxy.ticker import Deadline
from tidegate_sidecar.proxy.turn import Turn
from tidegate_sidecar.routing.refusal import Case, Refusal
from tidegate_sidecar.telemetry.records import Ending, UsageState
from tidegate_sidecar.upstream.faults import ConnectError, is_stale

if TYPE_CHECKING:
    from tidegate_sidecar.proxy.exchange import Services

_MS_NS: Final = 1_000_000


class Attempts:
    """Makes the attempts of one call: `answer` once, then `deliver` for what it returned."""

    __slots__ = (
        "_acquisitions",
        "_asked_bytes",
        "_call",
        "_deadline_ns",
        "_last",
        "_missed",
        "_pipeline",
        "_pool",
        "_services",
        "_standings",
        "_turn",
        "called_ns",
        "hold",
        "max_answer_bytes",
        "now_ns",
        "ping",
        "ticker",
        "timeouts",
        "wants_stream",
    )

    def __init__(
        self, services: Services, acquisitions: Acquisitions, call: Call, pipeline: Pipeline
    ) -> None:
        """Nobody has been asked yet."""
        self._services = services
        self._acquisitions = acquisitions
        self._call = call
        self._pipeline = pipeline
        self._pool = pool = pipeline.pools[call.route.pool]
        self._standings: list[Standing] | None = None
        self._turn: Turn | None = None
        self._last: Target | None = None
        self._missed: dict[Target, Unavailable] = {}
        # What attempts are made under, see `Asker`.
        self.wants_stream = call.wants_stream
        self.timeouts = timeouts = pool.pool.timeouts
        self.called_ns = call.started_ns
        self.max_answer_bytes = services.settings.max_response_bytes
        self.hold = call.hold
        self._asked_bytes = call.hold.count
        self.ticker = services.ticker
        self.now_ns = services.clock.monotonic_ns
        self.ping = call.dialect.ping
        self._deadline_ns = call.started_ns + timeouts.request_ms * _MS_NS

    async def answer(self) -> Answer | Refusal:
        """Ask until there is an answer or no reason to go on; a refusal where there is nothing to pass on."""
        self._pool.retry_budget.on_call(self.now_ns())
        targets = self._call.route.targets
        target = targets[0] if len(targets) == 1 else choose(targets, self._services.random())
        assert target is not None, "a route has targets"  # noqa: S101 - a programming error
        failure: Failure | None = None
        has_paused = False
        turn = self._take(target, self.now_ns()) or await self._obtain(target)
        while True:
            if type(turn) is Turn:
                result = await self._ask(turn)
                if isinstance(result, Answer | Refusal):
                    return result
                failure, has_paused = result, False
                self._missed.clear()
            elif isinstance(turn, Unavailable):
                self._missed[target] = turn
            now_ns = self.now_ns()
            step = self._after_pause(now_ns) if has_paused else self._next(failure, now_ns)
            if isinstance(step, WaitThenAsk):
                await asyncio.sleep(step.wait_ms / 1_000)
                # Timers may be a little early, and nobody is asked before the time that it named.
                now_ns = max(self.now_ns(), now_ns + step.wait_ms * _MS_NS)
                has_paused = True
                self._missed.clear()
                step = self._after_pause(now_ns)
            if isinstance(step, GiveUp):
                return self._give_up(step, failure)
            target = targets[self._index(step.standing)]
            turn = self._take(target, now_ns) or await self._obtain(target)
            if step.standing.asked and isinstance(turn, Turn) and not self._pool.retry_budget.take(now_ns):
                # Others took the rest of it while this call waited for its rules.
                turn.left(self.now_ns(), by_us=True)
                turn = Unavailable(Cause.LIMIT, "the retry budget is used up")

    async def deliver(self, answer: Answer, names: HeaderNames) -> None:
        """Write the answer to the application, and settle what it took."""
        call, turn = self._call, self._turn
        record = call.record
        own = b"x-tidegate-request-id: %b\r\n" % record.request_id.encode("ascii")
        if self._last is not None:
            own += b"%bx-tidegate-attempts: %d\r\n" % (self._last.own, len(record.attempts))
        if answer.own:
            own += lines_of(answer.own)
        try:
            if not call.delivery.deliver_at_once(answer, names, own):
                await call.delivery.deliver(answer, names, own)
        except BaseException:
            if turn is not None:
                self._left(turn)
            raise
        record.status = answer.status
        if turn is not None:
            self._turn = None
            self._delivered(turn)
        elif self._last is None:
            record.ending = Ending.SERVED
        if record.ending is Ending.SERVED and not call.delivery.is_over:
            # What broke off was made by a rule.
            record.ending, record.code, record.reason = (
                Ending.INTERNAL,
                Case.INTERNAL.code,
                "the answer broke off",
            )

    # whom to ask

    def _next(self, failure: Failure | None, now_ns: int) -> Step:
        """Whom to ask next, and after which pause."""
        services, pool = self._services, self._pool
        standings = self._looked(now_ns)
        if failure is None:
            return first_step(standings, services.random(), now_ns)
        return next_step(
            standings,
            failure.kind,
            pool.retry_budget,
            retry=pool.pool.retry,
            left_ms=(self._deadline_ns - now_ns) // _MS_NS,
            chance=services.random(),
            jitter=services.random(),
            now_ns=now_ns,
        )

    def _after_pause(self, now_ns: int) -> Ask | GiveUp:
        """Whom to ask now that the pause is over."""
        return after_pause(
            self._looked(now_ns),
            self._pool.retry_budget,
            left_ms=(self._deadline_ns - now_ns) // _MS_NS,
            chance=self._services.random(),
            now_ns=now_ns,
        )

    def _looked(self, now_ns: int) -> list[Standing]:
        """How everybody stands, looked at now."""
        standings, missed = self._all(), self._missed
        for standing, target in zip(standings, self._call.route.targets, strict=True):
            if standing.is_refused:
                standing.unavailable = None
            else:
                standing.unavailable = missed.get(target) or self._obstacle(target, now_ns)
        return standings

    def _all(self) -> list[Standing]:
        if self._standings is None:
            self._standings = [Standing(target.candidate) for target in self._call.route.targets]
        return self._standings

    def _index(self, standing: Standing) -> int:
        return next(at for at, it in enumerate(self._all()) if it is standing)

    def _standing(self, target: Target) -> Standing:
        at = next(at for at, it in enumerate(self._call.route.targets) if it is target)
        return self._all()[at]

    def _obstacle(self, target: Target, now_ns: int) -> Unavailable | None:
        """Why a provider cannot be asked now; changes nothing."""
        key = self._key(target, now_ns)
        if isinstance(key, Unavailable):
            return key
        broken = target.state.breakers.standing(target.model, now_ns)
        rules = self._pipeline.attempt_rules
        if broken is not None or not rules.policies:
            return broken
        admitted = rules.admit(self._facts(target, self._call.message), now_ns)
        if isinstance(admitted, Rejected):
            return _limited(admitted)
        if isinstance(admitted, Admitted):
            settle_all(admitted.grants, NOT_ADMITTED, now_ns)
        return None

    # what an attempt takes

    def _take(self, target: Target, now_ns: int) -> Turn | Unavailable | None:
        """Take all that an attempt needs, or say what is in its way; None: rules have to be waited for, see `_obtain`."""
        call = self._call
        key = self._key(target, now_ns)
        if isinstance(key, Unavailable):
            return key
        message = call.message
        if target.upstream_model != call.model:
            message = message.with_string("model", target.upstream_model)
        rules = self._pipeline.attempt_rules
        if not rules.policies:
            return self._turn_with(target, key, message, NOTHING_ADMITTED, now_ns)
        broken = target.state.breakers.standing(target.model, now_ns)
        if broken is not None:
            return broken
        admitted = rules.admit(self._facts(target, message), now_ns)
        if isinstance(admitted, Rejected):
            return _limited(admitted)
        if not isinstance(admitted, Admitted):
            return None
        return self._turn_with(target, key, message, admitted, now_ns)

    async def _obtain(self, target: Target) -> Turn | Unavailable:
        """The same where rights have to be got, or a turn in a queue awaited."""
        call = self._call
        message = call.message
        if target.upstream_model != call.model:
            message = message.with_string("model", target.upstream_model)
        admitted = await admit(
            self._pipeline.attempt_rules,
            self._facts(target, message),
            self.now_ns,
            self._acquisitions,
            due_ns=self._deadline_ns,
        )
        if isinstance(admitted, Rejected):
            return _limited(admitted)
        now_ns = self.now_ns()
        key = self._key(target, now_ns)  # the key of this moment
        if isinstance(key, Unavailable):
            settle_all(admitted.grants, NOT_SENT, now_ns)
            return key
        return self._turn_with(target, key, message, admitted, now_ns)

    def _key(self, target: Target, now_ns: int) -> Key | Unavailable | None:
        """The key to ask with, or what is in the way of asking with it."""
        try:
            key = self._services.keyring.find(target.state.provider)
        except NoKeyError as error:
            return Unavailable(Cause.KEY, str(error))
        cooling = self._cooling(target, key, now_ns) if self._pool.cooldowns else None
        return key if cooling is None else cooling

    def _turn_with(
        self, target: Target, key: Key | None, message: Message, admitted: Admitted, now_ns: int
    ) -> Turn | Unavailable:
        """The turn of an attempt that rules have admitted, if the breakers admit it too."""
        breakers = target.state.breakers
        tickets = breakers.admit(target.model, now_ns)
        if tickets is None:
            settle_all(admitted.grants, NOT_SENT, now_ns)
            broken = breakers.standing(target.model, now_ns)
            return broken or Unavailable(Cause.BREAKER, "its circuit breaker is open")
        if admitted.would_reject:
            note_shadows(self._call.record, admitted.would_reject)
        return Turn(target, key, message.body, tickets, grants=admitted.grants, now_ns=now_ns)

    def _facts(self, target: Target, message: Message) -> Facts:
        return self._call.facts._replace(
            provider=target.state.provider.name, body_bytes=len(message.body), message=message
        )

    def _cooling(self, target: Target, key: Key | None, now_ns: int) -> Unavailable | None:
        return self._pool.cooldowns.standing(self._credential(target, key), target.model, now_ns)

    def _credential(self, target: Target, key: Key | None) -> str:
        """The name under which a provider's patience with this key is kept."""
        name = target.state.provider.name
        if key is not None:
            return f"{name}/{key.credential.source}"
        if not target.state.provider.caller_credential:
            return name
        headers = self._call.request.headers
        carried = b"\0".join(value_of(headers, it) for it in sorted(target.state.dialect.credential_headers))
        return f"{name}/{credential_of_caller(carried.decode('latin-1'))}"

    # one attempt

    async def _ask(self, turn: Turn) -> Answer | Refusal | Failure:
        """One attempt, recorded and settled whatever becomes of it; the turn of an answer is settled by `deliver`."""
        call, target = self._call, turn.target
        record = call.record
        record.attempts = (*record.attempts, turn.record)
        record.provider = turn.record.provider
        self._last = target
        try:
            attempt = turn.attempt = Attempt(
                self,
                target.state.dialect,
                turn.key.spellings if turn.key is not None else self._callers_keys(target),
                asyncio.get_running_loop().create_future(),
                turn.first_event,
            )
            if self._pipeline.answer_rules:
                attempt.filter = self._filter_for(target)
            call.delivery.on_gone = attempt.drop
            head = self._head(
                turn
            )  # made before a connection is taken, which would not be given back if this failed
            connection = target.state.origin(self._services.origins).take(self.now_ns())
            if connection is None:
                begun = await self._on_new_connection(turn, attempt, head)
            else:
                attempt.ask(connection, head, turn.body, self.now_ns())
                begun = await attempt.begun
                if type(begun) is Failure and begun.fault is not None and is_stale(begun.fault):
                    # It had ended before this request: sent again, once, which is no other attempt.
                    self._services.metrics.stale_connections.inc()
                    attempt.ask_again(asyncio.get_running_loop().create_future())
                    begun = await self._on_new_connection(turn, attempt, head)
            while isinstance(begun, Undecided):
                await begun.decide()
                begun = await attempt.begun
            result = self._judged(begun, turn, attempt) if isinstance(begun, Whole) else begun
        except BaseException:
            self._left(turn)
            raise
        if isinstance(result, Failure):
            if result.kind is FailureKind.KEY_REFUSED:
                _tell_whose_key(result, turn)
            self._failed(turn, result)
            return result
        if isinstance(result, Refusal) or (attempt.filter is not None and result.rest is None):
            return await self._accepted(turn, attempt, result)
        self._turn = turn
        return result

    async def _on_new_connection(self, turn: Turn, attempt: Attempt, head: bytes) -> Begun:
        """Connect, send, and see what the attempt comes to."""
        left_ms = max(1, (self._deadline_ns - self.now_ns()) // _MS_NS)
        origin = turn.target.state.origin(self._services.origins)
        try:
            connection = await origin.connect(min(self.timeouts.connect_ms, left_ms))
        except ConnectError as error:
            return of_connection(error.fault, 0)
        turn.connected(Result.SUCCESS, self.now_ns())
        attempt.ask(connection, head, turn.body, self.now_ns())
        return await attempt.begun

    def _head(self, turn: Turn) -> bytes:
        """Everything up to the body: the provider's line and constants, its key, the application's own headers."""
        call, state = self._call, turn.target.state
        credential = state.credential(turn.key.reveal()) if turn.key is not None else b""
        lines = state.request_names.lines(call.request.headers)
        prefix = state.head(call.operation, call.request.query)
        return b"".join((prefix, credential, *lines, b"content-length: %d\r\n\r\n" % len(turn.body)))

    def _judged(self, whole: Whole, turn: Turn, attempt: Attempt) -> Answer | Failure:
        """What a whole answer says, by the dialect's table."""
        answer = Answer(whole.status, whole.headers, whole.body)
        dialect = turn.target.state.dialect
        document = None if whole.is_encoded else read_json_or_none(whole.body)
        judged: Judged = dialect.judge(whole.status, document)
        if judged.verdict is Verdict.SERVED:
            if whole.is_encoded:
                if attempt.filter is not None:
                    return not_judged("it is in an encoding that rules cannot read", whole.status)
                return answer  # nobody here can read it, and the application may
            if not isinstance(document, dict) or self._call.wants_stream:
                came = f"{len(whole.body)} bytes {labelled(whole.headers, attempt.encoding)}"
                wanted = "a stream of events" if self._call.wants_stream else "a JSON object"
                return unreadable(f"it answered with {came}, where {wanted} was expected", whole.status)
            attempt.usage_of_whole = dialect.usage(document)
            return answer
        failure = of_verdict(judged, whole.status, answer)
        failure.retry_after_ms = retry_after_ms(whole.headers, self._services.clock.wall_ns() // _MS_NS)
        failure.forbids_retry = value_of(whole.headers, b"x-should-retry").lower() == b"false"
        return failure

    # what rules make of an answer

    def _filter_for(self, target: Target) -> AnswerFilter:
        """What the answer of an attempt passes that is about to be made."""
        context = context_of(self._call, self._facts(target, self._call.message))
        filters = [rule.on_answer(context) for rule in self._pipeline.answer_rules]
        return chained(filters, is_stream=self._call.wants_stream)

    async def _accepted(
        self, turn: Turn, attempt: Attempt, result: Answer | Refusal
    ) -> Answer | Refusal | Failure:
        """What rules make of an answer that they see as a whole; a refusal is what they have made of a stream."""
        verdict: Answer | Refusal | AskAgain = result
        if isinstance(result, Answer):
            assert attempt.filter is not None, "asked only where there is one"  # noqa: S101 - a programming error
            deadline = Deadline(
                self.ticker, attempt.stream_due_ns if self.wants_stream else self._deadline_ns
            )
            try:
                async with deadline:
                    verdict = await attempt.filter.judge(result)
            except BaseException as error:
                if isinstance(error, TimeoutError) and deadline.is_over:
                    failure = not_judged("a rule did not decide on it in time", attempt.status)
                    self._failed(turn, failure)
                    return failure
                self._left(turn)
                raise
        if isinstance(verdict, Answer):
            self._turn = turn
            return verdict
        self._note(attempt)
        turn.served(self.now_ns())
        return verdict if isinstance(verdict, Refusal) else self._not_accepted(turn, verdict)

    def _not_accepted(self, turn: Turn, verdict: AskAgain) -> Failure | Refusal:
        """Take note that another attempt is wanted; the provider has done its part."""
        failure = not_accepted(verdict.refusal)
        turn.record.result, turn.record.reason = failure.kind.value, failure.reason
        self._standing(turn.target).asked += 1
        self._let_go_of_answer(failure)
        if verdict.message is not None and (refusal := take(self._call, verdict.message)) is not None:
            return refusal
        self._asked_bytes = self.hold.count
        return failure

    # how it ends

    def _failed(self, turn: Turn, failure: Failure) -> None:
        now_ns = self.now_ns()
        standing = self._standing(turn.target)
        standing.asked += 1
        turn.failed(failure, now_ns)
        if failure.is_sent and turn.attempt is not None:
            self._call.count(turn.attempt.usage, turn.attempt.usage_class)
        self._let_go_of_answer(failure)
        standing.failed(
            failure.kind,
            now_ns,
            retry_after_ms=failure.retry_after_ms,
            may_retry=not failure.forbids_retry,
        )
        if failure.retry_after_ms and TRAITS[failure.kind].cools:
            self._pool.cooldowns.cool(
                self._credential(turn.target, turn.key),
                WHOLE_ACCOUNT if failure.whole_account else turn.target.model,
                failure.retry_after_ms,
                at_most_ms=self._pool.pool.breaker.max_open_for_ms,
                now_ns=now_ns,
            )

    def _let_go_of_answer(self, failure: Failure) -> None:
        """What came of an attempt is held no more, but for words that may be the answer in the end."""
        kept = 0 if failure.answer is None else len(failure.answer.first)
        self.hold.shrink(max(0, self.hold.count - self._asked_bytes - kept))

    def _left(self, turn: Turn) -> None:
        """The call is cancelled, or failed by a fault of ours."""
        attempt = turn.attempt
        turn.left(self.now_ns(), by_us=self._services.in_flight.cutting)
        if attempt is not None:
            self._note(attempt)

    def _delivered(self, turn: Turn) -> None:
        """The application has the answer, as far as there was one."""
        attempt, record = turn.attempt, self._call.record
        assert attempt is not None, "an answer has an attempt"  # noqa: S101 - a programming error
        now_ns = self.now_ns()
        self._note(attempt)
        turn.served(now_ns)
        if attempt.ended_by is not None:
            note_refusal(record, attempt.ended_by)
            record.status = attempt.status
        elif attempt.failure is None:
            record.ending = Ending.SERVED
        else:
            refusal = stream_cut(attempt.failure)
            record.ending, record.code, record.reason = (
                Ending.FAILED,
                refusal.case.code,
                attempt.failure.reason,
            )
        if attempt.is_faulty:
            record.ending, record.code = Ending.INTERNAL, Case.INTERNAL.code

    def _note(self, attempt: Attempt) -> None:
        """What the provider reported, and when it began."""
        call, record = self._call, self._call.record
        record.status = call.delivery.status
        usage, usage_class = attempt.usage, attempt.usage_class
        if attempt.asked_ns:
            call.count(usage, usage_class)
        if record.usage is not UsageState.NONE:  # of an answer before this one, which was not accepted
            usage, usage_class = call.usage, call.usage_class
        record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        record.cached_input_tokens, record.cache_write_tokens = (
            usage.cached_input_tokens,
            usage.cache_write_tokens,
        )
        record.reasoning_tokens = usage.reasoning_tokens
        if usage_class is UsageClass.REPORTED:
            record.usage = UsageState.REPORTED
        elif 0 < attempt.status < HTTPStatus.BAD_REQUEST or (attempt.asked_ns and not attempt.status):
            record.usage = UsageState.UNREPORTED
        if attempt.first_content_ns is not None:
            record.first_token_ms = (attempt.first_content_ns - self._call.started_ns) // _MS_NS

    def _give_up(self, step: GiveUp, failure: Failure | None) -> Answer | Refusal:
        """The last failure is the answer: the provider's own words where it said any, else ours."""
        record = self._call.record
        if failure is not None and failure.answer is not None:
            record.reason, record.ending = failure.reason, Ending.PROVIDER_ERROR
            return failure.answer
        if failure is not None and failure.refusal is not None:
            return failure.refusal
        targets = self._call.route.targets
        out = {
            target.state.provider.name: standing.unavailable
            for target, standing in zip(targets, self._all(), strict=True)
            if standing.unavailable is not None
        }
        return gave_up(
            self._pool.pool.source, self._call.route.model, step, failure, attempts=record.attempts, out=out
        )

    # small things

    def cut_event(self, failure: Failure) -> bytes:
        return self._call.dialect.stream_error(error_body(stream_cut(failure), self._call.record.request_id))

    def is_last(self) -> bool:
        """Whether a failure of the attempt under way could be followed by another one."""
        retry = self._pool.pool.retry
        if len(self._call.record.attempts) >= retry.max_attempts:
            return True
        # A provider that has begun to answer can fail in every way but one, and some ways lead elsewhere whatever is retried.
        return len(self._call.route.targets) == 1 and set(retry.retry_on) <= {RetryOn.CONNECT_FAILURE}

    def _callers_keys(self, target: Target) -> tuple[bytes, ...]:
        """What is taken out of an answer where the provider was asked with the application's own key."""
        state = target.state
        if not state.provider.caller_credential:
            return ()
        return tuple(own_keys(self._call.request.headers, state.dialect))


def _limited(rejected: Rejected) -> Unavailable:
    return Unavailable(
        Cause.LIMIT,
        f"its limit {rejected.rule} is reached ({rejected.limit})",
        rejected.retry_after_ms,
        rejected,
    )


def _tell_whose_key(failure: Failure, turn: Turn) -> None:
    """A key of ours that is refused is no error of the caller, and what is said of it concerns the platform."""
    if turn.key is not None:
        failure.reason = f"it refused the key of {turn.key.credential.source} ({failure.status})"
        if (
            failure.status != HTTPStatus.FORBIDDEN
        ):  # which is about what was asked for as often as about the key
            failure.answer = None
    elif turn.target.state.provider.caller_credential:
        failure.kind = FailureKind.CALLER_ERROR


def read_json_or_none(body: bytes) -> object:
    """The document that `body` is; None where it is no JSON."""
    try:
        return read_json(body)
    except ValueError:
        return None
