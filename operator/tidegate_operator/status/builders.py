"""One builder for each kind, and a memory of what it was given: a change touches few objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from tidegate_operator.status import aipolicy, clusteraipolicy, providercredential, providerpool
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import WantedStatus
from tidegate_policy.model import ObjectRef

BUILDERS: Final[Mapping[str, Callable[[Facts], WantedStatus]]] = MappingProxyType(
    {
        "AIPolicy": aipolicy.status_of,
        "ClusterAIPolicy": clusteraipolicy.status_of,
        "ProviderCredential": providercredential.status_of,
        "ProviderPool": providerpool.status_of,
    }
)


class Memo:
    """Facts to statuses, those of the last time kept."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[ObjectRef, tuple[Facts, WantedStatus]] = {}

    def statuses(self, found: Mapping[ObjectRef, Facts]) -> dict[ObjectRef, WantedStatus]:
        """The status of each object; the very same value as the last time where no fact has changed."""
        self._known = {ref: self._one(ref, facts) for ref, facts in found.items()}
        return {ref: status for ref, (_, status) in self._known.items()}

    def _one(self, ref: ObjectRef, facts: Facts) -> tuple[Facts, WantedStatus]:
        known = self._known.get(ref)
        return known if known is not None and known[0] == facts else (facts, BUILDERS[ref.kind](facts))
