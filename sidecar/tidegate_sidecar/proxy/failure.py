"""How an attempt can fail: one value for whatever a connection, a status, a body or the clock says."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from tidegate_sidecar.dialects.base import Judged
from tidegate_sidecar.policies.failures import KIND_OF, FailureKind
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.routing.refusal import Refusal
from tidegate_sidecar.upstream.faults import ConnectionFault, FaultKind

_BEFORE_SENDING: Final = frozenset(
    {
        FaultKind.DNS,
        FaultKind.CONNECT,
        FaultKind.TLS,
        FaultKind.NOT_PUBLIC,
        FaultKind.PROXY,
    }
)


class Failure:
    """An attempt came to nothing.

    Attributes:
        kind: what follows from it stands in the planner's table.
        reason: words for people; no header and no byte of a body.
        status: of the provider's answer, 0 where there was none.
        answer: the provider's own words, where it said any that can be passed on.
        word: its own code or type for the failure.
        retry_after_ms: how long it asked to wait; None: it did not.
        whole_account: the wait is for all models of the credential.
        forbids_retry: it said `x-should-retry: false`.
        is_sent: it may have seen the request, and may charge for it.
        fault: what the connection said, where it was the connection.
        refusal: what the application is told if nothing follows, where a rule has said so.
    """

    __slots__ = (
        "answer",
        "fault",
        "forbids_retry",
        "is_sent",
        "kind",
        "reason",
        "refusal",
        "retry_after_ms",
        "status",
        "whole_account",
        "word",
    )

    def __init__(
        self, kind: FailureKind, reason: str, *, status: int = 0, answer: Answer | None = None
    ) -> None:
        """Keep the facts beside the words."""
        self.kind = kind
        self.reason = reason
        self.status = status
        self.answer = answer
        self.word = ""
        self.retry_after_ms: int | None = None
        self.whole_account = False
        self.forbids_retry = False
        self.is_sent = True
        self.fault: ConnectionFault | None = None
        self.refusal: Refusal | None = None

    def __repr__(self) -> str:
        return f"<Failure {self.kind.value}: {self.reason}>"


def of_connection(fault: ConnectionFault, status: int) -> Failure:
    """The connection could not be made, broke off, or carried no HTTP."""
    if fault.kind is FaultKind.CONNECT_TIMEOUT:
        kind = FailureKind.CONNECT_TIMEOUT
    elif fault.kind is FaultKind.TOO_MANY:
        kind = FailureKind.RATE_LIMITED
    elif fault.kind in _BEFORE_SENDING:
        kind = FailureKind.CONNECT_FAILURE
    elif fault.kind is FaultKind.GARBAGE:
        is_good = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        kind = FailureKind.UNREADABLE if is_good else FailureKind.GARBAGE
    elif fault.answer_began:
        kind = FailureKind.INCOMPLETE
    else:
        kind = FailureKind.CLOSED
    failure = Failure(kind, fault.reason, status=status)
    failure.is_sent = fault.sent
    failure.fault = fault
    return failure


def of_verdict(judged: Judged, status: int, answer: Answer | None) -> Failure:
    """The provider answered, and says that it cannot serve the call; `answer` are its words, if they may be passed on."""
    word = f" ({judged.word})" if judged.word else ""
    failure = Failure(KIND_OF[judged.verdict], f"it answered {status}{word}", status=status, answer=answer)
    failure.word, failure.whole_account = judged.word, judged.whole_account
    return failure


def error_in_stream(judged: Judged, status: int, answer: Answer | None = None) -> Failure:
    """An event of the stream says that the provider failed."""
    failure = Failure(
        KIND_OF[judged.verdict],
        f"its stream holds the error {judged.word or 'error'!r}",
        status=status,
        answer=answer,
    )
    failure.word, failure.whole_account = judged.word, judged.whole_account
    return failure


def timed_out(what: str, limit_ms: int, field: str) -> Failure:
    """A deadline passed: `what` did not happen within `limit_ms`, the value of `timeouts.<field>`."""
    return Failure(FailureKind.TIMEOUT, f"{what} within {limit_ms} ms (timeouts.{field})")


def redirected(status: int) -> Failure:
    """The provider sends the request elsewhere, where nobody allowed it to go."""
    return Failure(FailureKind.GARBAGE, f"it answered with a redirect ({status})", status=status)


def unreadable(reason: str, status: int) -> Failure:
    """A successful answer that no SDK could read; the caller has been charged for it."""
    return Failure(FailureKind.UNREADABLE, reason, status=status)


def incomplete(reason: str, status: int) -> Failure:
    """An answer that ends before its end."""
    return Failure(FailureKind.INCOMPLETE, reason, status=status)


def not_accepted(refusal: Refusal) -> Failure:
    """The provider has served the call, and a rule wants another answer."""
    rule = f" {refusal.rule}" if refusal.rule else ""
    failure = Failure(FailureKind.NOT_ACCEPTED, f"the rule{rule} did not accept its answer")
    failure.refusal = refusal
    return failure


def not_judged(reason: str, status: int) -> Failure:
    """The provider has served the call, and a rule that has to see the answer could not decide on it."""
    return Failure(FailureKind.NOT_JUDGED, reason, status=status)


def no_room(what: str, status: int) -> Failure:
    """The provider has served the call, and `what` has to be held to be passed on, for which there is no room."""
    return not_judged(f"there is no room to hold {what} (TIDEGATE_MAX_HELD_BYTES)", status)
