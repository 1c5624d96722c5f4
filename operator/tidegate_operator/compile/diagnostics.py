"""What a compile says about an object, for whoever shows it: a command line, a condition, an event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tidegate_operator.api.problems import FieldPath, format_path

if TYPE_CHECKING:
    from tidegate_policy.model import ObjectRef

__all__ = ["Diagnostic", "FieldPath", "Reason", "Severity", "format_path"]


class Severity(StrEnum):
    """Error: a part of the object does not take effect. Warning: it does, but perhaps not as meant."""

    ERROR = "Error"
    WARNING = "Warning"


class Reason(StrEnum):
    """Why, in the words of Gateway API where it has them."""

    INVALID = "Invalid"
    CONFLICTED = "Conflicted"
    TARGET_NOT_FOUND = "TargetNotFound"
    REF_NOT_FOUND = "RefNotFound"
    REF_NOT_PERMITTED = "RefNotPermitted"
    REF_SUSPENDED = "RefSuspended"
    OVERRIDDEN = "Overridden"
    SUSPENDED = "Suspended"
    NOT_ENFORCED = "NotEnforced"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Diagnostic:
    """One thing to say about one field of one object."""

    source: ObjectRef
    path: FieldPath = ()
    severity: Severity
    reason: Reason
    message: str
    """What is wrong and what would be right, without the object and the path."""
