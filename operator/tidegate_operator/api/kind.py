"""What a kind of our objects is, and the columns of `kubectl get` that several kinds have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from tidegate_operator.api.conditions import ConditionType
from tidegate_operator.api.section import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.api.conditions import Polarity

GROUP: Final = "tidegate.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

SpecT = TypeVar("SpecT", bound=Section)


class Scope(StrEnum):
    """Whether objects of a kind live in a namespace."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`. Those of `priority` 1 appear with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind(Generic[SpecT]):
    """One kind of our objects: what is true of it, so that nothing else has to know it by name.

    Attributes:
        spec: model of what is wanted.
        status: model of what became of it; None for a kind that has no status.
        conditions: that its status has, and which value of each is good news.
        columns: of `kubectl get`.
        is_compiled: whether configurations are made of it. Only such kinds have versions in what sidecars are told, a place in
            snapshots, and last good forms.
        when_suspended: what its kill switch does.
    """

    name: str
    plural: str
    short_name: str
    scope: Scope
    description: str
    spec: type[SpecT]
    status: type[Section] | None
    conditions: Mapping[ConditionType, Polarity]
    columns: tuple[Column, ...]
    is_compiled: bool = True
    when_suspended: str = "calls are refused"

    @property
    def singular(self) -> str:
        """The singular in lower case."""
        return self.name.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def condition_column(kind: ConditionType, description: str, *, priority: int = 0) -> Column:
    """The status of a condition."""
    return Column(
        name=kind.value,
        path=f'.status.conditions[?(@.type=="{kind.value}")].status',
        description=description,
        priority=priority,
    )


READY: Final = condition_column(ConditionType.READY, "Whether the object is fully in force.")
REASON: Final = Column(
    name="Reason",
    path='.status.conditions[?(@.type=="Ready")].reason',
    description="Why the object is, or is not, fully in force.",
    priority=1,
)
ACCEPTED: Final = condition_column(
    ConditionType.ACCEPTED, "Whether the object is valid and applies to something.", priority=1
)
RESOLVED: Final = condition_column(
    ConditionType.RESOLVED_REFS, "Whether what the object names exists and may be used.", priority=1
)
SUSPENDED: Final = Column(
    name="Suspended",
    path=".spec.suspend",
    description="Whether the kill switch is on.",
    type="boolean",
    priority=1,
)
MODE: Final = Column(
    name="Mode", path=".spec.mode", description="Default mode of the rules, where it is written.", priority=1
)
PROGRAMMED: Final = Column(
    name="Programmed",
    path=".status.sidecars.programmed",
    description="Sidecars that enforce the object.",
    type="integer",
)
DESIRED: Final = Column(
    name="Desired",
    path=".status.sidecars.desired",
    description="Sidecars that should enforce the object.",
    type="integer",
)
AGE: Final = Column(
    name="Age", path=".metadata.creationTimestamp", description="Time since the creation.", type="date"
)
