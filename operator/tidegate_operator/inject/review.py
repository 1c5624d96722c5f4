"""What each entry of the webhook configuration answers (PURE)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from tidegate_operator.inject import names
from tidegate_operator.inject.decide import Deny, DenyReason, Skip, SkipReason, decide, is_injected
from tidegate_operator.inject.document import Document, annotations_of, labels_of
from tidegate_operator.inject.names import INJECT
from tidegate_operator.inject.optin import WrongChoice, choice_of
from tidegate_operator.inject.patch import difference
from tidegate_operator.inject.pod import Platform, with_sidecar
from tidegate_operator.inject.request import Request, RequestError
from tidegate_operator.inject.response import Outcome, Result
from tidegate_operator.inject.verify import verify
from tidegate_operator.inject.workloads import TEMPLATES, follow, job_warning


class Entry(StrEnum):
    """Entries by the path that the API server calls, which is also a label of the metric."""

    PODS = "pods"
    """Pods that speak for themselves."""
    PODS_OF_NAMESPACES = "pods-of-namespaces"
    """Pods that say nothing, in namespaces that opted in."""
    VERIFIED_PODS = "verified-pods"
    """The same pods when everybody has changed them."""
    VERIFIED_PODS_OF_NAMESPACES = "verified-pods-of-namespaces"
    """The same, of namespaces that opted in."""
    WORKLOADS = "workloads"
    """Deployments, StatefulSets, DaemonSets, new Jobs, CronJobs."""
    JOBS = "jobs"
    """Jobs that exist: their pod template cannot change any more."""
    NAMESPACES = "namespaces"
    """Labels of namespaces, which only their author can mend."""


UNCHANGED: Final = Outcome(result=Result.UNCHANGED)
MENDED: Final = "Mended"
"""The reason of an injection that has set right what others did to a sidecar."""


def answer(entry: Entry, request: Request, platform: Platform) -> Outcome:
    """What one review gets.

    Raises:
        RequestError: the object is of a kind that the entry does not know.
    """
    if not request.object or request.operation not in ("CREATE", "UPDATE"):
        return UNCHANGED
    match entry:
        case Entry.PODS | Entry.PODS_OF_NAMESPACES:
            _expect(entry, request, "Pod")
            return _pod(request, platform, by_namespace=entry is Entry.PODS_OF_NAMESPACES)
        case Entry.VERIFIED_PODS | Entry.VERIFIED_PODS_OF_NAMESPACES:
            _expect(entry, request, "Pod")
            return _verified(request, platform, by_namespace=entry is Entry.VERIFIED_PODS_OF_NAMESPACES)
        case Entry.WORKLOADS:
            _expect(entry, request, *TEMPLATES)
            return _workload(request, platform)
        case Entry.JOBS:
            _expect(entry, request, "Job")
            warning = job_warning(request.object)
            return Outcome(result=Result.WARNED, warnings=(warning,)) if warning else UNCHANGED
        case Entry.NAMESPACES:
            _expect(entry, request, "Namespace")
            return _namespace(request)


def _pod(request: Request, platform: Platform, *, by_namespace: bool) -> Outcome:
    if request.operation != "CREATE":
        return UNCHANGED
    decision = decide(request.object, platform.template, by_namespace=by_namespace)
    if isinstance(decision, Deny):
        return Outcome(result=Result.DENIED, reason=decision.reason.value, message=decision.message)
    if isinstance(decision, Skip):
        asked = decision.reason not in (SkipReason.OPTED_OUT, SkipReason.NOT_ASKED)
        warnings = (f"the pod gets no sidecar: {decision.reason.message}",) if asked else ()
        return Outcome(result=Result.SKIPPED, reason=decision.reason.value, warnings=warnings)
    injected = with_sidecar(request.object, platform, decision.overrides)
    patch = tuple(difference(request.object, injected.pod))
    if not patch:
        return Outcome(result=Result.SKIPPED, reason=SkipReason.ALREADY_INJECTED.value)
    # What a second call finds was told by the first.
    told = is_injected(request.object)
    mended: tuple[str, ...] = tuple(f"{names.CONTAINER} {it}; it was set right" for it in injected.mended)
    return Outcome(
        result=Result.INJECTED,
        reason=MENDED if mended else "",
        patch=patch,
        warnings=mended if told else (*mended, *injected.warnings),
    )


def _verified(request: Request, platform: Platform, *, by_namespace: bool) -> Outcome:
    if request.operation != "CREATE":
        return UNCHANGED
    decision = verify(request.object, platform, by_namespace=by_namespace)
    if isinstance(decision, Deny):
        return Outcome(result=Result.DENIED, reason=decision.reason.value, message=decision.message)
    if isinstance(decision, Skip):
        return Outcome(result=Result.SKIPPED, reason=decision.reason.value)
    return UNCHANGED


def _workload(request: Request, platform: Platform) -> Outcome:
    found = follow(request.kind, request.object, request.old, platform.template)
    if isinstance(found, Deny):
        return Outcome(result=Result.DENIED, reason=found.reason.value, message=found.message)
    patch = tuple(difference(request.object, found.workload))
    result = Result.COPIED if patch else Result.WARNED if found.warnings else Result.UNCHANGED
    return Outcome(result=result, patch=patch, warnings=found.warnings)


def _namespace(request: Request) -> Outcome:
    """A word that nobody understands is refused when it is written; one that was there already is left."""
    before: Document = request.old or {}
    choice, old = (choice_of({"metadata": {"labels": labels_of(it)}}) for it in (request.object, before))
    if isinstance(choice, WrongChoice) and choice != old:
        return Outcome(result=Result.DENIED, reason=DenyReason.WRONG_INJECT.value, message=choice.message)
    if INJECT in annotations_of(request.object) and INJECT not in annotations_of(before):
        warning = f"annotation {INJECT} on a namespace changes nothing; it has to be a label"
        return Outcome(result=Result.WARNED, warnings=(warning,))
    return UNCHANGED


def _expect(entry: Entry, request: Request, *kinds: str) -> None:
    if request.kind not in kinds:
        raise RequestError(f"/{entry.value} is for {', '.join(kinds)}, and not for {request.kind}")
