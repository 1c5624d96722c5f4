"""Which policies apply to which workloads of a namespace, and how closely: workloads with the same are one class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate_operator.api.aipolicy import OWN_GROUPS, TargetKind
from tidegate_operator.compile.compilation import ClassKey, Level
from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate_operator.api.aipolicy import TargetReference
    from tidegate_operator.api.selectors import LabelSelector
    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.lookup import Lookup, Policy
    from tidegate_operator.index.snapshot import Workload
    from tidegate_policy.model import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One namespace, with all that decides what applies there.

    Attributes:
        policies: of the namespace itself.
        cluster: the cluster-scoped policies that choose it, sorted.
        is_special: they may give its workloads other pools than those of other namespaces that they choose.
    """

    namespace: str
    workloads: tuple[Workload, ...]
    policies: tuple[Policy, ...]
    cluster: tuple[ObjectRef, ...]
    is_special: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The workloads of one namespace in classes.

    Attributes:
        classes: of each workload.
        members: names of the workloads of each class.
        findings: about targets that name nothing that is there.
    """

    classes: Mapping[Workload, ClassKey]
    members: Mapping[ClassKey, tuple[str, ...]]
    findings: Findings


@dataclass(slots=True)
class _Targeted:
    """The policies of one namespace, by what they are attached to."""

    namespace: list[ObjectRef] = field(default_factory=list)
    selectors: list[tuple[LabelSelector, ObjectRef]] = field(default_factory=list)
    accounts: dict[str, list[ObjectRef]] = field(default_factory=dict)
    workloads: dict[tuple[str, str], list[ObjectRef]] = field(default_factory=dict)


def attach(place: Place) -> Attached:
    """The class of each workload of a namespace."""
    targeted = _targeted(place.policies)
    classes: dict[Workload, ClassKey] = {}
    members: dict[ClassKey, list[str]] = {}
    for workload in place.workloads:
        key = _class_of(workload, place, targeted)
        classes[workload] = key
        members.setdefault(key, []).append(str(workload))
    findings = Findings()
    _report_targets(place, findings)
    return Attached(
        classes=classes, members={key: tuple(names) for key, names in members.items()}, findings=findings
    )


def _targeted(policies: Iterable[Policy]) -> _Targeted:
    found = _Targeted()
    for policy in policies:
        ref, targets = policy.ref, targets_of(policy)
        if targets.selector is not None:
            found.selectors.append((targets.selector, ref))
        for target in targets.references:
            if target.qualified_kind == TargetKind.SERVICE_ACCOUNT:
                found.accounts.setdefault(target.name, []).append(ref)
            elif target.qualified_kind != TargetKind.NAMESPACE:
                found.workloads.setdefault((target.qualified_kind, target.name), []).append(ref)
            elif target.name == ref.namespace:
                found.namespace.append(ref)
    return found


def _class_of(workload: Workload, place: Place, targeted: _Targeted) -> ClassKey:
    """The policies that apply to a workload and their closest attachment, sorted by reference."""
    # from far to near, so that the closest attachment of a policy is the one that stays
    levels = dict.fromkeys(place.cluster, Level.CLUSTER)
    levels |= dict.fromkeys(targeted.namespace, Level.NAMESPACE)
    for selector, ref in targeted.selectors:
        if selector.matches(workload.labels):
            levels[ref] = Level.SELECTOR
    levels |= dict.fromkeys(targeted.accounts.get(workload.service_account, ()), Level.SERVICE_ACCOUNT)
    levels |= dict.fromkeys(targeted.workloads.get((workload.kind, workload.name), ()), Level.WORKLOAD)
    # policies of a namespace tell which one it is; those of the cluster do not
    is_special = place.is_special and len(levels) == len(place.cluster)
    policies = tuple(sorted(levels))
    return ClassKey(
        policies=policies,
        levels=tuple(levels[ref] for ref in policies),
        namespace=place.namespace if is_special else "",
    )


def _report_targets(place: Place, findings: Findings) -> None:
    """Say which targets of the namespace's policies name nothing that is there."""
    names = {(workload.kind, workload.name) for workload in place.workloads}
    names |= {(TargetKind.SERVICE_ACCOUNT.value, workload.service_account) for workload in place.workloads}
    for policy in place.policies:
        if policy.spec is None:
            continue
        targets = targets_of(policy)
        _report_references(policy.ref, targets.references, names, findings)
        selector = targets.selector
        if selector is not None and not any(selector.matches(it.labels) for it in place.workloads):
            message = f"no workload in namespace {place.namespace} has these pod labels"
            findings.warning(policy.ref, ("spec", "selector"), Reason.TARGET_NOT_FOUND, message)


def _report_references(
    ref: ObjectRef, references: tuple[TargetReference, ...], names: set[tuple[str, str]], findings: Findings
) -> None:
    for index, target in enumerate(references):
        path: FieldPath = ("spec", "targetRefs", index)
        if target.qualified_kind == TargetKind.NAMESPACE:
            if target.name != ref.namespace:
                message = (
                    f"a policy targets its own namespace alone; write {ref.namespace}, or move the policy"
                )
                findings.error(ref, (*path, "name"), Reason.INVALID, message)
        elif (target.qualified_kind, target.name) not in names:
            message = f"there is no {target.kind} {target.name} in namespace {ref.namespace}"
            if target.qualified_kind not in OWN_GROUPS:
                message = (
                    f"no pod with a sidecar in namespace {ref.namespace} belongs to a "
                    f"{target.qualified_kind} {target.name}"
                )
            if target.qualified_kind == TargetKind.SERVICE_ACCOUNT:
                message = f"no workload in namespace {ref.namespace} runs as ServiceAccount {target.name}"
            findings.warning(ref, path, Reason.TARGET_NOT_FOUND, message)


def chosen(namespaces: Iterable[str], lookup: Lookup) -> Mapping[str, tuple[ObjectRef, ...]]:
    """The cluster-scoped policies that choose each of these namespaces, sorted."""
    choices = [(policy.ref, targets_of(policy).namespaces) for policy in lookup.policies_in.get("", ())]
    found = {}
    for namespace in namespaces:
        labels = lookup.labels_of(namespace)
        found[namespace] = tuple(ref for ref, by in choices if by is not None and by.matches(labels))
    return found


def report_choices(lookup: Lookup, findings: Findings) -> None:
    """Say which cluster-scoped policies choose no namespace."""
    known = lookup.namespace_labels.keys() | lookup.workloads.keys()
    for policy in lookup.policies_in.get("", ()):
        choice = targets_of(policy).namespaces
        if policy.spec is None or choice is None:
            continue
        if not any(choice.matches(lookup.labels_of(namespace)) for namespace in known):
            message = "no namespace has these labels"
            findings.warning(policy.ref, ("spec", "namespaceSelector"), Reason.TARGET_NOT_FOUND, message)
