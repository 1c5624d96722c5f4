"""What the application is told where no provider's words can be passed on (PURE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tidegate_policy.model import ObjectRef
from tidegate_sidecar.policies.failures import TRAITS, Told
from tidegate_sidecar.policies.planner import GiveUp
from tidegate_sidecar.policies.standing import Cause, Unavailable
from tidegate_sidecar.proxy.failure import Failure
from tidegate_sidecar.routing.refusal import Case, Refusal, rate_limited
from tidegate_sidecar.telemetry.records import AttemptRecord

RETRY_AFTER_MS: Final = 1_000
"""What a caller is told to wait where nobody knows."""

_CASES: Final = {
    Told.RATE_LIMITED: Case.RATE_LIMITED,
    Told.UNAVAILABLE: Case.UNAVAILABLE,
    Told.TIMEOUT: Case.TIMEOUT,
    Told.UNREACHABLE: Case.UNREACHABLE,
}


_HOPELESS: Final = frozenset(kind.value for kind, traits in TRAITS.items() if not traits.again_here)
"""Results of attempts after which the same provider would not be asked again."""


def case_of(failure: Failure) -> Case:
    """The case that a failure is where nothing followed it."""
    return _CASES[TRAITS[failure.kind].told]


def stream_cut(failure: Failure) -> Refusal:
    """What an application is told whose stream breaks off."""
    return Refusal(case=case_of(failure), message=f"The stream from the provider was cut: {failure.reason}.")


def gave_up(
    pool: ObjectRef,
    model: str,
    step: GiveUp,
    failure: Failure | None,
    *,
    attempts: Sequence[AttemptRecord],
    out: Mapping[str, Unavailable],
) -> Refusal:
    """The refusal of a call after its last attempt, or of one for which nobody could be asked at all.

    Args:
        pool: whose providers these are.
        model: the canonical name.
        step: why nobody else is asked.
        failure: of the last attempt; None where there was none.
        attempts: that were made.
        out: providers that cannot be asked now, by name.
    """
    if failure is None:
        return _nobody(pool, model, step, out)
    count = "1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts"
    reasons = "; ".join(f"{it.provider}: {it.reason}" for it in attempts if it.reason)
    others = "".join(f"; {name}: {it.reason}" for name, it in out.items() if not _was_asked(name, attempts))
    waits = [it for it in (failure.retry_after_ms, step.retry_after_ms) if it is not None]
    traits = TRAITS[failure.kind]
    is_final = not (traits.again_here or traits.elsewhere) or (
        step.retry_after_ms is None and all(_is_hopeless(it) for it in attempts)
    )
    return Refusal(
        case=Case.RATE_LIMITED if step.is_busy else case_of(failure),
        message=f"No provider of {pool} answered for {model!r} ({count}; {reasons}{others}).",
        source=pool,
        retry_after_ms=None if is_final else min(waits, default=RETRY_AFTER_MS),
        details={"attempts": len(attempts)},
        is_final=is_final,
    )


def _nobody(pool: ObjectRef, model: str, step: GiveUp, out: Mapping[str, Unavailable]) -> Refusal:
    """Which provider is out, why, and when it may be back."""
    limits = [it.limit for it in out.values() if it.limit is not None]
    if limits and len(limits) == len(out):
        return rate_limited(min(limits, key=lambda limit: limit.retry_after_ms or 0))
    reasons = "; ".join(f"{name}: {it.reason}" for name, it in out.items())
    retry_after_ms = RETRY_AFTER_MS if step.retry_after_ms is None else step.retry_after_ms
    has_no_key = bool(out) and all(it.cause is Cause.KEY for it in out.values())
    return Refusal(
        case=Case.RATE_LIMITED if step.is_busy else Case.UNAVAILABLE,
        message=f"No provider of {pool} can serve {model!r} now ({reasons}).",
        source=pool,
        retry_after_ms=None if has_no_key else retry_after_ms,
        details={"providers": {name: it.reason for name, it in out.items()}},
        is_final=has_no_key,
    )


def _is_hopeless(attempt: AttemptRecord) -> bool:
    """Whether its provider would answer the same call in the same way."""
    return attempt.result in _HOPELESS


def _was_asked(name: str, attempts: Sequence[AttemptRecord]) -> bool:
    return any(attempt.provider == name for attempt in attempts)
