"""`kubectl annotate deployment chat tidegate.dev/inject=enabled` is all it takes, and taking it back takes it away."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injecting_shapes.platform import ask, patched
from injecting_shapes.pods import container

from tidegate_operator.inject.decide import DenyReason
from tidegate_operator.inject.names import COPIED, INJECT
from tidegate_operator.inject.response import Result
from tidegate_operator.inject.review import Entry
from tidegate_operator.inject.workloads import TEMPLATES

KINDS = list(TEMPLATES)


def workload(
    kind: str, metadata: dict[str, Any] | None = None, template: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A workload as the API server sends it: the template's metadata is always there."""
    spec: dict[str, Any] = {"metadata": template or {}, "spec": {"containers": [container()]}}
    for key in reversed(TEMPLATES[kind]):
        spec = {key: spec}
    return {"kind": kind, "metadata": {"name": "chat", **(metadata or {})}, **spec}


def template_of(document: dict[str, Any]) -> dict[str, Any]:
    for key in TEMPLATES[document["kind"]]:
        document = document[key]
    return document


def annotated(document: dict[str, Any], value: str | None) -> dict[str, Any]:
    """What `kubectl annotate` makes of it."""
    result = copy.deepcopy(document)
    annotations = result["metadata"].setdefault("annotations", {})
    if value is None:
        annotations.pop(INJECT, None)
    else:
        annotations[INJECT] = value
    if not annotations:
        del result["metadata"]["annotations"]
    return result


def stored(document: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    outcome = ask(document, Entry.WORKLOADS, operation="UPDATE" if old else "CREATE", oldObject=old)
    assert outcome.allowed, outcome.message
    return patched(document, outcome.patch)


@pytest.mark.parametrize("kind", KINDS)
def test_the_word_is_copied_with_a_mark(kind: str) -> None:
    found = stored(annotated(workload(kind), "enabled"))
    assert template_of(found)["metadata"] == {"annotations": {INJECT: "enabled", COPIED: "enabled"}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_without_metadata_gets_some(kind: str) -> None:
    document = annotated(workload(kind), "enabled")
    del template_of(document)["metadata"]
    assert template_of(stored(document))["metadata"]["annotations"][INJECT] == "enabled"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_depends_on_our_version_is_copied(kind: str) -> None:
    outcome = ask(annotated(workload(kind), "enabled"), Entry.WORKLOADS)
    (operation,) = outcome.patch
    assert operation["value"] == {INJECT: "enabled", COPIED: "enabled"}


WORDS = st.none() | st.sampled_from(["enabled", "disabled"])
OTHERS = st.dictionaries(st.sampled_from(["app", "example.com/a~b", "sidecar.istio.io/inject"]), st.just("x"))


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any]:
    """Workloads that nobody has opted in, whose templates may say something themselves."""
    template: dict[str, Any] = {}
    for field in ("annotations", "labels"):
        found = draw(OTHERS)
        if draw(st.booleans()):
            found |= {INJECT: "disabled"}
        if found:
            template[field] = found
    metadata = {"labels": labels} if (labels := draw(OTHERS)) else {}
    # a Job is followed once, when it is new
    kind = draw(st.sampled_from([kind for kind in KINDS if kind != "Job"]))
    return workload(kind, metadata, template)


@settings(deadline=None)
@given(workloads(), st.lists(WORDS, max_size=4))
def test_taking_it_back_restores_the_exact_object(document: dict[str, Any], words: list[str | None]) -> None:
    """However often the mind was changed in between."""
    found = document
    for word in [*words, None]:
        found = stored(annotated(found, word), found)
    assert found == document


@settings(deadline=None)
@given(workloads(), WORDS)
def test_following_twice_is_following_once(document: dict[str, Any], word: str | None) -> None:
    """A GitOps tool applies the same manifest for ever: what is settled stays."""
    once = stored(annotated(document, word))
    assert ask(once, Entry.WORKLOADS, operation="UPDATE", oldObject=once).patch == ()


@settings(deadline=None)
@given(workloads(), st.sampled_from(["enabled", "disabled"]))
def test_what_the_template_says_itself_stays(document: dict[str, Any], word: str) -> None:
    own = template_of(document)["metadata"]
    says = {
        field: own[field].get(INJECT) for field in ("annotations", "labels") if INJECT in own.get(field, {})
    }
    found = template_of(stored(annotated(document, word)))["metadata"]
    if says:
        assert found == own
    else:
        assert found["annotations"][INJECT] == word


def test_replacing_the_object_by_its_manifest_changes_nothing() -> None:
    """`kubectl replace` sends a template without the copy; it is made again, so that the pods are not rolled."""
    manifest = annotated(workload("Deployment"), "enabled")
    live = stored(manifest)
    assert stored(manifest, live) == live


def test_a_word_that_changes_is_copied_again() -> None:
    live = stored(annotated(workload("Deployment"), "enabled"))
    found = stored(annotated(live, "disabled"), live)
    assert template_of(found)["metadata"]["annotations"] == {INJECT: "disabled", COPIED: "disabled"}


def test_a_copy_that_somebody_changed_is_theirs() -> None:
    live = stored(annotated(workload("Deployment"), "enabled"))
    template_of(live)["metadata"]["annotations"][INJECT] = "disabled"
    found = stored(annotated(live, None), live)
    assert template_of(found)["metadata"]["annotations"] == {INJECT: "disabled"}


def test_a_label_on_the_workload_counts_as_well() -> None:
    found = stored(workload("Deployment", {"labels": {INJECT: "enabled"}}))
    assert template_of(found)["metadata"]["annotations"][INJECT] == "enabled"


def test_a_label_of_the_template_takes_the_place_of_the_copy() -> None:
    """Both would contradict each other one day, and the pods would be refused."""
    live = stored(annotated(workload("Deployment"), "enabled"))
    template_of(live)["metadata"]["labels"] = {INJECT: "disabled"}
    found = stored(live, live)
    assert template_of(found)["metadata"] == {"labels": {INJECT: "disabled"}}


@pytest.mark.parametrize(("kind", "value"), list(product(KINDS, ["true", ""])))
def test_a_wrong_word_is_refused(kind: str, value: str) -> None:
    outcome = ask(annotated(workload(kind), value), Entry.WORKLOADS)
    assert (outcome.result, outcome.reason) == (Result.DENIED, DenyReason.WRONG_INJECT)
    assert "allowed are enabled or disabled" in outcome.message


def test_a_wrong_word_from_before_us_stops_no_controller() -> None:
    live = annotated(workload("Deployment"), "true")
    outcome = ask(live, Entry.WORKLOADS, operation="UPDATE", oldObject=live)
    assert (outcome.result, outcome.patch) == (Result.WARNED, ())


def test_what_the_pods_would_be_refused_for_is_told_when_opting_in() -> None:
    document = annotated(
        workload("Deployment", template={"annotations": {"tidegate.dev/cpu-limit": "x"}}), "enabled"
    )
    outcome = ask(document, Entry.WORKLOADS)
    assert outcome.reason == DenyReason.WRONG_OVERRIDE
    assert outcome.message.startswith("in the pod template, annotation tidegate.dev/cpu-limit is 'x'")
    taken_back = annotated(document, None)
    assert ask(taken_back, Entry.WORKLOADS, operation="UPDATE", oldObject=document).allowed


def test_an_override_on_the_wrong_object_is_told() -> None:
    document = annotated(workload("Deployment", {"annotations": {"tidegate.dev/cpu-limit": "1"}}), "enabled")
    assert ask(document, Entry.WORKLOADS).warnings == (
        "annotation tidegate.dev/cpu-limit has to stand on the pod template; on the Deployment itself it changes nothing",
    )


def test_pods_that_will_get_no_sidecar_are_told() -> None:
    document = annotated(workload("DaemonSet"), "enabled")
    template_of(document)["spec"]["hostNetwork"] = True
    outcome = ask(document, Entry.WORKLOADS)
    assert outcome.result is Result.COPIED
    assert outcome.warnings[0].startswith("pods of this DaemonSet get no sidecar: with hostNetwork")


def test_a_job_of_a_cron_job_keeps_what_that_has_copied() -> None:
    """It says nothing itself, and its template has a copy: nobody has taken anything back."""
    cron_job = stored(annotated(workload("CronJob"), "enabled"))
    made = {"kind": "Job", "metadata": {"name": "chat-1"}, **cron_job["spec"]["jobTemplate"]}
    assert stored(made) == made
    told_otherwise = stored(annotated(made, "disabled"))
    assert template_of(told_otherwise)["metadata"]["annotations"] == {INJECT: "disabled", COPIED: "disabled"}


def test_a_job_that_exists_is_not_changed_and_its_author_is_told() -> None:
    live = workload("Job")
    outcome = ask(annotated(live, "enabled"), Entry.JOBS, operation="UPDATE", oldObject=live)
    assert (outcome.result, outcome.patch) == (Result.WARNED, ())
    assert "create the Job anew" in outcome.warnings[0]


def test_a_job_that_is_as_wanted_has_nothing_to_tell() -> None:
    live = stored(annotated(workload("Job"), "enabled"))
    assert ask(live, Entry.JOBS, operation="UPDATE", oldObject=workload("Job")).result is Result.UNCHANGED


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        ({}, {"labels": {INJECT: "enabled"}}, Result.UNCHANGED),
        ({}, {"labels": {INJECT: "true"}}, Result.DENIED),
        ({"labels": {INJECT: "true"}}, {"labels": {INJECT: "true", "a": "b"}}, Result.UNCHANGED),
        ({"labels": {INJECT: "yes"}}, {"labels": {INJECT: "true"}}, Result.DENIED),
        ({}, {"annotations": {INJECT: "enabled"}}, Result.WARNED),
        ({"annotations": {INJECT: "enabled"}}, {"annotations": {INJECT: "enabled"}}, Result.UNCHANGED),
    ],
)
def test_namespaces(old: dict[str, Any], new: dict[str, Any], result: Result) -> None:
    before = {"kind": "Namespace", "metadata": {"name": "team-a", **old}}
    after = {"kind": "Namespace", "metadata": {"name": "team-a", **new}}
    assert ask(after, Entry.NAMESPACES, operation="UPDATE", oldObject=before).result is result
