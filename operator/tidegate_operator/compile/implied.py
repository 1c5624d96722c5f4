"""Implied workloads: stand-ins for what policies speak of, where there are no manifests of workloads.

A folder of policies usually has no Deployments in it. So that it can be compiled, run and explained all the same,
each target that no workload meets gets one that does. A namespace with any workload of its own gets none: there, a
target without a workload is more likely a typing error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate_operator.api.aipolicy import TargetKind
from tidegate_operator.api.metadata import DEFAULT_NAMESPACE
from tidegate_operator.api.selectors import Operator
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.lookup import look_up
from tidegate_operator.compile.targets import targets_of
from tidegate_operator.index.snapshot import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_operator.api.selectors import LabelSelector
    from tidegate_operator.compile.lookup import Lookup, Policy
    from tidegate_operator.compile.targets import Targets
    from tidegate_operator.index.snapshot import Snapshot

ANY = "any"
"""Name of the stand-in for "whatever runs in this namespace"."""


def implied_workloads(snapshot: Snapshot) -> tuple[Workload, ...]:
    """The stand-ins that a snapshot needs besides its own workloads, sorted by name."""
    lookup = look_up(snapshot, Findings())
    implied: dict[str, Workload] = {}
    # the closest targets first: their stand-ins also meet the wider ones
    for step in (_named, _running_as, _labelled, _anywhere):
        for ref, policy in lookup.policies.items():
            if ref.namespace and ref.namespace not in lookup.workloads:
                there = [it for it in implied.values() if it.namespace == ref.namespace]
                for workload in step(policy, targets_of(policy), there):
                    implied.setdefault(str(workload), workload)
    for policy in lookup.policies.values():
        for workload in _in_chosen_namespace(policy, lookup, implied):
            implied.setdefault(str(workload), workload)
    return tuple(implied[name] for name in sorted(implied))


def _named(policy: Policy, targets: Targets, _: list[Workload]) -> Iterator[Workload]:
    for target in targets.references:
        if target.qualified_kind not in (TargetKind.NAMESPACE, TargetKind.SERVICE_ACCOUNT):
            yield Workload(namespace=policy.ref.namespace, kind=target.qualified_kind, name=target.name)


def _running_as(policy: Policy, targets: Targets, there: list[Workload]) -> Iterator[Workload]:
    for target in targets.references:
        if target.qualified_kind == TargetKind.SERVICE_ACCOUNT and all(
            it.service_account != target.name for it in there
        ):
            yield Workload(
                namespace=policy.ref.namespace, kind="Pod", name=target.name, service_account=target.name
            )


def _labelled(policy: Policy, targets: Targets, there: list[Workload]) -> Iterator[Workload]:
    selector = targets.selector
    if selector and not any(selector.matches(it.labels) for it in there):
        labels = labels_for(selector)
        if labels and selector.matches(labels):
            yield Workload(namespace=policy.ref.namespace, kind="Pod", name=policy.ref.name, labels=labels)


def _anywhere(policy: Policy, targets: Targets, there: list[Workload]) -> Iterator[Workload]:
    own = policy.ref.namespace
    whole = any((it.qualified_kind, it.name) == (TargetKind.NAMESPACE, own) for it in targets.references)
    if targets.selector and not any(targets.selector.matches(it.labels) for it in there):
        whole |= targets.selector.matches({})
    elif there:
        return
    if whole:
        yield Workload(namespace=own, kind="Pod", name=ANY)


def _in_chosen_namespace(policy: Policy, lookup: Lookup, implied: dict[str, Workload]) -> Iterator[Workload]:
    chosen = targets_of(policy).namespaces
    if chosen is None:
        return
    with_workloads = {*lookup.workloads, *(it.namespace for it in implied.values())}
    if any(chosen.matches(lookup.labels_of(namespace)) for namespace in with_workloads):
        return
    known = {*lookup.namespace_labels, *lookup.pools, DEFAULT_NAMESPACE}
    for namespace in sorted(known, key=lambda it: (it != DEFAULT_NAMESPACE, it)):
        if chosen.matches(lookup.labels_of(namespace)):
            yield Workload(namespace=namespace, kind="Pod", name=ANY)
            return


def labels_for(selector: LabelSelector) -> dict[str, str]:
    """Labels that meet a selector; some that do not, when no labels can."""
    labels = dict(selector.match_labels)
    for requirement in selector.match_expressions:
        if requirement.operator is Operator.IN:
            labels.setdefault(requirement.key, min(requirement.values))
        elif requirement.operator is Operator.EXISTS:
            labels.setdefault(requirement.key, ANY)
    return labels
