"""What to tell of workloads whose pods lack a sidecar, and when (PURE): once, until they have been well in between."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from tidegate_operator.api.workloads import WORKLOADS, Renewal
from tidegate_operator.coverage.count import Lack, WorkloadName
from tidegate_operator.inject.decide import UNPROTECTED, Deny, DenyReason, Skip, decide
from tidegate_operator.inject.document import Document
from tidegate_operator.inject.names import INJECT
from tidegate_operator.inject.optin import Choice
from tidegate_operator.inject.template import Template

RESTART_REQUIRED: Final = "RestartRequired"
UNEXAMINED: Final = "Unexamined"
"""Stands for a reason where none of a workload's pods has been looked at yet."""

PATIENCE: Final = 2
"""Counts in a row that have to find a lack before it is told: pods that are just being replaced are no news."""
PATIENCE_ON_THE_WAY: Final = 5
"""The same where some pods have their sidecar: most often the others are being replaced already."""
MAX_AT_ONCE: Final = 200
"""Workloads that are told of after one count; the others have their turn after the next."""
MAX_REMEMBERED: Final = 20_000

_ANY: Final = Template(version="", image="", operator_url="")
"""The injector's own is not known here, and no reason to leave a pod as it is depends on it."""
_OF_THE_PLATFORM: Final = (DenyReason.WRONG_OVERRIDE, DenyReason.WRONG_INJECT)


class Finding(NamedTuple):
    """Why a pod has no sidecar.

    Attributes:
        reason: of the event, and label of the metric.
        why: in words; empty where a restart is all that it takes.
    """

    reason: str
    why: str = ""


def examine(pod: Document) -> Finding | None:
    """Ask the injector's own rules about a pod that has no sidecar; None when it wants none any more."""
    decision = decide(pod, _ANY, by_namespace=True)
    if isinstance(decision, Skip):
        return (
            Finding(decision.reason.value, decision.reason.message)
            if decision.reason in UNPROTECTED
            else None
        )
    if isinstance(decision, Deny) and decision.reason not in _OF_THE_PLATFORM:
        return Finding(RESTART_REQUIRED, f"as they are, new ones would be refused: {decision.message}")
    return Finding(RESTART_REQUIRED)


def note(name: WorkloadName, lack: Lack, injected: int, finding: Finding) -> str:
    """The event's words: how many, why, what to do."""
    count = f"{lack.pods} of {lack.pods + injected} pods run without a sidecar"
    if finding.reason != RESTART_REQUIRED:
        return f"{count}: {finding.why}"
    since = f"{count}, the oldest since {lack.sample.created}: they started before it was asked for, or past the injector"
    return "; ".join(part for part in (since, finding.why, _advice(name)) if part)


def _advice(name: WorkloadName) -> str:
    namespace, kind, own = name
    if kind == "Pod":
        return "create the pod anew"
    known = WORKLOADS.get(kind)
    match known.renewal if known is not None else Renewal.OWNER:
        case Renewal.ROLLOUT:
            return f"restart them: kubectl -n {namespace} rollout restart {kind.lower()}/{own}"
        case Renewal.NEXT_RUN:
            return (
                "these end as they are; so that the next Jobs get one: "
                f"kubectl -n {namespace} annotate --overwrite {kind.lower()}/{own} {INJECT}={Choice.ENABLED}"
            )
        case Renewal.RECREATE:
            return f"a {kind}'s pods stay as they are: create the {kind} anew"
        case Renewal.OWNER:
            return f"delete them, and their {kind} makes new ones"


@dataclass(slots=True)
class _Known:
    """A workload that lacks something; `reason` is empty until it was told of."""

    counts: int = 0
    reason: str = ""


class Shortfalls:
    """Remembers what was found and told."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[WorkloadName, _Known] = {}
        self._episodes: OrderedDict[WorkloadName, int] = OrderedDict()

    def counted(self, lacking: Mapping[WorkloadName, Lack]) -> None:
        """Take in a count; workloads that lack nothing any more are well."""
        for name in self._known.keys() - lacking.keys():
            if self._known.pop(name).reason:
                self._episodes[name] = self._episodes.get(name, 0) + 1
                self._episodes.move_to_end(name)
        while len(self._episodes) > MAX_REMEMBERED:
            self._episodes.popitem(last=False)
        for name in lacking:
            self._known.setdefault(name, _Known()).counts += 1

    def due(self, injected: Mapping[WorkloadName, int]) -> Iterator[WorkloadName]:
        """Whom to tell of now."""
        yielded = 0
        for name, known in self._known.items():
            patience = PATIENCE_ON_THE_WAY if injected.get(name) else PATIENCE
            if not known.reason and known.counts >= patience:
                yield name
                yielded += 1
                if yielded == MAX_AT_ONCE:
                    return

    def told(self, name: WorkloadName, finding: Finding) -> None:
        """A workload was told of."""
        self._known[name].reason = finding.reason

    def episode(self, name: WorkloadName) -> int:
        """How often a workload was told of and well again: two replicas that lead in turn tell the same of the first."""
        return self._episodes.get(name, 0)

    def reasons(self) -> Mapping[str, int]:
        """How many workloads lack something, by reason."""
        return Counter(known.reason or UNEXAMINED for known in self._known.values())
