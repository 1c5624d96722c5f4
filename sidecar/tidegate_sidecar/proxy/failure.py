"""How a try can fail, why a provider is not tried at all, and what the caller is told in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate_policy.model import ObjectRef, RetryOn
from tidegate_sidecar.policies.base import Rejected
from tidegate_sidecar.proxy.respond import WholeResponse
from tidegate_sidecar.proxy.upstream import UpstreamError, UpstreamFault
from tidegate_sidecar.routing.refusal import Case, Refusal, rate_limited
from tidegate_sidecar.telemetry.records import AttemptRecord

RETRY_AFTER_MS = 1_000
"""What a caller is told to wait where nobody knows."""


class FailedTry(Exception):  # noqa: N818 - it is the failure of a try, not of the program
    """A try came to nothing. Raised while the application has seen nothing of it; noted in `Relayed` after that.

    Attributes:
        kind: the word of `retryOn` that it counts as; None when no repetition would help.
        case: what the application is told when this was the last try and there is no answer to pass on.
        status: the provider's HTTP status, 0 where there was none.
        answer: the provider's own error, when there was one.
        retry_after_ms: how long the provider asked to wait.
        counts: whether the breaker counts it as a failure of the provider.
        only_here: it is this provider's alone, whatever `kind` says: another one may well answer.
        label: the result in records, where it is not `kind`.
    """

    def __init__(
        self,
        kind: RetryOn | None,
        reason: str,
        *,
        case: Case,
        status: int = 0,
        answer: WholeResponse | None = None,
        retry_after_ms: int | None = None,
        counts: bool = True,
        only_here: bool = False,
        label: str = "",
    ) -> None:
        """Keep the facts beside the words."""
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.case = case
        self.status = status
        self.answer = answer
        self.retry_after_ms = retry_after_ms
        self.counts = counts
        self.only_here = only_here
        self.label = label or (kind.value if kind else "Failed")


def failed_on_the_way(error: UpstreamError) -> FailedTry:
    """A fault of the connection."""
    if error.fault is UpstreamFault.GARBAGE:
        return garbage(str(error))
    case = Case.TIMEOUT if error.fault is UpstreamFault.CONNECT_TIMEOUT else Case.UNREACHABLE
    return FailedTry(RetryOn.CONNECT_FAILURE, str(error), case=case)


def timed_out(what: str, limit_ms: int, field: str) -> FailedTry:
    """A deadline passed: `what` did not happen within `limit_ms`, the value of `timeouts.<field>`."""
    return FailedTry(RetryOn.TIMEOUT, f"{what} within {limit_ms} ms (timeouts.{field})", case=Case.TIMEOUT)


def garbage(reason: str, status: int = 0) -> FailedTry:
    """An answer that no SDK could read."""
    return FailedTry(RetryOn.SERVER_ERROR, reason, case=Case.UNREACHABLE, status=status, label="Garbage")


def error_in_stream(error: str) -> FailedTry:
    """An event of the stream says that the provider failed; `error` is its own word for how."""
    kind = RetryOn.SERVER_ERROR
    if "overloaded" in error:
        kind = RetryOn.OVERLOADED
    elif "rate_limit" in error:
        kind = RetryOn.RATE_LIMITED
    return FailedTry(
        kind,
        f"its stream holds the error {error!r}",
        case=Case.UNAVAILABLE,
        counts=kind is not RetryOn.RATE_LIMITED,
    )


@dataclass(slots=True)
class Out:
    """Why a provider was not asked."""

    reason: str
    retry_after_ms: int | None = None
    limit: Rejected | None = None


def no_answer(pool: ObjectRef, model: str, attempts: Sequence[AttemptRecord], last: FailedTry) -> Refusal:
    """The refusal of a call whose tries came to nothing, the last of them without words to pass on."""
    count = "1 try" if len(attempts) == 1 else f"{len(attempts)} tries"
    tries = "; ".join(f"{it.provider}: {it.reason}" for it in attempts if it.reason)
    return Refusal(
        case=last.case,
        message=f"No provider of {pool} answered for {model!r} ({count}; {tries}).",
        source=pool,
        retry_after_ms=RETRY_AFTER_MS if last.retry_after_ms is None else last.retry_after_ms,
        details={"attempts": len(attempts)},
    )


def none_left(pool: ObjectRef, model: str, out: Mapping[str, Out]) -> Refusal:
    """The refusal of a call that nobody could be asked for: which provider is out, why, when it may be back."""
    limits = [it.limit for it in out.values() if it.limit is not None]
    if limits and len(limits) == len(out):
        return rate_limited(min(limits, key=lambda limit: limit.retry_after_ms or 0))
    waits = [it.retry_after_ms for it in out.values() if it.retry_after_ms is not None]
    reasons = "; ".join(f"{name}: {it.reason}" for name, it in out.items())
    return Refusal(
        case=Case.UNAVAILABLE,
        message=f"No provider of {pool} can serve {model!r} now ({reasons}).",
        source=pool,
        retry_after_ms=min(waits) if waits else RETRY_AFTER_MS,
        details={"providers": {name: it.reason for name, it in out.items()}},
    )
