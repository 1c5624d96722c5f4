"""The status of a ClusterAIPolicy: a floor, which is in force for whoever will opt in."""

from __future__ import annotations

from tidegate_operator.api.clusteraipolicy import ClusterAIPolicySpec
from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.status import aspects
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import WantedStatus, words
from tidegate_operator.status.shown import selected


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
        shown={"appliesTo": _applies_to(facts.stored.spec)},
    )


def _applies_to(spec: object) -> str:
    return (
        selected(spec.namespace_selector, "all namespaces") if isinstance(spec, ClusterAIPolicySpec) else ""
    )
