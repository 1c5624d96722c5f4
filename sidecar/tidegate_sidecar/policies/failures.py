"""The ways in which an attempt can fail, and what follows from each: one table, and nobody decides beside it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from tidegate_policy.model import RetryOn
from tidegate_sidecar.dialects.base import Verdict


class FailureKind(StrEnum):
    """How an attempt failed, by what its connection or its answer said. The word stands in records and metrics."""

    RATE_LIMITED = "RateLimited"
    """The provider is well and has had enough for now."""
    ACCOUNT_EXHAUSTED = "AccountExhausted"
    """No credit or quota is left; waiting for seconds does not help, another account may."""
    OVERLOADED = "Overloaded"
    SERVER_ERROR = "ServerError"
    TIMEOUT = "Timeout"
    """A deadline passed after the request was sent, or the provider says that one of its own did."""
    CONNECT_FAILURE = "ConnectFailure"
    """DNS, TCP, TLS or a proxy on the way: no byte of the request has left."""
    CONNECT_TIMEOUT = "ConnectTimeout"
    """The same, by running out of time."""
    CLOSED = "Closed"
    """The connection ended after the request was sent and before a byte of an answer."""
    INCOMPLETE = "Incomplete"
    """A good answer began and broke off."""
    GARBAGE = "Garbage"
    """What came is no HTTP or leads elsewhere, so nobody knows what the provider made of the call."""
    UNREADABLE = "Unreadable"
    """A good status, and bytes that no SDK can read. The caller has been charged, so nobody is asked again."""
    KEY_REFUSED = "KeyRefused"
    """The key is wrong, revoked, or may not do this here."""
    MODEL_UNAVAILABLE = "ModelUnavailable"
    """The provider does not have the model (for this key)."""
    CALLER_ERROR = "CallerError"
    """The call itself is wrong: the provider's words go to the caller at once."""
    NOT_ACCEPTED = "NotAccepted"
    """A rule of ours wants another answer than the one that the provider gave."""
    NOT_JUDGED = "NotJudged"
    """A rule of ours has to look at the answer and could not, for its size or its encoding, or had not decided in time; or there
    was no room to hold what has to be held of it."""


class Counts(Enum):
    """On which breaker of a provider a failure counts."""

    NOWHERE = "Nowhere"
    """It says nothing of the provider's health."""
    MODEL = "Model"
    """The one of the model that was asked for."""
    PROVIDER = "Provider"
    """The one of the provider as a whole."""


class Told(Enum):
    """What the caller is told after the last attempt, where there are no words of a provider to pass on.

    The members' names are those of the cases of refusals.
    """

    RATE_LIMITED = "RateLimited"
    UNAVAILABLE = "Unavailable"
    TIMEOUT = "Timeout"
    UNREACHABLE = "Unreachable"


class Traits(NamedTuple):
    """What follows from a kind of failure.

    Attributes:
        retry_on: the word of `retry.retryOn` that permits another attempt; None: no word does, see `elsewhere`.
        again_here: the same provider may be asked again by the same call.
        elsewhere: another provider may be asked; where `retry_on` is None, whatever `retryOn` says.
        counts: on which breaker it counts.
        cools: a Retry-After that comes with it is heeded by other calls, too.
        told: what the caller is told if this was the last attempt.
    """

    retry_on: RetryOn | None
    again_here: bool
    elsewhere: bool
    counts: Counts
    cools: bool
    told: Told


def _retried(
    word: RetryOn, counts: Counts, told: Told, *, again_here: bool = True, cools: bool = True
) -> Traits:
    return Traits(word, again_here, elsewhere=True, counts=counts, cools=cools, told=told)


def _final(counts: Counts, told: Told, *, elsewhere: bool) -> Traits:
    return Traits(None, again_here=False, elsewhere=elsewhere, counts=counts, cools=False, told=told)


TRAITS: Final[Mapping[FailureKind, Traits]] = MappingProxyType(
    {
        FailureKind.RATE_LIMITED: _retried(RetryOn.RATE_LIMITED, Counts.NOWHERE, Told.RATE_LIMITED),
        FailureKind.ACCOUNT_EXHAUSTED: _retried(
            RetryOn.RATE_LIMITED, Counts.NOWHERE, Told.RATE_LIMITED, again_here=False
        ),
        FailureKind.OVERLOADED: _retried(RetryOn.OVERLOADED, Counts.MODEL, Told.UNAVAILABLE),
        FailureKind.SERVER_ERROR: _retried(RetryOn.SERVER_ERROR, Counts.MODEL, Told.UNAVAILABLE),
        FailureKind.TIMEOUT: _retried(RetryOn.TIMEOUT, Counts.MODEL, Told.TIMEOUT),
        FailureKind.CONNECT_FAILURE: _retried(
            RetryOn.CONNECT_FAILURE, Counts.PROVIDER, Told.UNREACHABLE, cools=False
        ),
        FailureKind.CONNECT_TIMEOUT: _retried(
            RetryOn.CONNECT_FAILURE, Counts.PROVIDER, Told.TIMEOUT, cools=False
        ),
        FailureKind.CLOSED: _retried(RetryOn.SERVER_ERROR, Counts.MODEL, Told.UNREACHABLE, cools=False),
        FailureKind.INCOMPLETE: _retried(RetryOn.SERVER_ERROR, Counts.MODEL, Told.UNREACHABLE, cools=False),
        FailureKind.GARBAGE: _retried(RetryOn.SERVER_ERROR, Counts.MODEL, Told.UNREACHABLE, cools=False),
        FailureKind.UNREADABLE: _final(Counts.MODEL, Told.UNREACHABLE, elsewhere=False),
        FailureKind.KEY_REFUSED: _final(Counts.NOWHERE, Told.UNAVAILABLE, elsewhere=True),
        FailureKind.MODEL_UNAVAILABLE: _final(Counts.NOWHERE, Told.UNAVAILABLE, elsewhere=True),
        FailureKind.CALLER_ERROR: _final(Counts.NOWHERE, Told.UNAVAILABLE, elsewhere=False),
        FailureKind.NOT_ACCEPTED: Traits(
            None,
            again_here=True,
            elsewhere=True,
            counts=Counts.NOWHERE,
            cools=False,
            told=Told.UNAVAILABLE,
        ),
        FailureKind.NOT_JUDGED: _final(Counts.NOWHERE, Told.UNREACHABLE, elsewhere=False),
    }
)
"""The table."""

KIND_OF: Final[Mapping[Verdict, FailureKind]] = MappingProxyType(
    {
        Verdict.CALLER_ERROR: FailureKind.CALLER_ERROR,
        Verdict.RATE_LIMITED: FailureKind.RATE_LIMITED,
        Verdict.ACCOUNT_EXHAUSTED: FailureKind.ACCOUNT_EXHAUSTED,
        Verdict.OVERLOADED: FailureKind.OVERLOADED,
        Verdict.SERVER_ERROR: FailureKind.SERVER_ERROR,
        Verdict.TIMEOUT: FailureKind.TIMEOUT,
        Verdict.KEY_REFUSED: FailureKind.KEY_REFUSED,
        Verdict.MODEL_UNAVAILABLE: FailureKind.MODEL_UNAVAILABLE,
    }
)
"""What a dialect's verdict is as a failure; `Verdict.SERVED` is none."""
