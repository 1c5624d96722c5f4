"""Workloads of Argo and OpenKruise opt in on their pod template: nobody looks at the objects themselves, and their pods are as others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from injecting_site.injector import InjectorProcess
from injecting_site.objects import Namespace, has_sidecar, pod
from tidegate_testing.objects import Objects
from tidegate_testing.other_groups import FOREIGN_KINDS, ForeignKind, foreign_kinds

from tidegate_operator.inject.names import INJECT

ASKED = {"annotations": {INJECT: "enabled"}}


@pytest.fixture
def objects(team: Namespace) -> Iterator[Objects]:
    """Of a cluster that serves these kinds."""
    with foreign_kinds(team.control_plane) as objects:
        yield objects


def owned(owner: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """The pod that a controller makes of the owner's pod template."""
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {key: owner["metadata"][key] for key in ("name", "uid")} | {"controller": True}
    return pod("chat-0", ownerReferences=[reference], **metadata)


@pytest.mark.parametrize("kind", FOREIGN_KINDS, ids=lambda it: f"{it.kind}.{it.group}")
def test_a_pod_gets_its_sidecar_by_the_template_and_never_by_the_workload(
    team: Namespace, injector: InjectorProcess, objects: Objects, kind: ForeignKind
) -> None:
    asked = {entry: injector.asked(entry) for entry in ("workloads", "pods")}
    annotated = objects.apply(kind.document(team.name, {"metadata": {}}, **ASKED))
    assert annotated["spec"]["template"] == {"metadata": {}}
    assert not has_sidecar(team.create(owned(annotated, {}), dry_run=True)[1])
    assert {entry: injector.asked(entry) for entry in asked} == asked

    opted_in = objects.apply(kind.document(team.name, {"metadata": ASKED}))
    template = opted_in["spec"]["template"]["metadata"]
    assert has_sidecar(team.stored(owned(opted_in, template)))
    assert injector.asked("workloads") == asked["workloads"]
