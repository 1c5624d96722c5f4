"""The conditions that several kinds share: each tells the truth about one aspect, and says what a person needs to act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.compile.diagnostics import Diagnostic, Reason, Severity
from tidegate_operator.status.facts import Facts
from tidegate_operator.status.model import Condition, MissingKey, Sidecars, no, words, yes
from tidegate_policy.keys import KEYS_SECRET, KeyProblem

_UNRESOLVED = (
    (Reason.REF_NOT_FOUND, ConditionReason.REF_NOT_FOUND),
    (Reason.REF_NOT_PERMITTED, ConditionReason.REF_NOT_PERMITTED),
    (Reason.REF_SUSPENDED, ConditionReason.REF_SUSPENDED),
)
"""What the references of an object may lack; the first of them that one lacks is the reason."""

MAX_NAMESPACES: Final = 5
"""Namespaces without a key that one message names."""

_KEY_PROBLEMS: Final[Mapping[str, str]] = {
    KeyProblem.MISSING: f"the Secret {KEYS_SECRET} of that namespace is not there, or has no such key",
    KeyProblem.UNUSABLE: f"the Secret {KEYS_SECRET} has one that is empty, or holds characters that no header can carry",
    KeyProblem.NOT_MOUNTED: "no Secret with keys is mounted in the sidecar",
}

_TOLD_ELSEWHERE = (Reason.SUSPENDED, Reason.REF_SUSPENDED, Reason.TARGET_NOT_FOUND)


def refusal(facts: Facts) -> Condition | None:
    """`Accepted`, where the object itself is at fault."""
    problem = facts.stored.problem
    if problem is not None:
        rest = (
            "The last valid form stays in force."
            if facts.is_in_force
            else "There is no earlier valid form, so what depends on it is refused."
        )
        return no(ConditionType.ACCEPTED, ConditionReason.INVALID, f"{problem}. {rest}")
    invalid = facts.of(Reason.INVALID)
    return no(ConditionType.ACCEPTED, ConditionReason.INVALID, words(invalid)) if invalid else None


def conflict(facts: Facts) -> Condition | None:
    """`Accepted`, where the object competes with others and loses: it holds as long as something of it takes effect."""
    conflicts = facts.of(Reason.CONFLICTED)
    if not conflicts:
        return None
    build = yes if facts.is_effective else no
    return build(ConditionType.ACCEPTED, ConditionReason.CONFLICTED, words(conflicts))


def acceptance(facts: Facts) -> Condition:
    """`Accepted`, where nothing speaks against it; remarks stand in its message."""
    remarks = [
        it for it in facts.findings if it.severity is Severity.WARNING and it.reason not in _TOLD_ELSEWHERE
    ]
    message = words(remarks) or "The object is valid."
    return yes(ConditionType.ACCEPTED, ConditionReason.ACCEPTED, message)


def resolution(facts: Facts, missing: Sequence[Diagnostic] = ()) -> Condition:
    """`ResolvedRefs`; `missing` are targets that do not exist."""
    lacking = facts.of(*(reason for reason, _ in _UNRESOLVED))
    for reason, word in _UNRESOLVED:
        if any(it.reason is reason for it in lacking):
            return no(ConditionType.RESOLVED_REFS, word, words([*lacking, *missing]))
    if missing:
        return no(ConditionType.RESOLVED_REFS, ConditionReason.TARGET_NOT_FOUND, words(missing))
    message = "What the object names exists and may be used."
    return yes(ConditionType.RESOLVED_REFS, ConditionReason.RESOLVED_REFS, message)


def keys(facts: Facts) -> Condition | None:
    """`ResolvedRefs`, where sidecars have no key for a credential."""
    if not facts.missing_keys:
        return None
    told = [_missing(each) for each in facts.missing_keys[:MAX_NAMESPACES]]
    left_out = len(facts.missing_keys) - len(told)
    more = [f"and {left_out} more"] if left_out else []
    return no(ConditionType.RESOLVED_REFS, ConditionReason.KEY_MISSING, "; ".join([*told, *more]))


def _missing(missing: MissingKey) -> str:
    names = ", ".join(missing.names)
    more = f" and {missing.pods - len(missing.names)} more" if missing.pods > len(missing.names) else ""
    cause = _KEY_PROBLEMS.get(missing.problem, "it cannot be used")
    pods = "1 pod has" if missing.pods == 1 else f"{missing.pods} pods have"
    return f"{pods} no key for {missing.credential} in namespace {missing.namespace} ({names}{more}): {cause}"


def enforcement(sidecars: Sidecars, unused: Condition, bare: Condition | None = None) -> Condition:
    """`Programmed`.

    Args:
        sidecars: those that should enforce the object.
        unused: what holds where there are none.
        bare: what holds where pods live that no sidecar governs.
    """
    lagging = f": {'; '.join(sidecars.lagging)}" if sidecars.lagging else ""
    if sidecars.rejected:
        message = f"{sidecars.rejected} of {sidecars.desired} sidecars refused the configuration{lagging}"
        return no(ConditionType.PROGRAMMED, ConditionReason.REJECTED, message)
    if bare is not None:
        return bare
    if sidecars.desired == 0 and sidecars.starting:
        return yes(ConditionType.PROGRAMMED, ConditionReason.NO_PODS, "The pods concerned are starting.")
    if sidecars.desired == 0:
        return unused
    if sidecars.programmed < sidecars.desired:
        message = f"{sidecars.programmed} of {sidecars.desired} sidecars enforce it{lagging}"
        return no(ConditionType.PROGRAMMED, ConditionReason.PENDING, message)
    message = f"All {sidecars.desired} sidecars enforce it."
    return yes(ConditionType.PROGRAMMED, ConditionReason.PROGRAMMED, message)


def not_used(message: str) -> Condition:
    """`Programmed`, where nobody uses the object: there is nothing to wait for."""
    return yes(ConditionType.PROGRAMMED, ConditionReason.NOT_USED, message)


def summary(facts: Facts, conditions: Iterable[Condition]) -> Condition:
    """`Ready`, from all of the others."""
    suspended = facts.of(Reason.SUSPENDED)
    if suspended:
        return no(ConditionType.READY, ConditionReason.SUSPENDED, words(suspended))
    polarity = KINDS[facts.ref.kind].conditions
    bad = [it for it in conditions if it.status != polarity[it.type].good]
    if bad:
        message = "; ".join(f"{it.type.value} is {it.status.value} ({it.reason.value})" for it in bad)
        return no(ConditionType.READY, ConditionReason.NOT_READY, message)
    errors = [it for it in facts.findings if it.severity is Severity.ERROR]
    if errors:
        return no(ConditionType.READY, ConditionReason.NOT_READY, words(errors))
    return yes(ConditionType.READY, ConditionReason.READY, "The object is fully in force.")
