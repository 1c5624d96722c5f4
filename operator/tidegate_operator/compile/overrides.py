"""What a policy's timeouts and retry make of a pool: lower as written, higher up to what the pool permits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tidegate_operator.compile.diagnostics import Reason
from tidegate_policy.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.api.traffic import RetryOverrides, TimeoutOverrides
    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.pools import ResolvedPool
    from tidegate_operator.compile.precedence import Candidate
    from tidegate_policy.model import Pool

TIMEOUTS: Final[Mapping[str, str]] = {
    "connect": "connect",
    "first_token": "firstToken",
    "stream_idle": "streamIdle",
    "request": "request",
    "stream": "stream",
}
"""Timeouts, and how documents spell them."""


def override(
    resolved: ResolvedPool,
    timeouts: Candidate[TimeoutOverrides] | None,
    retry: Candidate[RetryOverrides] | None,
    findings: Findings,
) -> Pool:
    """The pool as the deciding policies want it, within what the pool permits; what is clamped is told."""
    pool = resolved.pool
    if timeouts is not None:
        pool = _with_timeouts(pool, resolved, timeouts, findings)
    wanted = retry.value.max_attempts if retry else None
    if retry is not None and wanted is not None:
        most = resolved.spec.policy_maximum.retry.max_attempts or pool.retry.max_attempts
        if wanted > most:
            path = ("spec", "retry", "maxAttempts")
            message = _clamped(str(wanted), pool, str(most))
            findings.warning(retry.applying.policy.ref, path, Reason.NOT_ENFORCED, message)
        pool = replace(pool, retry=replace(pool.retry, max_attempts=min(wanted, most)))
    return pool


def timeout_words(timeouts: TimeoutOverrides) -> str:
    """``request 30m, connect 5s``."""
    values = ((word, getattr(timeouts, field)) for field, word in TIMEOUTS.items())
    return ", ".join(f"{word} {value}" for word, value in values if value is not None)


def _with_timeouts(
    pool: Pool, resolved: ResolvedPool, timeouts: Candidate[TimeoutOverrides], findings: Findings
) -> Pool:
    changed = {}
    for field, word in TIMEOUTS.items():
        wanted = getattr(timeouts.value, field)
        if wanted is None:
            continue
        maximum = getattr(resolved.spec.policy_maximum.timeouts, field)
        most_ms = maximum.ms if maximum else getattr(pool.timeouts, f"{field}_ms")
        if wanted.ms > most_ms:
            path = ("spec", "timeouts", word)
            message = _clamped(str(wanted), pool, format_duration(most_ms))
            findings.warning(timeouts.applying.policy.ref, path, Reason.NOT_ENFORCED, message)
        changed[f"{field}_ms"] = min(wanted.ms, most_ms)
    return replace(pool, timeouts=replace(pool.timeouts, **changed))


def _clamped(wanted: str, pool: Pool, most: str) -> str:
    return f"{wanted} is more than {pool.source} lets policies set; there {most} holds"
