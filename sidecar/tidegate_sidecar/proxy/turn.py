"""One provider while it is asked for one call: what was taken for it, and the one place where all of it is given back."""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.config.targets import Target
from tidegate_sidecar.credentials.keyring import Key
from tidegate_sidecar.policies.base import NOT_SENT, Grant, Outcome, Sent, settle_all
from tidegate_sidecar.policies.breaker import Result
from tidegate_sidecar.policies.breakers import Tickets, result_of_leaving
from tidegate_sidecar.policies.failures import TRAITS, Counts
from tidegate_sidecar.proxy.attempt import Attempt
from tidegate_sidecar.proxy.failure import Failure
from tidegate_sidecar.telemetry.records import AttemptRecord

_MS_NS: Final = 1_000_000
_SUCCESS: Final = Result.SUCCESS  # members of an enum are slow to look up
_NEUTRAL: Final = Result.NEUTRAL
_NOWHERE: Final = Counts.NOWHERE
_PROVIDER: Final = Counts.PROVIDER


class Turn:
    """One attempt with all that it holds. `settle` is called exactly once.

    Attributes:
        target: who is asked.
        key: with which; None where the provider wants none, or takes the caller's.
        body: of the request, as this provider is sent it.
        record: what is written down of it.
        began_ns: when it began.
        attempt: what the provider says; None before it was asked.
        is_slow: whether the first event of a stream took too long; None where that says nothing.
    """

    attempt: Attempt | None = None
    is_slow: bool | None = None

    def __init__(
        self,
        target: Target,
        key: Key | None,
        body: bytes,
        tickets: Tickets,
        *,
        grants: tuple[Grant, ...],
        now_ns: int,
    ) -> None:
        """Hold `tickets` and `grants`."""
        self.target = target
        self.key = key
        self.body = body
        self._tickets = tickets
        self._grants = grants
        self.began_ns = now_ns
        self.record = record = AttemptRecord()
        record.provider = target.state.provider.name

    # what happens meanwhile

    def connected(self, result: Result, now_ns: int) -> None:
        """How it came to its connection; told only where one had to be made."""
        self.target.state.breakers.connected(self._tickets, result, now_ns)

    def first_event(self, now_ns: int) -> None:
        """A stream has begun, which is answer enough for a probe."""
        attempt, target = self.attempt, self.target
        assert attempt is not None, "only one who was asked answers"  # noqa: S101 - a programming error
        waited_ms = (now_ns - attempt.asked_ns) // _MS_NS
        self.is_slow = waited_ms > target.slow_first_token_ms
        self._tickets = target.state.breakers.answered(
            target.model, self._tickets, slow=self.is_slow, now_ns=now_ns
        )

    # how it ends

    def served(self, now_ns: int) -> None:
        """The answer is delivered, as far as it came; it may have failed after its beginning."""
        attempt = self.attempt
        assert attempt is not None, "only one who was asked serves"  # noqa: S101 - a programming error
        if attempt.is_faulty:
            self._settle(_NEUTRAL, Outcome(Sent.SENT, attempt.usage, attempt.usage_class), now_ns)
            return
        if attempt.failure is not None:
            self.failed(attempt.failure, now_ns)
            return
        self.record.result = "ok"
        self._settle(_SUCCESS, Outcome(Sent.SENT, attempt.usage, attempt.usage_class), now_ns)

    def failed(self, failure: Failure, now_ns: int) -> None:
        """It came to nothing, or broke off."""
        record = self.record
        record.result, record.reason, record.sent = failure.kind.value, failure.reason, failure.is_sent
        counts = TRAITS[failure.kind].counts
        if counts is _PROVIDER:
            self.connected(Result.FAILURE, now_ns)
        result = Result.FAILURE if counts is Counts.MODEL else _NEUTRAL
        attempt = self.attempt
        outcome = NOT_SENT
        if failure.is_sent and attempt is not None:
            outcome = Outcome(Sent.SENT, attempt.usage, attempt.usage_class)
        self._settle(result, outcome, now_ns)

    def left(self, now_ns: int, *, by_us: bool) -> None:
        """The application went away (or this process does, `by_us`) before the attempt came to anything."""
        attempt = self.attempt
        if attempt is None or not attempt.asked_ns:
            self.record.sent = False
            self._settle(_NEUTRAL, NOT_SENT, now_ns)
            return
        attempt.drop()
        if attempt.failure is not None:  # the stream had broken off by then
            self.failed(attempt.failure, now_ns)
            return
        result = _NEUTRAL
        if not by_us and not attempt.status:
            target, breakers = self.target, self.target.state.breakers
            result = result_of_leaving(
                waited_ms=(now_ns - attempt.asked_ns) // _MS_NS,
                slow_first_token_ms=target.slow_first_token_ms,
                # That nothing was answered beside a probe says nothing, since nobody else was let through.
                answered_meanwhile=breakers.is_probe(target.model, self._tickets)
                or breakers.answered_since(target.model, attempt.asked_ns),
            )
        self._settle(result, Outcome(Sent.SENT, attempt.usage, attempt.usage_class), now_ns)

    def _settle(self, result: Result, outcome: Outcome, now_ns: int) -> None:
        record, attempt, target = self.record, self.attempt, self.target
        if attempt is not None and attempt.status:
            record.status = attempt.status
        record.duration_ms = (now_ns - self.began_ns) // _MS_NS
        target.state.breakers.settle(target.model, self._tickets, result, slow=self.is_slow, now_ns=now_ns)
        if self._grants:
            settle_all(self._grants, outcome, now_ns)
        if attempt is not None:
            attempt.let_go()
