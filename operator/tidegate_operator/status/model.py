"""A status as it should be: what builders make and the writer writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.api.status import ConditionStatus
from tidegate_operator.compile.diagnostics import Diagnostic, format_path
from tidegate_policy.model import ObjectRef

MAX_MESSAGE: Final = 2_000
"""Characters of a message; more would be read by nobody, and etcd keeps them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecars:
    """How many sidecars an object concerns; `lagging` says in words who does not enforce it, `starting` do not count yet."""

    desired: int = 0
    programmed: int = 0
    rejected: int = 0
    starting: int = 0
    lagging: tuple[str, ...] = ()


class MissingKey(NamedTuple):
    """Pods of one namespace that have no key for one credential, all for the same reason.

    Attributes:
        problem: one of `KeyProblem`, or a word of a later release.
        pods: how many.
        names: of the first of them, sorted.
    """

    credential: ObjectRef
    namespace: str
    problem: str
    pods: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition as it should be; when it last changed is for `merge` to know."""

    type: ConditionType
    status: ConditionStatus
    reason: ConditionReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One entry of `status.targets`; `pods` have a sidecar."""

    kind: str
    name: str
    pods: int
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStatus:
    """The status that an object should have.

    Attributes:
        generation: of the object, when it was looked at.
        sidecars: None where the kind has no such field.
        targets: None where the kind has no such field.
        shown: field of the status to what a column of `kubectl get` has from it.
    """

    ref: ObjectRef
    uid: str
    generation: int
    conditions: tuple[Condition, ...]
    sidecars: Sidecars | None = None
    targets: tuple[Target, ...] | None = None
    shown: Mapping[str, str] = field(default_factory=dict)


def yes(kind: ConditionType, reason: ConditionReason, message: str) -> Condition:
    """A condition that holds."""
    return Condition(type=kind, status=ConditionStatus.TRUE, reason=reason, message=_bounded(message))


def no(kind: ConditionType, reason: ConditionReason, message: str) -> Condition:
    """A condition that does not hold."""
    return Condition(type=kind, status=ConditionStatus.FALSE, reason=reason, message=_bounded(message))


def words(findings: Sequence[Diagnostic]) -> str:
    """Findings as one message, each with its field."""
    return "; ".join(f"{format_path(it.path)}: {it.message}" if it.path else it.message for it in findings)


def _bounded(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
