"""The status of a ProviderPool."""

from __future__ import annotations

from tidegate_operator.status import aspects
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import WantedStatus


def status_of(facts: Facts) -> WantedStatus:
    """What the status of a pool should say."""
    conditions = [
        aspects.refusal(facts) or aspects.acceptance(facts),
        aspects.resolution(facts),
        aspects.enforcement(facts.sidecars, aspects.not_used("No sidecar uses the pool.")),
    ]
    return WantedStatus(
        ref=facts.ref,
        uid=facts.uid,
        generation=facts.generation,
        conditions=(*conditions, aspects.summary(facts, conditions)),
        sidecars=facts.sidecars,
    )
