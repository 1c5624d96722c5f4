"""Conditions: what an object's status says, and why it may say so.

As in Gateway API: each condition is True, False or Unknown, with a reason in one word. `REASONS` is the whole
vocabulary; alerts and people rely on it. `CONDITIONS` says which conditions a kind has, and which status is the good one.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConditionType(StrEnum):
    """What a condition is about."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"
    DEGRADED = "Degraded"
    READY = "Ready"


class ConditionReason(StrEnum):
    """Why a condition is as it is."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    CONFLICTED = "Conflicted"
    TARGET_NOT_FOUND = "TargetNotFound"
    NOT_IN_CLUSTER = "NotInCluster"
    RESOLVED_REFS = "ResolvedRefs"
    REF_NOT_FOUND = "RefNotFound"
    REF_NOT_PERMITTED = "RefNotPermitted"
    REF_SUSPENDED = "RefSuspended"
    KEY_MISSING = "KeyMissing"
    RESTART_REQUIRED = "RestartRequired"
    PROGRAMMED = "Programmed"
    PENDING = "Pending"
    REJECTED = "Rejected"
    NO_SIDECARS = "NoSidecars"
    NO_PODS = "NoPods"
    NOT_USED = "NotUsed"
    SUSPENDED = "Suspended"
    AS_EXPECTED = "AsExpected"
    PROVIDERS_OPEN = "ProvidersOpen"
    READY = "Ready"
    NOT_READY = "NotReady"


REASONS: Final[Mapping[ConditionType, frozenset[ConditionReason]]] = MappingProxyType(
    {
        # the object itself: True even when another one overrides a part of it, unless nothing of it takes effect
        ConditionType.ACCEPTED: frozenset(
            {
                ConditionReason.ACCEPTED,
                ConditionReason.INVALID,
                ConditionReason.CONFLICTED,
                ConditionReason.TARGET_NOT_FOUND,
                ConditionReason.NOT_IN_CLUSTER,
            }
        ),
        # what it names: found, and allowed to be used
        ConditionType.RESOLVED_REFS: frozenset(
            {
                ConditionReason.RESOLVED_REFS,
                ConditionReason.REF_NOT_FOUND,
                ConditionReason.REF_NOT_PERMITTED,
                ConditionReason.REF_SUSPENDED,
                ConditionReason.KEY_MISSING,
                ConditionReason.TARGET_NOT_FOUND,
                ConditionReason.RESTART_REQUIRED,
            }
        ),
        # the sidecars: all of those that should enforce it do, and no pod that should have one goes without; True also
        # where there is nobody to enforce it (NoPods, NotUsed), since nothing is to be waited for
        ConditionType.PROGRAMMED: frozenset(
            {
                ConditionReason.PROGRAMMED,
                ConditionReason.PENDING,
                ConditionReason.REJECTED,
                ConditionReason.NO_SIDECARS,
                ConditionReason.NO_PODS,
                ConditionReason.NOT_USED,
            }
        ),
        # the world outside: True is bad news
        ConditionType.DEGRADED: frozenset({ConditionReason.AS_EXPECTED, ConditionReason.PROVIDERS_OPEN}),
        # the summary of the others, for tools that read one condition
        ConditionType.READY: frozenset(
            {ConditionReason.READY, ConditionReason.NOT_READY, ConditionReason.SUSPENDED}
        ),
    }
)


class Polarity(StrEnum):
    """Which status of a condition is good news; the value is that status."""

    POSITIVE = "True"
    NEGATIVE = "False"

    @property
    def good(self) -> str:
        """The status that nobody has to act on."""
        return self.value


ENFORCED: Final[Mapping[ConditionType, Polarity]] = MappingProxyType(
    {
        ConditionType.ACCEPTED: Polarity.POSITIVE,
        ConditionType.RESOLVED_REFS: Polarity.POSITIVE,
        ConditionType.PROGRAMMED: Polarity.POSITIVE,
        ConditionType.DEGRADED: Polarity.NEGATIVE,
        ConditionType.READY: Polarity.POSITIVE,
    }
)
"""The conditions of a kind that sidecars enforce."""
