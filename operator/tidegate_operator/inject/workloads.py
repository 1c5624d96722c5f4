"""Opting in on a workload (PURE): its word is copied to its pod template, and taken away again when it is taken back.

A marker on the template says what was copied. Nothing else is ever copied, nothing that depends on our version: a changed
template rolls the workload. What the template says for itself goes before: it is nearer to the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.api.workloads import TARGETS
from tidegate_operator.inject.decide import UNPROTECTED, Deny, DenyReason, Skip, decide
from tidegate_operator.inject.document import Document, annotations_of, labels_of, part
from tidegate_operator.inject.names import COPIED, INJECT, OVERRIDES
from tidegate_operator.inject.optin import Choice, WrongChoice, choice_of
from tidegate_operator.inject.template import Template

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {name: kind.template for name, kind in TARGETS.items()}
"""Kinds of workloads, and where each has its pod template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """The workload as it is to be.

    Attributes:
        workload: the whole object.
        warnings: what its author should know.
    """

    workload: dict[str, Any]
    warnings: tuple[str, ...] = ()


def follow(kind: str, workload: Document, before: Document | None, template: Template) -> Copied | Deny:
    """The workload with its word on its pod template.

    Args:
        kind: one of `TEMPLATES`.
        workload: as it is to be stored.
        before: as it is stored; None: it is new.
        template: the platform's, by which the template's own annotations are checked.
    """
    choice = choice_of(workload)
    if isinstance(choice, WrongChoice):
        if before is not None and choice_of(before) == choice:
            # It got there without us. Controllers write to it too, and must not be stopped by what others have written.
            return Copied(workload=dict(workload), warnings=(choice.message,))
        return Deny(DenyReason.WRONG_INJECT, choice.message)
    path = TEMPLATES[kind]
    # What says nothing and is made by another kind has got the copy with its template.
    if not part(workload, *path) or (TARGETS[kind].maker and choice is None):
        return Copied(workload=dict(workload))
    told = part(workload, *path)
    found = _marked(told, choice)
    is_new = found is not told
    result = _replaced(workload, path, found) if is_new else dict(workload)
    decision = decide(found, template, by_namespace=False)
    if is_new and isinstance(decision, Deny):
        # Told now, to whoever opts in, and not later in an event of some ReplicaSet.
        return Deny(decision.reason, f"in the pod template, {decision.message}")
    warnings = [
        f"annotation {name} has to stand on the pod template; on the {kind} itself it changes nothing"
        for name in OVERRIDES
        if name in annotations_of(workload) and name not in annotations_of(found)
    ]
    if isinstance(decision, Skip) and decision.reason in UNPROTECTED:
        warnings.append(f"pods of this {kind} get no sidecar: {decision.reason.message}")
    return Copied(workload=result, warnings=tuple(warnings))


def job_warning(job: Document) -> str:
    """What to tell whoever opts in or out with a Job that exists; empty when its pods are as wanted."""
    choice, found = choice_of(job), part(job, *TEMPLATES["Job"])
    if not isinstance(choice, WrongChoice) and _marked(found, choice) is found:
        return ""
    return f"the pods of a Job that exists stay as they are: create the Job anew to have {INJECT} followed"


def _marked(template: Document, choice: Choice | None) -> Document:
    """The pod template with the workload's word, or without what was copied; the same object when nothing changes."""
    before = annotations_of(template)
    found = dict(before)
    copied, said = found.pop(COPIED, None), found.get(INJECT)
    if said is not None and said == copied:
        del found[INJECT]
    says_itself = INJECT in found or INJECT in labels_of(template)
    if choice is not None and not says_itself:
        found |= {INJECT: choice.value, COPIED: choice.value}
    if found == before:
        return template
    metadata = {key: value for key, value in part(template, "metadata").items() if key != "annotations"}
    return {**template, "metadata": metadata | ({"annotations": found} if found else {})}


def _replaced(document: Document, path: tuple[str, ...], value: Document) -> dict[str, Any]:
    """The document with another value at `path`; what is beside the path is shared."""
    if len(path) == 1:
        return {**document, path[0]: value}
    return {**document, path[0]: _replaced(document[path[0]], path[1:], value)}
