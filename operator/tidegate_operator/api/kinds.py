"""The kinds: their names, scope, models, and what `kubectl get` shows of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tidegate_operator.api.aipolicy import AIPolicySpec
from tidegate_operator.api.clusteraipolicy import ClusterAIPolicySpec
from tidegate_operator.api.conditions import ConditionType
from tidegate_operator.api.providercredential import ProviderCredentialSpec
from tidegate_operator.api.providerpool import ProviderPoolSpec
from tidegate_operator.api.status import (
    AIPolicyStatus,
    ClusterAIPolicyStatus,
    ProviderCredentialStatus,
    ProviderPoolStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.api.section import Section

GROUP: Final = "tidegate.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

AnySpec = ProviderPoolSpec | AIPolicySpec | ClusterAIPolicySpec | ProviderCredentialSpec


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of our objects."""

    name: str
    plural: str
    short_name: str
    scope: Scope
    description: str
    spec: type[Section]
    status: type[Section]
    columns: tuple[Column, ...]

    @property
    def singular(self) -> str:
        """The singular in lower case."""
        return self.name.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def _condition(kind: ConditionType, description: str, *, priority: int = 0) -> Column:
    return Column(
        name=kind.value,
        path=f'.status.conditions[?(@.type=="{kind.value}")].status',
        description=description,
        priority=priority,
    )


_READY: Final = _condition(ConditionType.READY, "Whether the object is fully in force.")
_REASON: Final = Column(
    name="Reason",
    path='.status.conditions[?(@.type=="Ready")].reason',
    description="Why the object is, or is not, fully in force.",
    priority=1,
)
_ACCEPTED: Final = _condition(
    ConditionType.ACCEPTED, "Whether the object is valid and applies to something.", priority=1
)
_RESOLVED: Final = _condition(
    ConditionType.RESOLVED_REFS, "Whether what the object names exists and may be used.", priority=1
)
_SUSPENDED: Final = Column(
    name="Suspended",
    path=".spec.suspend",
    description="Whether the kill switch is on.",
    type="boolean",
    priority=1,
)
_MODE: Final = Column(
    name="Mode", path=".spec.mode", description="Default mode of the rules, where it is written.", priority=1
)
_PROGRAMMED: Final = Column(
    name="Programmed",
    path=".status.sidecars.programmed",
    description="Sidecars that enforce the object.",
    type="integer",
)
_DESIRED: Final = Column(
    name="Desired",
    path=".status.sidecars.desired",
    description="Sidecars that should enforce the object.",
    type="integer",
)
_TARGETS: Final = Column(
    name="Targets",
    path=".status.appliesTo",
    description="What the policy applies to: its targets, or the labels of pods.",
)
_NAMESPACES: Final = Column(
    name="Namespaces",
    path=".status.appliesTo",
    description="Labels of the namespaces that the policy applies to.",
)
_PROVIDERS: Final = Column(
    name="Providers", path=".status.providerNames", description="The providers of the pool."
)
_DEGRADED: Final = _condition(ConditionType.DEGRADED, "Whether providers are out of order.", priority=1)
_SOURCE: Final = Column(name="Source", path=".spec.source.type", description="Where the key comes from.")
_AGE: Final = Column(
    name="Age", path=".metadata.creationTimestamp", description="Time since the creation.", type="date"
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(
                name="AIPolicy",
                plural="aipolicies",
                short_name="aip",
                scope=Scope.NAMESPACED,
                description="What the AI calls of workloads in one namespace may do: models, pools, limits, identity.",
                spec=AIPolicySpec,
                status=AIPolicyStatus,
                columns=(
                    _READY,
                    _PROGRAMMED,
                    _DESIRED,
                    _TARGETS,
                    _AGE,
                    _REASON,
                    _MODE,
                    _SUSPENDED,
                    _ACCEPTED,
                    _RESOLVED,
                ),
            ),
            Kind(
                name="ClusterAIPolicy",
                plural="clusteraipolicies",
                short_name="caip",
                scope=Scope.CLUSTER,
                description=(
                    "What the AI calls of all workloads in the chosen namespaces may do. "
                    "No policy in a namespace loosens it."
                ),
                spec=ClusterAIPolicySpec,
                status=ClusterAIPolicyStatus,
                columns=(
                    _READY,
                    _PROGRAMMED,
                    _DESIRED,
                    _NAMESPACES,
                    _AGE,
                    _REASON,
                    _MODE,
                    _SUSPENDED,
                    _ACCEPTED,
                    _RESOLVED,
                ),
            ),
            Kind(
                name="ProviderCredential",
                plural="providercredentials",
                short_name="pcred",
                scope=Scope.NAMESPACED,
                description="Where the key of a provider is found. The key itself never stands in an object.",
                spec=ProviderCredentialSpec,
                status=ProviderCredentialStatus,
                columns=(_READY, _SOURCE, _AGE, _REASON, _SUSPENDED, _ACCEPTED),
            ),
            Kind(
                name="ProviderPool",
                plural="providerpools",
                short_name="pp",
                scope=Scope.NAMESPACED,
                description="Providers of models that can stand in for each other, and how calls reach them.",
                spec=ProviderPoolSpec,
                status=ProviderPoolStatus,
                columns=(
                    _READY,
                    _PROGRAMMED,
                    _DESIRED,
                    _PROVIDERS,
                    _AGE,
                    _REASON,
                    _DEGRADED,
                    _SUSPENDED,
                    _ACCEPTED,
                    _RESOLVED,
                ),
            ),
        )
    }
)
