"""The CEL of the configuration, evaluated by the API server, agrees with the pure functions in every case.

Each combination of words is sent (and not stored). What comes back has to be what `follow` and `decide` say, and the
injector must have been asked exactly when it had something to do: who has nothing to do with us never depends on us.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from injecting_site.injector import InjectorProcess
from injecting_site.objects import Namespace, has_sidecar, pod, template_of, workload

from tidegate_operator.inject.decide import Deny
from tidegate_operator.inject.names import COPIED, INJECT
from tidegate_operator.inject.template import Template
from tidegate_operator.inject.workloads import follow

TEMPLATE = Template(version="0", image="a", operator_url="https://a")


def metadata(annotation: str | None, label: str | None, copied: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    annotations = {INJECT: annotation, COPIED: copied}
    if kept := {name: value for name, value in annotations.items() if value is not None}:
        found["annotations"] = kept
    # never empty: the API server gives a Job without labels those of its template
    found["labels"] = {"app": "chat"} | ({} if label is None else {INJECT: label})
    return found


@pytest.mark.parametrize("kind", ["Deployment", "CronJob", "Job"])
def test_workloads_are_asked_about_exactly_when_they_are_to_change(
    team: Namespace, injector: InjectorProcess, kind: str
) -> None:
    words = [None, "enabled", "disabled", "true", ""]
    expected = 0
    asked = injector.asked("workloads")
    for annotation, label, own, own_label, copied in product(
        words, [None, "enabled", "true"], [None, "enabled", "disabled"], [None, "disabled"], [None, "enabled"]
    ):
        document = workload(kind, metadata=metadata(annotation, label))
        said = metadata(own, own_label, copied)
        template_of(document)["metadata"] |= {"annotations": said.get("annotations", {})}
        template_of(document)["metadata"]["labels"] |= said["labels"]
        status, found = team.create(document, dry_run=True)
        wanted = follow(kind, document, None, TEMPLATE)
        case = (annotation, label, own, own_label, copied)
        if isinstance(wanted, Deny):
            expected += 1
            assert (status, wanted.message in found["message"]) == (400, True), case
            continue
        expected += wanted.workload != document
        assert status == 201, (case, found)
        before, after = template_of(wanted.workload)["metadata"], template_of(found)["metadata"]
        assert after.get("annotations", {}) == before.get("annotations", {}), case
    assert injector.asked("workloads") - asked == expected


@pytest.mark.parametrize("by_namespace", [False, True])
def test_pods_are_asked_about_exactly_when_they_want_a_sidecar(
    team: Namespace,
    injector: InjectorProcess,
    by_namespace: bool,
) -> None:
    if by_namespace:
        team.control_plane.kubectl("label", "namespace", team.name, f"{INJECT}=enabled")
        team.until(lambda: has_sidecar(team.create(pod(), dry_run=True)[1]), "the namespace's word")
    entries = ("pods", "pods-of-namespaces")
    asked, expected = {entry: injector.asked(entry) for entry in entries}, dict.fromkeys(entries, 0)
    for annotation, label in product(
        [None, "enabled", "disabled", "true", ""], [None, "enabled", "disabled", "x"]
    ):
        status, found = team.create(pod(**metadata(annotation, label)), dry_run=True)
        said = {word for word in (annotation, label) if word is not None}
        if not said <= {"enabled", "disabled"} or len(said) > 1:
            assert (status, "allowed are" in found["message"] or "take one" in found["message"]) == (
                400,
                True,
            )
            expected["pods"] += 1
            continue
        wanted = "enabled" in said or (not said and by_namespace)
        assert (status, has_sidecar(found)) == (201, wanted), (annotation, label)
        # once: there is nothing for the API server's own admission to add to the new container
        expected["pods" if said else "pods-of-namespaces"] += wanted
    assert {entry: injector.asked(entry) - asked[entry] for entry in entries} == expected


def test_namespaces_of_the_cluster_itself_are_never_asked_about(
    team: Namespace, injector: InjectorProcess
) -> None:
    asked = injector.asked("pods")
    system = Namespace(team.control_plane, "kube-system")
    status, found = system.create(pod(annotations={INJECT: "enabled"}), dry_run=True)
    assert (status, has_sidecar(found)) == (201, False)
    assert injector.asked("pods") == asked


def test_a_wrong_label_of_a_namespace_is_refused(team: Namespace) -> None:
    answer = team.control_plane.request(
        "POST",
        "/api/v1/namespaces?dryRun=All",
        body={"metadata": {"name": "mislabelled", "labels": {INJECT: "true"}}},
    )
    assert answer.status == 400
    assert "label tidegate.dev/inject is 'true'; allowed are enabled or disabled" in answer.text
