"""What happens when a part of Tidegate is away: what runs goes on, what starts waits and says so, and all heals by itself.

Healing takes as long as somebody's pauses: test_healing.py sees to it, after other tests.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import pytest
from e2e_site.applications import ASK, IDLE, MODEL, deployment, pod, pod_spec
from e2e_site.following import Following, now_ms, printed
from e2e_site.release import Release
from e2e_site.site import SITE
from e2e_site.table import Table
from tidegate_cluster.errors import KubectlFailedError

if TYPE_CHECKING:
    from tidegate_node.access import Cluster

AWAY_S = 60


def wait_ready(cluster: Cluster, name: str) -> None:
    cluster.kubectl(
        "wait", f"pod/{name}", f"--namespace={SITE}", "--for=condition=Ready", "--timeout=90s", timeout_s=95
    )


def test_without_an_operator_sidecars_go_on_and_new_pods_wait(
    installed: Cluster, release: Release, callers: Following
) -> None:
    began_ms, began_s = now_ms(), time.monotonic()
    release.scale("tidegate-operator", 0)
    try:
        installed.apply(pod("newcomer", SITE, pod_spec("app", ASK)))
        installed.wait_until(
            lambda: any(it["status"] == 503 for it in printed(installed, SITE, "newcomer", "app")),
            namespace=SITE,
            what="config_pending for a pod that has started without an operator",
        )
        assert any("configuration" in it["message"] for it in printed(installed, SITE, "newcomer", "app"))
        # All of the minute, and not only until the first sign.
        installed.wait_until(
            lambda: time.monotonic() - began_s >= AWAY_S,
            namespace=SITE,
            what="the minute",
            within_s=2 * AWAY_S,
        )
        callers.wait_for_calls(10)
        assert callers.failures(began_ms) == []
    finally:
        release.scale("tidegate-operator", 2)


def test_without_an_injector_only_those_who_ask_for_a_sidecar_wait(
    installed: Cluster, release: Release, callers: Following
) -> None:
    began_ms = now_ms()
    release.scale("tidegate-injector", 0)
    try:
        plain = pod("plain", SITE, pod_spec("app", IDLE))
        plain["metadata"]["annotations"] = {}
        installed.apply(plain)
        wait_ready(installed, "plain")
        with pytest.raises(KubectlFailedError, match=r"inject\.tidegate\.dev"):
            installed.apply(pod("refused", SITE, pod_spec("app", IDLE)))
        # Deletions go through, those of injected pods included.
        victim = installed.pods(SITE, "app=caller")[0]["metadata"]["name"]
        installed.delete_pod(SITE, victim)
    finally:
        release.scale("tidegate-injector", 2)
    installed.kubectl(
        "wait", f"pod/{victim}", f"--namespace={SITE}", "--for=delete", "--timeout=60s", timeout_s=65
    )
    callers.wait_for_calls(10)
    assert callers.failures(began_ms) == []
    installed.delete_pod(SITE, "plain")


@pytest.mark.usefixtures("callers")
def test_a_pod_that_is_evicted_finishes_its_streams(installed: Cluster, table: Table) -> None:
    chunks, pause_ms = 90, 200
    stream = ["python3", "/programs/streamer.py", MODEL, str(chunks), str(pause_ms)]
    spec = pod_spec("streamer", stream) | {"terminationGracePeriodSeconds": 90}
    installed.apply(deployment("streamer", SITE, spec))
    installed.wait_for_rollout(SITE, "deployment/streamer")
    (found,) = installed.pods(SITE, "app=streamer")
    name = found["metadata"]["name"]
    installed.wait_until(
        lambda: "begun" in installed.logs(SITE, name, "streamer"), namespace=SITE, what="the stream"
    )
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": SITE},
    }
    followed: list[str] = []
    installed.kubectl(
        "create",
        "--raw",
        f"/api/v1/namespaces/{SITE}/pods/{name}/eviction",
        "-f",
        "-",
        stdin=json.dumps(eviction),
    )
    # Follows the log until the container has ended.
    followed = installed.kubectl(
        "logs", "--follow", name, f"--namespace={SITE}", "--container=streamer", timeout_s=120
    ).splitlines()
    last = json.loads(followed[-1])
    assert last["finish"] == "stop", followed
    assert last["was_told_to_end"]
    assert last["events"] >= chunks
    table.add("stream in flight when its pod is evicted", f"finished, {last['events']} events")
    installed.kubectl("delete", "deployment", "streamer", f"--namespace={SITE}", "--wait=false")


def test_a_new_key_in_the_secret_is_used_without_a_restart(installed: Cluster, callers: Following) -> None:
    """The kubelet brings it into the volume; calls go on all the while."""
    from e2e_site import applications  # noqa: PLC0415
    from e2e_site.metrics import metric  # noqa: PLC0415

    began_ms = now_ms()
    names = installed.ready_pods(SITE, "app=caller")

    def loaded() -> list[float]:
        sample = "tidegate_keys_loaded_timestamp_seconds"
        return [metric(installed, SITE, name, 19290, sample) for name in names]

    before: list[float] = []

    def are_told() -> bool:
        before[:] = loaded()
        return not any(map(math.isnan, before))

    installed.wait_until(are_told, namespace=SITE, what="the time of the first key in every sidecar")
    installed.apply(applications.keys(SITE, "key-two"))
    installed.wait_until(
        lambda: min(loaded()) > max(before), namespace=SITE, what="the new key in every sidecar", within_s=180
    )
    callers.wait_for_calls(10)
    assert callers.failures(began_ms) == []
