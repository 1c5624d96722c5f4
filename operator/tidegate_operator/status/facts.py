"""All that the status of one object is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.stored import Stored
from tidegate_operator.compile.compilation import Compilation
from tidegate_operator.compile.diagnostics import Diagnostic, Reason
from tidegate_operator.index.objects import Held
from tidegate_operator.status.model import MissingKey, Sidecars
from tidegate_operator.status.population import Place, places_of
from tidegate_policy.model import ObjectRef

_NO_SIDECARS: Final = Sidecars()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The pods of all places that policies name.

    Attributes:
        governed: those with a sidecar.
        bare: those without, of places that have no other.
    """

    governed: Mapping[Place, int]
    bare: Mapping[Place, int]


class Population(NamedTuple):
    """The pods of one place."""

    place: Place
    governed: int
    bare: int


class Facts(NamedTuple):
    """What is known about one object.

    Attributes:
        is_in_force: a valid form of it is, the newest or an earlier one.
        is_effective: some setting of it holds for some workload.
        populations: of each place that a policy names.
        missing_keys: of a credential, or of the credentials of a pool, in sidecars.
    """

    stored: Stored[Any]
    uid: str
    generation: int
    findings: tuple[Diagnostic, ...]
    is_in_force: bool
    is_effective: bool
    sidecars: Sidecars
    populations: tuple[Population, ...]
    missing_keys: tuple[MissingKey, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        """The object."""
        return self.stored.ref

    def of(self, *reasons: Reason) -> list[Diagnostic]:
        """The findings with one of these reasons."""
        return [it for it in self.findings if it.reason in reasons]


def gather(
    compilation: Compilation,
    held: Mapping[ObjectRef, Held],
    in_force: frozenset[ObjectRef],
    sidecars: Mapping[ObjectRef, Sidecars],
    pods: Pods,
    *,
    missing_keys: Mapping[ObjectRef, tuple[MissingKey, ...]] | None = None,
) -> dict[ObjectRef, Facts]:
    """The facts about each object.

    Args:
        compilation: what was compiled.
        held: the objects it was compiled from.
        in_force: those that have a valid form in force.
        sidecars: of the objects that concern any.
        pods: of the places that policies name.
        missing_keys: of credentials and pools; those that are not there miss none.
    """
    missing = missing_keys or {}
    findings: dict[ObjectRef, list[Diagnostic]] = {}
    for diagnostic in compilation.diagnostics:
        findings.setdefault(diagnostic.source, []).append(diagnostic)
    effective = {
        setting.source for settings in compilation.settings.values() for setting in settings if setting.source
    }
    return {
        ref: Facts(
            stored=it.stored,
            uid=it.uid,
            generation=it.generation,
            findings=tuple(findings.get(ref, ())),
            is_in_force=ref in in_force,
            is_effective=ref in effective,
            sidecars=sidecars.get(ref, _NO_SIDECARS),
            populations=tuple(
                Population(place, pods.governed.get(place, 0), pods.bare.get(place, 0))
                for place in places_of(ref, it.stored)
            ),
            missing_keys=missing.get(ref, ()),
        )
        for ref, it in held.items()
        if KINDS[ref.kind].status is not None
    }
