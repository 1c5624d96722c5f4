"""Sample: one document with the verdicts that are expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from tidegate_operator.api.problems import format_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.api.kinds import Kind
    from tidegate_operator.api.problems import FieldPath

Document = dict[str, Any]

Changes = dict[str, Any]
"""Field of a section to its new value; `places.ABSENT` leaves the field out."""


class Stricter(Enum):
    """Why we refuse what the API server lets pass. The value is the reason; there are no others."""

    NULL = (
        "The server drops a null or puts the default there: that could lift what a list was meant to forbid."
    )
    POINT_ZERO = "The server takes 1.0 for a whole number; for us a decimal point in a count is a mistake."
    LONG_DURATION = "A pattern does not calculate: 366d is right, and 8785h is more."
    DURATION_ORDER = "CEL's durations know no days; a rule would have to take both texts apart and calculate."
    POOL_MAXIMUM = (
        "Timeouts as above; the attempts are compared in the same check, so that both are told alike."
    )
    HOST = "A rule that reads addresses costs more than the server allows for 32 providers."
    MODEL_NAMES = "A rule that compares names and aliases of 64 models costs more than the server allows."
    CLUSTER_NAMESPACE = (
        "The server drops the namespace; who wrote it believes that the object is about that one."
    )
    GENERATED_NAME = (
        "A file must say which object it is; only `kubectl create` lets the server choose the name."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One document.

    Attributes:
        kind: its kind.
        field: the place that the sample is about; where something is wrong, both verdicts must name it.
        what: what is there, in a few words: what is wrong, or what is just right.
        document: the whole object.
        said: words of the API server's refusal; empty when it accepts the document.
        ours: our refusal. Empty when we accept the document, and where the place alone is compared.
        stricter: why we refuse what the server accepts; None where both agree.
    """

    kind: Kind[Any]
    field: FieldPath
    what: str
    document: Document
    said: str = ""
    ours: str = ""
    stricter: Stricter | None = None

    @property
    def name(self) -> str:
        """The name of the test."""
        return f"{self.kind.name} {format_path(self.field)}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSamples:
    """What breaks one CEL rule, and what keeps it, by what is remarkable about it.

    Attributes:
        broken: changes that break it, and nothing else.
        kept: changes that keep it.
        ours: our own words for what is broken, where they are more precise than the rule's.
    """

    broken: Mapping[str, Changes]
    kept: Mapping[str, Changes]
    ours: Mapping[str, str] = field(default_factory=dict)
