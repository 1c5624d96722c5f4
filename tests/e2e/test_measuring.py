"""What it costs, measured on real pods; the table stands at the end of the run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from e2e_site.applications import IDLE, MODEL, OTHER_MODEL, pod, pod_spec, policy
from e2e_site.following import Following, now_ms
from e2e_site.metrics import memory_mib
from e2e_site.release import SYSTEM, Release
from e2e_site.site import CALLERS, SITE
from e2e_site.table import Table, percentile

if TYPE_CHECKING:
    from tidegate_node.access import Cluster

EDITS = 10
TOLD = 3
STARTS = 5
OPERATOR_PORT = INJECTOR_PORT = 8080
SIDECAR_PORT = 19290


def outcomes(callers: Following, model: str, status: int, since_ms: int) -> dict[str, int]:
    """When each pod's calls of a model first had this outcome, in milliseconds after a moment."""
    found: dict[str, int] = {}
    for line in callers.said():
        if line.get("model") == model and line["status"] == status and line["at_ms"] >= since_ms:
            found.setdefault(line["pod"], line["at_ms"] - since_ms)
    return found


def test_an_edit_is_enforced_by_all_pods(installed: Cluster, callers: Following, table: Table) -> None:
    took_ms: list[float] = []
    told_s: list[float] = []
    for edit in range(EDITS):
        models, status = ((MODEL,), 403) if edit % 2 == 0 else ((MODEL, OTHER_MODEL), 200)
        began_ms = now_ms()
        installed.apply(policy(SITE, models=models))
        applied_ms = now_ms()
        installed.wait_until(
            lambda began_ms=began_ms, status=status: (  # type: ignore[misc]
                len(outcomes(callers, OTHER_MODEL, status, began_ms)) == CALLERS
            ),
            namespace=SITE,
            what=f"{status} for {OTHER_MODEL} in all pods",
        )
        found = outcomes(callers, OTHER_MODEL, status, began_ms)
        took_ms += [max(0, it - (applied_ms - began_ms)) for it in found.values()]
        if edit >= EDITS - TOLD:
            installed.wait_until(
                lambda: is_programmed(installed), namespace=SITE, what="Programmed in the policy's status"
            )
            told_s.append((now_ms() - applied_ms) / 1000)
    table.add(
        f"applied to enforced, as {CALLERS} pods' own calls show ({EDITS} edits)",
        f"p50 {percentile(took_ms, 50):.0f} ms, p99 {percentile(took_ms, 99):.0f} ms",
    )
    table.add(
        f"applied to Programmed in the status ({TOLD} edits)",
        ", ".join(f"{it:.1f} s" for it in told_s),
    )


def is_programmed(cluster: Cluster) -> bool:
    """Whether the status says of this very generation that all sidecars enforce it."""
    found = cluster.get("aipolicies.tidegate.dev", "all", SITE)
    (programmed,) = (it for it in found["status"]["conditions"] if it["type"] == "Programmed")
    return bool(
        programmed["status"] == "True"
        and programmed["observedGeneration"] == found["metadata"]["generation"]
        and found["status"]["sidecars"]["desired"] >= CALLERS
    )


def ready_after_s(cluster: Cluster, name: str, *, inject: bool) -> float:
    """Seconds from the creation of a pod until it is Ready."""
    document = pod(name, SITE, pod_spec("app", IDLE))
    document["spec"]["terminationGracePeriodSeconds"] = 0
    if not inject:
        document["metadata"]["annotations"] = {}
    began_s = time.monotonic()
    cluster.apply(document)
    cluster.kubectl(
        "wait", f"pod/{name}", f"--namespace={SITE}", "--for=condition=Ready", "--timeout=60s", timeout_s=65
    )
    took_s = time.monotonic() - began_s
    cluster.kubectl("delete", "pod", name, f"--namespace={SITE}", "--wait=true")
    return took_s


@pytest.mark.usefixtures("callers")
def test_a_sidecar_delays_its_pod_little(installed: Cluster, table: Table) -> None:
    plain = [ready_after_s(installed, f"plain-{number}", inject=False) for number in range(STARTS)]
    injected = [ready_after_s(installed, f"injected-{number}", inject=True) for number in range(STARTS)]
    table.add(
        "created to Ready, median, without and with a sidecar",
        f"{percentile(plain, 50):.1f} s and {percentile(injected, 50):.1f} s",
    )
    assert percentile(injected, 50) > 0


def test_memory_is_told(installed: Cluster, release: Release, callers: Following, table: Table) -> None:
    callers.wait_for_calls(CALLERS)
    sidecars = [it["metadata"]["name"] for it in installed.pods(SITE, "app=caller")]
    for what, namespace, pods, port in (
        ("operator", SYSTEM, release.pods("tidegate-operator"), OPERATOR_PORT),
        ("injector", SYSTEM, release.pods("tidegate-injector"), INJECTOR_PORT),
        ("sidecar", SITE, sidecars, SIDECAR_PORT),
    ):
        used = [memory_mib(installed, namespace, name, port) for name in pods]
        assert all(it > 0 for it in used), used
        table.add(f"memory of each {what}", ", ".join(f"{it:.0f} MiB" for it in used))


def test_a_rolling_update_loses_no_call(installed: Cluster, callers: Following, table: Table) -> None:
    began_ms, before = now_ms(), callers.calls()
    installed.kubectl("rollout", "restart", "deployment/caller", f"--namespace={SITE}")
    installed.wait_for_rollout(SITE, "deployment/caller")
    old_are_gone = f"end of the old pods of {SITE}"
    installed.wait_until(
        lambda: (
            len(
                installed.kubectl(
                    "get", "pods", f"--namespace={SITE}", "--selector=app=caller", "--output=name"
                ).split()
            )
            == CALLERS
        ),
        namespace=SITE,
        what=old_are_gone,
    )
    callers.wait_for_calls(10)
    lost = callers.failures(began_ms, of_new_pods=True)
    table.add("calls lost in a rolling update", f"{len(lost)} of {callers.calls() - before}")
    assert lost == []
    installed.wait_until(
        lambda: sum("is_over" in it for it in callers.said()) >= CALLERS,
        namespace=SITE,
        what="the last words of the old pods",
    )
