"""An upgrade with pods running: nobody is restarted, no call is lost, and pods made from then on get what is new."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from e2e_site.applications import pod, pod_spec
from e2e_site.following import Following, now_ms
from e2e_site.release import SYSTEM, Release
from e2e_site.site import SITE
from e2e_site.table import Table

if TYPE_CHECKING:
    from tidegate_node.access import Cluster


def test_an_upgrade_restarts_nobody_and_loses_no_call(
    installed: Cluster, release: Release, callers: Following, table: Table
) -> None:
    began_ms, before = now_ms(), callers.calls()
    pods = {it["metadata"]["uid"] for it in installed.pods(SITE, "app=caller")}
    replicas = standing(installed)

    release.upgrade("--set=logLevel=DEBUG", "--set=sidecar.resources.requests.memory=72Mi")

    # helm is content when the new ones are ready; the last old one may still have to be told to go
    for name in ("tidegate-operator", "tidegate-injector"):
        installed.wait_for_rollout(SYSTEM, f"deployment/{name}")
    assert not replicas & standing(installed)
    assert {it["metadata"]["uid"] for it in installed.pods(SITE, "app=caller")} == pods
    callers.wait_for_calls(10)
    lost = callers.failures(began_ms)
    table.add("calls lost in an upgrade of the chart", f"{len(lost)} of {callers.calls() - before}")
    assert lost == []

    # The former injectors answer for some seconds after they were told to end: the API server may not know of it yet.
    installed.wait_until(
        lambda: memory_asked_for(installed) == "72Mi", namespace=SYSTEM, what="the new value in new pods"
    )


def memory_asked_for(cluster: Cluster) -> str:
    """By the sidecar of a pod that would be made now."""
    document = json.dumps(pod("fresh", SITE, pod_spec("app", ["true"])))
    answer = cluster.kubectl("create", "--dry-run=server", "--output=json", "-f", "-", stdin=document)
    (sidecar,) = json.loads(answer)["spec"]["initContainers"]
    return str(sidecar["resources"]["requests"]["memory"])


def standing(cluster: Cluster) -> set[str]:
    """Names of our pods that are not being deleted."""
    found = cluster.pods(SYSTEM, "app.kubernetes.io/part-of=tidegate")
    assert len(found) == 4, found
    return {it["metadata"]["name"] for it in found}
