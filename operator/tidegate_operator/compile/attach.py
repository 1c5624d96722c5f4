"""Which policies apply to which workloads, and how closely.

A policy without a valid spec applies to what can be read of its targets, and to its whole namespace (a cluster-scoped
one: to everything) when they cannot be read: its targets are denied, and denying too much is the safe mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from tidegate_operator.api.aipolicy import AIPolicySpec, TargetKind, TargetReference
from tidegate_operator.api.clusteraipolicy import ClusterAIPolicySpec
from tidegate_operator.api.selectors import LabelSelector
from tidegate_operator.compile.compilation import Level
from tidegate_operator.compile.diagnostics import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.lookup import Lookup, Policy
    from tidegate_operator.index.snapshot import Workload
    from tidegate_policy.model import ObjectRef

EVERYTHING = LabelSelector()


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a policy is attached to.

    Attributes:
        references: objects of the namespace by name.
        selector: pods of the namespace by label.
        namespaces: whole namespaces by label; of cluster-scoped policies.
    """

    references: tuple[TargetReference, ...] = ()
    selector: LabelSelector | None = None
    namespaces: LabelSelector | None = None


@dataclass(slots=True)
class _Attached:
    """The policies of one namespace, by what they are attached to."""

    namespace: list[ObjectRef] = field(default_factory=list)
    selectors: list[tuple[LabelSelector, ObjectRef]] = field(default_factory=list)
    accounts: dict[str, list[ObjectRef]] = field(default_factory=dict)
    workloads: dict[tuple[str, str], list[ObjectRef]] = field(default_factory=dict)


class Attachments:
    """Answers which policies apply to a workload; built once for a snapshot."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._by_namespace: dict[str, _Attached] = {}
        self._cluster: list[tuple[LabelSelector, ObjectRef]] = []
        self._cluster_of: dict[str, tuple[ObjectRef, ...]] = {}
        for ref, policy in lookup.policies.items():
            self._add(ref, targets_of(policy))

    def _add(self, ref: ObjectRef, targets: Targets) -> None:
        if targets.namespaces is not None:
            self._cluster.append((targets.namespaces, ref))
            return
        attached = self._by_namespace.setdefault(ref.namespace, _Attached())
        if targets.selector is not None:
            attached.selectors.append((targets.selector, ref))
        for target in targets.references:
            if target.kind is TargetKind.SERVICE_ACCOUNT:
                attached.accounts.setdefault(target.name, []).append(ref)
            elif target.kind is not TargetKind.NAMESPACE:
                attached.workloads.setdefault((target.kind, target.name), []).append(ref)
            elif target.name == ref.namespace:
                attached.namespace.append(ref)

    def of(self, workload: Workload) -> Mapping[ObjectRef, Level]:
        """The policies that apply to a workload and their closest attachment, sorted by reference."""
        levels = dict.fromkeys(self._of_cluster(workload.namespace), Level.CLUSTER)
        attached = self._by_namespace.get(workload.namespace)
        if attached is not None:
            # from far to near, so that the closest attachment of a policy is the one that stays
            levels |= dict.fromkeys(attached.namespace, Level.NAMESPACE)
            for selector, ref in attached.selectors:
                if selector.matches(workload.labels):
                    levels[ref] = Level.SELECTOR
            accounts = attached.accounts.get(workload.service_account, ())
            levels |= dict.fromkeys(accounts, Level.SERVICE_ACCOUNT)
            named = attached.workloads.get((workload.kind, workload.name), ())
            levels |= dict.fromkeys(named, Level.WORKLOAD)
        return dict(sorted(levels.items()))

    def _of_cluster(self, namespace: str) -> tuple[ObjectRef, ...]:
        if namespace not in self._cluster_of:
            labels = self._lookup.labels_of(namespace)
            self._cluster_of[namespace] = tuple(
                ref for selector, ref in self._cluster if selector.matches(labels)
            )
        return self._cluster_of[namespace]


def targets_of(policy: Policy) -> Targets:
    """What a policy is attached to, as far as it can be read."""
    spec = policy.spec
    if isinstance(spec, ClusterAIPolicySpec):
        return Targets(namespaces=spec.namespace_selector)
    if isinstance(spec, AIPolicySpec):
        return Targets(references=spec.target_refs or (), selector=spec.selector)
    if not policy.ref.namespace:
        return Targets(namespaces=_selector(policy.targets.get("namespaceSelector")) or EVERYTHING)
    whole = TargetReference(kind=TargetKind.NAMESPACE, name=policy.ref.namespace)
    references = _references(policy.targets.get("targetRefs"))
    selector = _selector(policy.targets.get("selector"))
    # a field that is written but cannot be read may have meant anything in the namespace
    unread = ("targetRefs" in policy.targets and not references) or (
        "selector" in policy.targets and selector is None
    )
    if unread or not (references or selector):
        return Targets(references=(whole,))
    return Targets(references=references, selector=selector)


def report_targets(lookup: Lookup, findings: Findings) -> None:
    """Say which targets name nothing that is there."""
    names = {
        namespace: {(workload.kind, workload.name) for workload in workloads}
        | {(TargetKind.SERVICE_ACCOUNT.value, workload.service_account) for workload in workloads}
        for namespace, workloads in lookup.workloads.items()
    }
    for ref, policy in lookup.policies.items():
        if policy.spec is None:
            continue
        targets = targets_of(policy)
        _report_references(ref, targets.references, names.get(ref.namespace, set()), findings)
        if targets.selector is not None:
            workloads = lookup.workloads.get(ref.namespace, ())
            if not any(targets.selector.matches(workload.labels) for workload in workloads):
                message = f"no workload in namespace {ref.namespace} has these pod labels"
                findings.warning(ref, ("spec", "selector"), Reason.TARGET_NOT_FOUND, message)
        if targets.namespaces is not None:
            known = lookup.namespace_labels.keys() | lookup.workloads.keys()
            if not any(targets.namespaces.matches(lookup.labels_of(namespace)) for namespace in known):
                message = "no namespace has these labels"
                findings.warning(ref, ("spec", "namespaceSelector"), Reason.TARGET_NOT_FOUND, message)


def _report_references(
    ref: ObjectRef, references: tuple[TargetReference, ...], names: set[tuple[str, str]], findings: Findings
) -> None:
    for index, target in enumerate(references):
        path: FieldPath = ("spec", "targetRefs", index)
        if target.kind is TargetKind.NAMESPACE:
            if target.name != ref.namespace:
                message = (
                    f"a policy targets its own namespace alone; write {ref.namespace}, or move the policy"
                )
                findings.error(ref, (*path, "name"), Reason.INVALID, message)
        elif (target.kind.value, target.name) not in names:
            message = f"there is no {target.kind} {target.name} in namespace {ref.namespace}"
            if target.kind is TargetKind.SERVICE_ACCOUNT:
                message = f"no workload in namespace {ref.namespace} runs as ServiceAccount {target.name}"
            findings.warning(ref, path, Reason.TARGET_NOT_FOUND, message)


def _references(raw: object) -> tuple[TargetReference, ...]:
    """The references, if all of them can be read."""
    if not isinstance(raw, list | tuple):
        return ()
    found = []
    for item in cast("list[object]", raw):
        try:
            # strict=False: an enumeration is given as a word here
            found.append(TargetReference.model_validate(item, strict=False))
        except ValidationError:
            return ()
    return tuple(found)


def _selector(raw: object) -> LabelSelector | None:
    try:
        return LabelSelector.model_validate(raw, strict=False)
    except ValidationError:
        return None
