"""The attempts of one call: who is asked, with what, and what follows from how it went.

Every choice is made by a pure function, over what `candidates.py` knows; this module carries it out. What an attempt takes is
settled once, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tidegate_policy.model import RetryOn
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.targets import Target, lines_of
from tidegate_sidecar.dialects.base import Judged, Operation, Verdict
from tidegate_sidecar.dialects.retry_after import retry_after_ms
from tidegate_sidecar.messages.answer_documents import document_of
from tidegate_sidecar.messages.message import AT_ONCE_BYTES
from tidegate_sidecar.policies.base import (
    UsageClass,
)
from tidegate_sidecar.policies.breaker import Result
from tidegate_sidecar.policies.failures import FailureKind
from tidegate_sidecar.policies.planner import (
    GiveUp,
    WaitThenAsk,
)
from tidegate_sidecar.policies.standing import Unavailable
from tidegate_sidecar.proxy.admission import Acquisitions
from tidegate_sidecar.proxy.answer import Answer, Whole
from tidegate_sidecar.proxy.attempt import Attempt, Begun, Undecided
from tidegate_sidecar.proxy.call import Call
from tidegate_sidecar.proxy.candidates import Candidates
from tidegate_sidecar.proxy.decisions import note_refusal
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
from tidegate_sidecar.proxy.receive import read_document
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
        "_asked_bytes",
        "_call",
        "_candidates",
        "_deadline_ns",
        "_last",
        "_pipeline",
        "_pool",
        "_services",
        "_turn",
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
        self, services: Services, acquisitions: Acquisitions, call: Call, pipeline: Pipeline
    ) -> None:
        """Nobody has been asked yet."""
        self._services = services
        self._call = call
        self._pipeline = pipeline
        self._pool = pool = pipeline.pools[call.route.pool]
        self._turn: Turn | None = None
        self._last: Target | None = None
        # What attempts are made under, see `Asker`.
        self.operation: Operation | None = call.endpoint.operation
        self.wants_stream = call.wants_stream
        self.timeouts = timeouts = pool.pool.timeouts
        self.called_ns = call.started_ns
        self.max_answer_bytes = services.settings.max_response_bytes
        self.hold = call.hold
        self._asked_bytes = call.hold.count
        self.ticker = services.ticker
        self.now_ns = services.clock.monotonic_ns
        self.ping = call.dialect.ping
        self._deadline_ns = deadline_ns = call.started_ns + timeouts.request_ms * _MS_NS
        self._candidates = Candidates(services, acquisitions, call, pipeline, deadline_ns)

    async def answer(self) -> Answer | Refusal:
        """Ask until there is an answer or no reason to go on; a refusal where there is nothing to pass on."""
        candidates, budget = self._candidates, self._pool.retry_budget
        budget.on_call(self.now_ns())
        target = candidates.first()
        failure: Failure | None = None
        has_paused = False
        turn = candidates.take(target, self.now_ns()) or await candidates.obtain(target)
        while True:
            if type(turn) is Turn:
                result = await self._ask(turn)
                if isinstance(result, Answer | Refusal):
                    return result
                failure, has_paused = result, False
                candidates.forget_missed()
            elif isinstance(turn, Unavailable):
                candidates.missed(target, turn)
            now_ns = self.now_ns()
            step = candidates.after_pause(now_ns) if has_paused else candidates.next(failure, now_ns)
            if isinstance(step, WaitThenAsk):
                await asyncio.sleep(step.wait_ms / 1_000)
                # Timers may be a little early, and nobody is asked before the time that it named.
                now_ns = max(self.now_ns(), now_ns + step.wait_ms * _MS_NS)
                has_paused = True
                candidates.forget_missed()
                step = candidates.after_pause(now_ns)
            if isinstance(step, GiveUp):
                return self._give_up(step, failure)
            target = candidates.target(step.standing)
            turn = candidates.take(target, now_ns) or await candidates.obtain(target)
            if step.standing.asked and isinstance(turn, Turn) and not budget.take(now_ns):
                # Others took the rest of it while this call waited for its rules.
                turn.left(self.now_ns(), by_us=True)
                return self._give_up(GiveUp("the retry budget is used up", None, is_busy=False), failure)

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
            head = self._head(turn)  # first: if it failed, a connection would not be given back
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
            if isinstance(begun, Whole):
                body = b"" if begun.is_encoded else begun.body
                document = document_of(body) if len(body) <= AT_ONCE_BYTES else await read_document(body)
                result: Answer | Refusal | Failure = self._judged(begun, document, turn, attempt)
            else:
                result = begun
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
        prefix = state.head(call.endpoint.operation, call.request.query)
        return b"".join((prefix, credential, *lines, b"content-length: %d\r\n\r\n" % len(turn.body)))

    def _judged(self, whole: Whole, document: object, turn: Turn, attempt: Attempt) -> Answer | Failure:
        """What a whole answer says that is this document, by the dialect's table."""
        answer = Answer(whole.status, whole.headers, whole.body)
        dialect = turn.target.state.dialect
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
        context = context_of(self._call, self._candidates.facts(target, self._call.message))
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
        self._candidates.asked(turn.target)
        self._let_go_of_answer(failure)
        if verdict.message is not None and (refusal := take(self._call, verdict.message)) is not None:
            return refusal
        self._asked_bytes = self.hold.count
        return failure

    # how it ends

    def _failed(self, turn: Turn, failure: Failure) -> None:
        now_ns = self.now_ns()
        turn.failed(failure, now_ns)
        if failure.is_sent and turn.attempt is not None:
            self._call.count(turn.attempt.usage, turn.attempt.usage_class)
        self._let_go_of_answer(failure)
        self._candidates.failed(turn, failure, now_ns)

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
        elif usage_class is UsageClass.UNREPORTED and attempt.asked_ns:
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
        out = self._candidates.out()
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


def _tell_whose_key(failure: Failure, turn: Turn) -> None:
    """A key of ours that is refused is no error of the caller, and what is said of it concerns the platform."""
    if turn.key is not None:
        failure.reason = f"it refused the key of {turn.key.credential.source} ({failure.status})"
        # A 403 is about what was asked for as often as about the key.
        if failure.status != HTTPStatus.FORBIDDEN:
            failure.answer = None
    elif turn.target.state.provider.caller_credential:
        failure.kind = FailureKind.CALLER_ERROR
