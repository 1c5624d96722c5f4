"""The status of a ProviderPool."""

from __future__ import annotations

from tidegate_operator.api.conditions import ConditionReason
from tidegate_operator.api.providerpool import ProviderPoolSpec
from tidegate_operator.status import aspects
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import Condition, WantedStatus
from tidegate_operator.status.shown import joined


def status_of(facts: Facts) -> WantedStatus:
    """What the status of a pool should say."""
    conditions = [
        aspects.refusal(facts) or aspects.acceptance(facts),
        _resolution(facts),
        aspects.enforcement(facts.sidecars, aspects.not_used("No sidecar uses the pool.")),
    ]
    return WantedStatus(
        ref=facts.ref,
        uid=facts.uid,
        generation=facts.generation,
        conditions=(*conditions, aspects.summary(facts, conditions)),
        sidecars=facts.sidecars,
        shown={"providerNames": _provider_names(facts.stored.spec)},
    )


def _resolution(facts: Facts) -> Condition:
    """A reference that leads nowhere comes before a key that is not there: sidecars have heard of neither."""
    resolution = aspects.resolution(facts)
    is_resolved = resolution.reason is ConditionReason.RESOLVED_REFS
    return (aspects.keys(facts) or resolution) if is_resolved else resolution


def _provider_names(spec: object) -> str:
    return joined([it.name for it in spec.providers]) if isinstance(spec, ProviderPoolSpec) else ""
