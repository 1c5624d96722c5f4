"""The status of an AIPolicy."""

from __future__ import annotations

from tidegate_operator.api.aipolicy import OWN_GROUPS, AIPolicySpec, TargetKind, TargetReference
from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.compile.diagnostics import Diagnostic, Reason
from tidegate_operator.status import aspects
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import Condition, Target, WantedStatus, no, words, yes
from tidegate_operator.status.shown import joined, selected

_ASK = "Have them ask for one with tidegate.dev/inject: enabled, and restart them."


def status_of(facts: Facts) -> WantedStatus:
    """What the status of a policy should say."""
    missing = _missing(facts)
    conditions = [
        _accepted(facts, missing),
        aspects.resolution(facts, missing),
        aspects.enforcement(facts.sidecars, _no_pods(), _bare(facts)),
    ]
    return WantedStatus(
        ref=facts.ref,
        uid=facts.uid,
        generation=facts.generation,
        conditions=(*conditions, aspects.summary(facts, conditions)),
        sidecars=facts.sidecars,
        targets=_targets(facts),
        shown={"appliesTo": _applies_to(facts.stored.spec)},
    )


def _applies_to(spec: object) -> str:
    if not isinstance(spec, AIPolicySpec):
        return ""
    if spec.selector is not None:
        return selected(spec.selector, "all pods")
    return joined([f"{it.qualified_kind}/{it.name}" for it in spec.target_refs or ()])


def _accepted(facts: Facts, missing: list[Diagnostic]) -> Condition:
    found = aspects.refusal(facts) or aspects.conflict(facts)
    if found is not None:
        return found
    spec = facts.stored.spec
    targets = (spec.target_refs or ()) if isinstance(spec, AIPolicySpec) else ()
    if missing and len(missing) == len(targets):
        return no(ConditionType.ACCEPTED, ConditionReason.TARGET_NOT_FOUND, words(missing))
    return aspects.acceptance(facts)


def _missing(facts: Facts) -> list[Diagnostic]:
    """Targets that do not exist. What has no pods may yet get some: a ServiceAccount, or labels that nothing has."""
    spec = facts.stored.spec
    targets = (spec.target_refs or ()) if isinstance(spec, AIPolicySpec) else ()
    return [
        it
        for it in facts.of(Reason.TARGET_NOT_FOUND)
        if it.path[1] == "targetRefs"
        and not (
            isinstance(it.path[2], int)
            and it.path[2] < len(targets)
            and _may_yet_have_pods(targets[it.path[2]])
        )
    ]


def _may_yet_have_pods(target: TargetReference) -> bool:
    """Whether only pods tell that the target is there: the operator may not read objects of other API groups."""
    kind = target.qualified_kind
    return kind == TargetKind.SERVICE_ACCOUNT or kind not in OWN_GROUPS


def _no_pods() -> Condition:
    message = "No pod of its targets runs; the first one will be governed."
    return yes(ConditionType.PROGRAMMED, ConditionReason.NO_PODS, message)


def _bare(facts: Facts) -> Condition | None:
    """Targets whose pods live without a sidecar, all of them: nobody enforces the policy there."""
    bare = [it for it in facts.populations if it.bare and not it.governed]
    if not bare:
        return None
    message = "; ".join(f"{it.place}: {it.bare} pods run, none of them has a sidecar" for it in bare)
    return no(ConditionType.PROGRAMMED, ConditionReason.NO_SIDECARS, f"{message}. {_ASK}")


def _targets(facts: Facts) -> tuple[Target, ...]:
    spec = facts.stored.spec
    governed = {(it.place.kind, it.place.name): it.governed for it in facts.populations}
    return tuple(
        Target(group=it.group, kind=it.kind, name=it.name, pods=governed.get((it.qualified_kind, it.name), 0))
        for it in ((spec.target_refs or ()) if isinstance(spec, AIPolicySpec) else ())
    )
