"""How a provider stands with one call: what is known of it that decides whether it is asked, now or later."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from tidegate_sidecar.policies.base import Rejected
from tidegate_sidecar.policies.choice import Candidate
from tidegate_sidecar.policies.failures import TRAITS, FailureKind

_MS_NS = 1_000_000


class Cause(Enum):
    """What stands between a call and a provider."""

    KEY = "Key"
    """There is none to ask with."""
    LIMIT = "Limit"
    """A rule's limit for this provider is reached."""
    COOLING = "Cooling"
    """It asked for patience."""
    BREAKER = "Breaker"
    """It failed too often, and is left alone."""


class Unavailable(NamedTuple):
    """Why a provider is not asked now.

    Attributes:
        cause: what kind of reason.
        reason: in words that follow the provider's name and a colon.
        retry_after_ms: when it may be asked again, rounded up; None: not by waiting.
        limit: for `Cause.LIMIT`, what the rule said.
    """

    cause: Cause
    reason: str
    retry_after_ms: int | None = None
    limit: Rejected | None = None


class Standing:
    """One candidate as it stands with one call; belongs to that call.

    Attributes:
        candidate: who.
        priority: the candidate's.
        weight: the candidate's.
        asked: how many attempts of this call it was asked in.
        is_refused: this call never asks it again.
        unavailable: why it cannot be asked now, as far as was looked; None: nothing is known against it.
        not_before_ns: when the patience is over that it asked this call for.
    """

    __slots__ = ("asked", "candidate", "is_refused", "not_before_ns", "priority", "unavailable", "weight")

    def __init__(self, candidate: Candidate) -> None:
        """Nothing is known against it."""
        self.candidate = candidate
        self.priority = candidate.priority
        self.weight = candidate.weight
        self.asked = 0
        self.is_refused = False
        self.unavailable: Unavailable | None = None
        self.not_before_ns = 0

    def __repr__(self) -> str:
        why = "refused" if self.is_refused else self.unavailable.reason if self.unavailable else "usable"
        return f"<Standing {self.candidate.id}: asked {self.asked} times, {why}>"

    def failed(
        self, kind: FailureKind, now_ns: int, *, retry_after_ms: int | None = None, may_retry: bool = True
    ) -> None:
        """Take note that an attempt with it failed.

        Args:
            kind: how.
            now_ns: the time.
            retry_after_ms: the patience that it asked for; None: for none.
            may_retry: False: it said itself that it is not to be asked again (`x-should-retry: false`).
        """
        if not (may_retry and TRAITS[kind].again_here):
            self.is_refused = True
        if retry_after_ms is not None:
            self.not_before_ns = now_ns + retry_after_ms * _MS_NS

    def wait_ms(self, now_ns: int) -> int | None:
        """How long it cannot be asked, rounded up; 0: it can be asked now; None: not by this call, or not by waiting."""
        if self.is_refused:
            return None
        patience_ms = max(0, -((now_ns - self.not_before_ns) // _MS_NS))
        if self.unavailable is None:
            return patience_ms
        rest_ms = self.unavailable.retry_after_ms
        # What holds now does not end within this instant, whatever time it named.
        return None if rest_ms is None else max(rest_ms, patience_ms, 1)
