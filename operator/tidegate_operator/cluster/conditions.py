"""What an object's status should say (PURE): from what a compile found and what sidecars answered.

`api/conditions.py` has the vocabulary. A condition tells the truth about one aspect, `Ready` sums them up, and every
message says what a person needs to act: the field, the other object, the pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tidegate_operator.api.aipolicy import AIPolicySpec, TargetKind
from tidegate_operator.api.conditions import ConditionReason, ConditionType
from tidegate_operator.api.providercredential import ProviderCredentialSpec
from tidegate_operator.api.status import ConditionStatus
from tidegate_operator.api.stored import Stored
from tidegate_operator.compile.compilation import Compilation
from tidegate_operator.compile.diagnostics import Diagnostic, Reason, Severity, format_path
from tidegate_operator.index.objects import Held
from tidegate_operator.index.snapshot import Workload
from tidegate_policy.model import ObjectRef

MAX_MESSAGE = 2_000
"""Characters of a message; more would be read by nobody, and etcd keeps them all."""

_RESOLVED_KINDS = ("AIPolicy", "ClusterAIPolicy", "ProviderPool")
_POLICY_KINDS = ("AIPolicy", "ClusterAIPolicy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecars:
    """How many sidecars an object concerns; `lagging` says in words who does not enforce it, `starting` do not count yet."""

    desired: int = 0
    programmed: int = 0
    rejected: int = 0
    starting: int = 0
    lagging: tuple[str, ...] = ()


_NONE: Final = Sidecars()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One condition as it should be; when it last changed is for `status.merge` to know."""

    type: ConditionType
    status: ConditionStatus
    reason: ConditionReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One entry of `status.targets`."""

    kind: str
    name: str
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStatus:
    """The status that an object should have.

    Attributes:
        generation: of the object, when it was looked at.
        sidecars: None where the kind has no such field.
        targets: None where the kind has no such field.
    """

    ref: ObjectRef
    uid: str
    generation: int
    conditions: tuple[Wanted, ...]
    sidecars: Sidecars | None = None
    targets: tuple[Target, ...] | None = None


class Facts(NamedTuple):
    """All that the status of one object is made from."""

    stored: Stored[Any]
    uid: str
    generation: int
    findings: tuple[Diagnostic, ...]
    is_in_force: bool
    is_effective: bool
    sidecars: Sidecars
    targets: tuple[Target, ...] | None


class Memo:
    """Facts to statuses, those of the last time kept: a change touches few objects."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[ObjectRef, tuple[Facts, WantedStatus]] = {}

    def statuses(self, found: Mapping[ObjectRef, Facts]) -> dict[ObjectRef, WantedStatus]:
        """The status of each object; the very same value as the last time where no fact has changed."""
        self._known = {ref: self._one(ref, own) for ref, own in found.items()}
        return {ref: status for ref, (_, status) in self._known.items()}

    def _one(self, ref: ObjectRef, own: Facts) -> tuple[Facts, WantedStatus]:
        known = self._known.get(ref)
        return known if known is not None and known[0] == own else (own, _status(ref, own))


def facts(
    compilation: Compilation,
    held: Mapping[ObjectRef, Held],
    in_force: frozenset[ObjectRef],
    sidecars: Mapping[ObjectRef, Sidecars],
    pods: Mapping[Workload, int],
) -> dict[ObjectRef, Facts]:
    """What the status of each object is to be made from.

    Args:
        compilation: what was compiled.
        held: the objects it was compiled from.
        in_force: those that have a valid form in force, the newest or an earlier one.
        sidecars: of the objects that concern any.
        pods: injected pods of each workload.
    """
    findings: dict[ObjectRef, list[Diagnostic]] = {}
    for diagnostic in compilation.diagnostics:
        findings.setdefault(diagnostic.source, []).append(diagnostic)
    effective = {
        setting.source for settings in compilation.settings.values() for setting in settings if setting.source
    }
    pods_of = _count_pods(pods)
    return {
        ref: Facts(
            stored=it.stored,
            uid=it.uid,
            generation=it.generation,
            findings=tuple(findings.get(ref, ())),
            is_in_force=ref in in_force,
            is_effective=ref in effective,
            sidecars=sidecars.get(ref, _NONE),
            targets=_targets(it, pods_of) if ref.kind == "AIPolicy" else None,
        )
        for ref, it in held.items()
    }


def _status(ref: ObjectRef, own: Facts) -> WantedStatus:
    kind, findings, sidecars = ref.kind, own.findings, own.sidecars
    conditions = [_accepted(own)]
    if kind in _RESOLVED_KINDS:
        conditions.append(_resolved(findings))
        conditions.append(_programmed(sidecars))
    conditions.append(_ready(conditions, findings))
    return WantedStatus(
        ref=ref,
        uid=own.uid,
        generation=own.generation,
        conditions=tuple(conditions),
        sidecars=sidecars if kind in _RESOLVED_KINDS else None,
        targets=own.targets,
    )


def _accepted(own: Facts) -> Wanted:
    stored, findings = own.stored, own.findings
    if stored.problem is not None:
        rest = (
            "The last valid form stays in force."
            if own.is_in_force
            else "There is no earlier valid form, so what depends on it is refused."
        )
        return _no(ConditionType.ACCEPTED, ConditionReason.INVALID, f"{stored.problem}. {rest}")
    if isinstance(stored.spec, ProviderCredentialSpec) and stored.spec.source.environment:
        message = (
            "source Environment is for `tidegate run`: no sidecar in a cluster has such a variable; use type Secret, "
            "with the key in the Secret tidegate-keys of each namespace that calls"
        )
        return _no(ConditionType.ACCEPTED, ConditionReason.NOT_IN_CLUSTER, message)
    invalid = _of(findings, Reason.INVALID)
    if invalid:
        return _no(ConditionType.ACCEPTED, ConditionReason.INVALID, _words(invalid))
    conflicts = _of(findings, Reason.CONFLICTED)
    if conflicts:
        build = _yes if own.is_effective else _no
        return build(ConditionType.ACCEPTED, ConditionReason.CONFLICTED, _words(conflicts))
    missing = _of(findings, Reason.TARGET_NOT_FOUND)
    if missing and len(missing) >= _target_count(stored):
        return _no(ConditionType.ACCEPTED, ConditionReason.TARGET_NOT_FOUND, _words(missing))
    remarks = [it for it in findings if it.severity is Severity.WARNING and it.reason is not Reason.SUSPENDED]
    message = _words(remarks) or "The object is valid."
    return _yes(ConditionType.ACCEPTED, ConditionReason.ACCEPTED, message)


def _resolved(findings: Sequence[Diagnostic]) -> Wanted:
    for reason, word in (
        (Reason.REF_NOT_FOUND, ConditionReason.REF_NOT_FOUND),
        (Reason.REF_NOT_PERMITTED, ConditionReason.REF_NOT_PERMITTED),
    ):
        if _of(findings, reason):
            both = [it for it in findings if it.reason in (Reason.REF_NOT_FOUND, Reason.REF_NOT_PERMITTED)]
            return _no(ConditionType.RESOLVED_REFS, word, _words(both))
    message = "What the object names exists and may be used."
    return _yes(ConditionType.RESOLVED_REFS, ConditionReason.RESOLVED_REFS, message)


def _programmed(sidecars: Sidecars) -> Wanted:
    lagging = f": {'; '.join(sidecars.lagging)}" if sidecars.lagging else ""
    if sidecars.desired == 0:
        message = (
            "The sidecars that are concerned are starting."
            if sidecars.starting
            else "No injected pod is concerned."
        )
        return _yes(ConditionType.PROGRAMMED, ConditionReason.NO_SIDECARS, message)
    if sidecars.rejected:
        message = f"{sidecars.rejected} of {sidecars.desired} sidecars refused the configuration{lagging}"
        return _no(ConditionType.PROGRAMMED, ConditionReason.REJECTED, message)
    if sidecars.programmed < sidecars.desired:
        message = f"{sidecars.programmed} of {sidecars.desired} sidecars enforce it{lagging}"
        return _no(ConditionType.PROGRAMMED, ConditionReason.PENDING, message)
    message = f"All {sidecars.desired} sidecars enforce it."
    return _yes(ConditionType.PROGRAMMED, ConditionReason.PROGRAMMED, message)


def _ready(conditions: Iterable[Wanted], findings: Sequence[Diagnostic]) -> Wanted:
    suspended = _of(findings, Reason.SUSPENDED)
    if suspended:
        return _no(ConditionType.READY, ConditionReason.SUSPENDED, _words(suspended))
    bad = [it for it in conditions if it.status is not ConditionStatus.TRUE]
    if bad:
        message = "; ".join(f"{it.type.value} is {it.status.value} ({it.reason.value})" for it in bad)
        return _no(ConditionType.READY, ConditionReason.NOT_READY, message)
    errors = [it for it in findings if it.severity is Severity.ERROR]
    if errors:
        return _no(ConditionType.READY, ConditionReason.NOT_READY, _words(errors))
    return _yes(ConditionType.READY, ConditionReason.READY, "The object is fully in force.")


def _targets(held: Held, pods_of: Mapping[tuple[str, str, str], int]) -> tuple[Target, ...]:
    spec = held.stored.spec
    references = (spec.target_refs or ()) if isinstance(spec, AIPolicySpec) else ()
    found = []
    for target in references:
        own = target.kind is not TargetKind.NAMESPACE or target.name == held.ref.namespace
        pods = pods_of.get((held.ref.namespace, target.kind.value, target.name), 0) if own else 0
        found.append(Target(kind=target.kind.value, name=target.name, pods=pods))
    return tuple(found)


def _count_pods(pods: Mapping[Workload, int]) -> Mapping[tuple[str, str, str], int]:
    """Pods by namespace, kind of target and name of target."""
    found: dict[tuple[str, str, str], int] = {}
    for workload, count in pods.items():
        space = workload.namespace
        for kind, name in (
            (workload.kind, workload.name),
            (TargetKind.SERVICE_ACCOUNT.value, workload.service_account),
            (TargetKind.NAMESPACE.value, space),
        ):
            found[space, kind, name] = found.get((space, kind, name), 0) + count
    return found


def _target_count(stored: Stored[Any]) -> int:
    spec = stored.spec
    return len(spec.target_refs or ()) or 1 if isinstance(spec, AIPolicySpec) else 1


def _of(findings: Sequence[Diagnostic], reason: Reason) -> list[Diagnostic]:
    return [it for it in findings if it.reason is reason]


def _words(findings: Sequence[Diagnostic]) -> str:
    return "; ".join(f"{format_path(it.path)}: {it.message}" if it.path else it.message for it in findings)


def _yes(kind: ConditionType, reason: ConditionReason, message: str) -> Wanted:
    return Wanted(type=kind, status=ConditionStatus.TRUE, reason=reason, message=_bounded(message))


def _no(kind: ConditionType, reason: ConditionReason, message: str) -> Wanted:
    return Wanted(type=kind, status=ConditionStatus.FALSE, reason=reason, message=_bounded(message))


def _bounded(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
