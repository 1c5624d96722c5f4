"""What a policy says that it is attached to.

A policy without a valid spec applies to what can be read of its targets, and to its whole namespace (a cluster-scoped
one: to everything) when they cannot be read: its targets are denied, and denying too much is the safe mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from tidegate_operator.api.aipolicy import AIPolicySpec, TargetKind, TargetReference
from tidegate_operator.api.clusteraipolicy import ClusterAIPolicySpec
from tidegate_operator.api.selectors import LabelSelector

if TYPE_CHECKING:
    from tidegate_operator.compile.lookup import Policy

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
