"""The status of a ProviderCredential: whether it is one that sidecars in a cluster can use, never anything of the key."""

from __future__ import annotations

from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.api.providercredential import ProviderCredentialSpec
from tidegate_operator.status import aspects
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import Condition, WantedStatus, no, yes

_NOT_IN_CLUSTER = (
    "source Environment is for `tidegate run`: no sidecar in a cluster has such a variable; use type Secret, "
    "with the key in the Secret tidegate-keys of each namespace that calls"
)


_NO_KEY_MISSING = "No sidecar that uses the credential says that its key is missing."


def status_of(facts: Facts) -> WantedStatus:
    """What the status of a credential should say."""
    conditions = [
        _accepted(facts),
        aspects.keys(facts)
        or yes(ConditionType.RESOLVED_REFS, ConditionReason.RESOLVED_REFS, _NO_KEY_MISSING),
        aspects.enforcement(facts.sidecars, aspects.not_used("No sidecar uses the credential.")),
    ]
    return WantedStatus(
        ref=facts.ref,
        uid=facts.uid,
        generation=facts.generation,
        conditions=(*conditions, aspects.summary(facts, conditions)),
    )


def _accepted(facts: Facts) -> Condition:
    spec = facts.stored.spec
    if (
        facts.stored.problem is None
        and isinstance(spec, ProviderCredentialSpec)
        and spec.source.environment is not None
    ):
        return no(ConditionType.ACCEPTED, ConditionReason.NOT_IN_CLUSTER, _NOT_IN_CLUSTER)
    return aspects.refusal(facts) or aspects.acceptance(facts)
