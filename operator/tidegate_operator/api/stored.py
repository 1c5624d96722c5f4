"""Stored: one object of ours, read from wherever it was kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_policy.model import ObjectRef

SpecT_co = TypeVar("SpecT_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Generic[SpecT_co]):
    """One object of ours, parsed.

    Attributes:
        ref: kind, namespace and name.
        created: creationTimestamp as RFC 3339 in UTC, which sorts as text; empty where there is none (files).
            Among equals the older object wins, then namespace/name; no timestamp counts as oldest.
        generation: metadata.generation, 0 where there is none.
        spec: the parsed spec that is in force. None when the object has never been valid: what it applies to is
            denied, since nobody can say what it would have allowed.
        problem: why the newest form of the object is not in force; None when `spec` is the newest form.
        targets: for an object with `spec` None, the raw spec, from which the compiler reads as much of the
            targets as is readable.
    """

    ref: ObjectRef
    created: str = ""
    generation: int = 0
    spec: SpecT_co | None
    problem: str | None = None
    targets: Mapping[str, object] = field(default_factory=dict)
