"""Lookup: a snapshot's objects by name, so that no pass has to search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tidegate_operator.api.aipolicy import AI_POLICY, AIPolicySpec
from tidegate_operator.api.clusteraipolicy import CLUSTER_AI_POLICY, ClusterAIPolicySpec
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.providercredential import PROVIDER_CREDENTIAL
from tidegate_operator.api.providerpool import PROVIDER_POOL
from tidegate_operator.api.stored import Stored
from tidegate_operator.compile.diagnostics import Reason
from tidegate_policy.model import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate_operator.api.providercredential import ProviderCredentialSpec
    from tidegate_operator.api.providerpool import ProviderPoolSpec
    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.index.snapshot import Snapshot, Workload

Policy = Stored[AIPolicySpec] | Stored[ClusterAIPolicySpec]

POOL_KIND: Final = PROVIDER_POOL.name

NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The API server gives it to every namespace, so selectors may rely on it in files too."""

SpecT = TypeVar("SpecT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The objects of one snapshot.

    Attributes:
        policies: both kinds, by reference.
        policies_in: the policies of each namespace that has any; the cluster-scoped ones under the empty name.
        pools: by namespace, then name.
        credentials: by namespace, then name.
        namespace_labels: of the namespaces whose labels are known.
        workloads: by namespace, each once, sorted.
    """

    policies: Mapping[ObjectRef, Policy]
    policies_in: Mapping[str, tuple[Policy, ...]]
    pools: Mapping[str, Mapping[str, Stored[ProviderPoolSpec]]]
    credentials: Mapping[str, Mapping[str, Stored[ProviderCredentialSpec]]]
    namespace_labels: Mapping[str, Mapping[str, str]]
    workloads: Mapping[str, tuple[Workload, ...]]

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """Labels of a namespace; one that is not known has its name alone."""
        return self.namespace_labels.get(namespace) or {NAME_LABEL: namespace}


def pool_references(policy: Policy) -> tuple[ObjectRef, ...]:
    """The pools that a policy names, in its order; empty when it names none or is not in force."""
    references = policy.spec.pool_refs if policy.spec else None
    if references is None:
        return ()
    own = policy.ref.namespace
    return tuple(ObjectRef(kind=POOL_KIND, namespace=it.namespace or own, name=it.name) for it in references)


def look_up(snapshot: Snapshot, findings: Findings) -> Lookup:
    """Arrange a snapshot, and say which objects of it are not in force."""
    policies: dict[ObjectRef, Policy] = {
        **_once(snapshot.of(AI_POLICY), findings),
        **_once(snapshot.of(CLUSTER_AI_POLICY), findings),
    }
    policies_in: dict[str, list[Policy]] = {}
    for policy in policies.values():
        policies_in.setdefault(policy.ref.namespace, []).append(policy)
    workloads: dict[str, list[Workload]] = {}
    for workload in sorted({*snapshot.workloads}, key=_workload_order):
        workloads.setdefault(workload.namespace, []).append(workload)
    return Lookup(
        policies=policies,
        policies_in={namespace: tuple(found) for namespace, found in policies_in.items()},
        pools=_by_namespace(_once(snapshot.of(PROVIDER_POOL), findings)),
        credentials=_by_namespace(_once(snapshot.of(PROVIDER_CREDENTIAL), findings)),
        namespace_labels={
            it.name: {NAME_LABEL: it.name, **it.labels}
            for it in sorted(snapshot.namespaces, key=lambda it: (it.name, sorted(it.labels.items())))
        },
        workloads={namespace: tuple(found) for namespace, found in workloads.items()},
    )


def _workload_order(workload: Workload) -> tuple[object, ...]:
    """By everything that tells workloads apart, so that no order is left to chance."""
    labels = sorted(workload.labels.items())
    return (workload.namespace, workload.kind, workload.name, labels, workload.service_account)


def _once(objects: Iterable[Stored[SpecT]], findings: Findings) -> dict[ObjectRef, Stored[SpecT]]:
    """By reference, in a fixed order; of an object that is defined twice, neither form is in force."""
    found: dict[ObjectRef, Stored[SpecT]] = {}
    for stored in objects:
        found[stored.ref] = _defined_twice(stored.ref) if stored.ref in found else stored
    for stored in found.values():
        _report(stored, findings)
    return {ref: found[ref] for ref in sorted(found, key=lambda it: (it.kind, it.namespace, it.name))}


def _defined_twice(ref: ObjectRef) -> Stored[SpecT]:
    """Nothing of either form is kept, age included, or it would be that of whichever comes last."""
    return Stored(ref=ref, spec=None, problem=f"{ref} is defined more than once; keep one of them")


def _report(stored: Stored[Any], findings: Findings) -> None:
    problem = stored.problem or "it has no spec"
    if stored.spec is None:
        findings.error(stored.ref, (), Reason.INVALID, f"not in force: {problem}")
        return
    if stored.problem is not None:
        message = f"the newest form is not in force, the last valid one is: {problem}"
        findings.error(stored.ref, (), Reason.INVALID, message)
    if stored.spec.suspend:
        what = KINDS[stored.ref.kind].when_suspended
        findings.warning(stored.ref, ("spec", "suspend"), Reason.SUSPENDED, f"the kill switch is on: {what}")


def _by_namespace(objects: Mapping[ObjectRef, Stored[SpecT]]) -> dict[str, dict[str, Stored[SpecT]]]:
    found: dict[str, dict[str, Stored[SpecT]]] = {}
    for ref, stored in objects.items():
        found.setdefault(ref.namespace, {})[ref.name] = stored
    return found
