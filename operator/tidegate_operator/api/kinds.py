"""The kinds of our objects, and everything that is watched: two tables. What is true of one kind stands in its own module."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tidegate_operator.api.aipolicy import AI_POLICY, AIPolicySpec
from tidegate_operator.api.clusteraipolicy import CLUSTER_AI_POLICY, ClusterAIPolicySpec
from tidegate_operator.api.kind import API_VERSION, GROUP, VERSION, Column, Kind, Scope
from tidegate_operator.api.providercredential import PROVIDER_CREDENTIAL, ProviderCredentialSpec
from tidegate_operator.api.providerpool import PROVIDER_POOL, ProviderPoolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "NAMESPACE",
    "POD",
    "VERSION",
    "WATCHED",
    "AnySpec",
    "Column",
    "Kind",
    "Scope",
    "Watched",
    "watched",
]

AnySpec = ProviderPoolSpec | AIPolicySpec | ClusterAIPolicySpec | ProviderCredentialSpec

KINDS: Final[Mapping[str, Kind[Any]]] = MappingProxyType(
    {kind.name: kind for kind in (AI_POLICY, CLUSTER_AI_POLICY, PROVIDER_CREDENTIAL, PROVIDER_POOL)}
)
"""Ours."""

NAMESPACE: Final = "Namespace"
POD: Final = "Pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A kind that the operator watches.

    Attributes:
        api: the apiVersion.
        is_ours: its definition comes with Tidegate.
        is_compiled: see `Kind`. Of pods, configurations take what they belong to, which says nothing about their versions.
        has_status: whether the operator writes one.
    """

    name: str
    api: str
    plural: str
    is_ours: bool
    is_compiled: bool
    has_status: bool


def watched(ours: Mapping[str, Kind[Any]]) -> Mapping[str, Watched]:
    """The table of everything that is watched, where `ours` are our kinds."""
    own = (
        Watched(
            name=kind.name,
            api=API_VERSION,
            plural=kind.plural,
            is_ours=True,
            is_compiled=kind.is_compiled,
            has_status=kind.status is not None,
        )
        for _, kind in sorted(ours.items())
    )
    namespace = Watched(
        name=NAMESPACE, api="v1", plural="namespaces", is_ours=False, is_compiled=True, has_status=False
    )
    pod = Watched(name=POD, api="v1", plural="pods", is_ours=False, is_compiled=False, has_status=False)
    return MappingProxyType({kind.name: kind for kind in (*own, namespace, pod)})


WATCHED: Final = watched(KINDS)
"""Everything that is watched, and the traits of each."""
