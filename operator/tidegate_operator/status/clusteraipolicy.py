"""The status of a ClusterAIPolicy: a floor, which is in force for whoever will opt in."""

from __future__ import annotations

from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.status import aspects
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import WantedStatus, words


def status_of(facts: Facts) -> WantedStatus:
    """What the status of a cluster-scoped policy should say."""
    unmatched = words(facts.of(Reason.TARGET_NOT_FOUND))
    unused = aspects.not_used(unmatched or "No pod in the chosen namespaces has a sidecar.")
    conditions = [
        aspects.refusal(facts) or aspects.conflict(facts) or aspects.acceptance(facts),
        aspects.resolution(facts),
        aspects.enforcement(facts.sidecars, unused),
    ]
    return WantedStatus(
        ref=facts.ref,
        uid=facts.uid,
        generation=facts.generation,
        conditions=(*conditions, aspects.summary(facts, conditions)),
        sidecars=facts.sidecars,
    )
