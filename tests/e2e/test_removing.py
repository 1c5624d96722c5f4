"""The end: `helm uninstall` leaves nothing that keeps a pod from starting, and nothing of what people have written is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e_site.applications import IDLE, pod, pod_spec
from e2e_site.following import Following, now_ms
from e2e_site.release import Release
from e2e_site.site import SITE

if TYPE_CHECKING:
    from tidegate_node.access import Cluster


def test_what_is_uninstalled_is_in_nobodys_way(
    installed: Cluster, release: Release, callers: Following
) -> None:
    began_ms = now_ms()
    release.uninstall()

    webhooks = installed.kubectl(
        "get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "--output=name"
    )
    assert "tidegate" not in webhooks
    installed.apply(pod("later", SITE, pod_spec("app", IDLE)))
    installed.kubectl(
        "wait", "pod/later", f"--namespace={SITE}", "--for=condition=Ready", "--timeout=60s", timeout_s=65
    )
    assert "initContainers" not in installed.get("pod", "later", SITE)["spec"]
    # What people wrote is still there, and pods that run keep their rules.
    assert installed.get("aipolicies.tidegate.dev", "all", SITE)["spec"]
    callers.wait_for_calls(10)
    assert callers.failures(began_ms) == []
    installed.kubectl("delete", "pod", "later", f"--namespace={SITE}", "--wait=false")
