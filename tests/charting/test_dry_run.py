"""Every profile is taken by the real API server: no field that it does not know, no warning, nothing above `restricted`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from charting_site.helm import CHART, NAME, NAMESPACE, PROFILES, Helm, HelmError
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.errors import KubectlFailedError
from tidegate_testing.operators import ROOT

STANDARD = "pod-security.kubernetes.io"


@pytest.fixture(scope="module")
def restricted(cluster_for_charts: ControlPlane) -> Iterator[str]:
    """A namespace that takes pods of level `restricted` alone, and says so of Deployments too."""
    name = "dry-runs"
    cluster_for_charts.kubectl("create", "namespace", name)
    levels = (f"{STANDARD}/enforce=restricted", f"{STANDARD}/warn=restricted")
    cluster_for_charts.kubectl("label", "namespace", name, *levels)
    yield name
    cluster_for_charts.kubectl("delete", "namespace", name, "--wait=false")


def dry_run(control_plane: ControlPlane, text: str) -> list[str]:
    """What the server would make, without a warning."""
    printed = control_plane.kubectl(
        "apply", "--dry-run=server", "--warnings-as-errors", "--output=name", "--filename=-", stdin=text
    )
    return printed.split()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_server_takes_every_object(
    helm: Helm, cluster_for_charts: ControlPlane, restricted: str, profile: str
) -> None:
    # definitions are the same in all of them: once is enough
    render = helm.render_all if profile == "everything" else helm.render
    objects = render(profile=profile, namespace=restricted)
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects.values())}
    taken = dry_run(cluster_for_charts, json.dumps(items))
    assert sorted(it.partition("/")[2] for it in taken) == sorted(name for _, name in objects)


def test_rights_and_definitions_may_have_been_applied_by_somebody_else(
    helm: Helm, cluster_for_charts: ControlPlane
) -> None:
    """What is there already is nothing that helm would have to make."""
    kubectl = cluster_for_charts.kubectl
    folders = [f"--filename={ROOT / 'deploy' / 'rbac'}", f"--filename={ROOT / 'crds'}"]
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", "--server-side", *folders)
    try:
        with pytest.raises(HelmError, match="invalid ownership metadata"):
            helm.at(cluster_for_charts)("install", NAME, str(CHART), "--dry-run=server")
        values = f"--values={PROFILES['least-privilege']}"
        helm.at(cluster_for_charts)("install", NAME, str(CHART), values, "--dry-run=server")
    finally:
        # The namespace first: its end would wait for kinds that are gone.
        kubectl("delete", "namespace", NAMESPACE)
        kubectl("delete", "--ignore-not-found", *folders)


def test_the_dry_run_notices_what_is_wrong(
    helm: Helm, cluster_for_charts: ControlPlane, restricted: str
) -> None:
    """Else it would prove nothing: an unknown field, a pod above `restricted`, a monitor without its port."""

    def changed(kind: str, name: str, change: Any) -> str:
        item = json.loads(json.dumps(helm.render(profile="everything", namespace=restricted)[kind, name]))
        change(item["spec"])
        return json.dumps(item)

    def root(spec: Any) -> None:
        spec["template"]["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = False

    def unknown(spec: Any) -> None:
        spec["template"]["spec"]["terminationGraceSeconds"] = 3

    def portless(spec: Any) -> None:
        spec["podMetricsEndpoints"] = "all"

    for kind, name, change, said in (
        ("Deployment", "tidegate-operator", root, "restricted"),
        ("Deployment", "tidegate-operator", unknown, "terminationGraceSeconds"),
        ("PodMonitor", "tidegate", portless, "podMetricsEndpoints"),
    ):
        with pytest.raises(KubectlFailedError, match=said):
            dry_run(cluster_for_charts, changed(kind, name, change))
