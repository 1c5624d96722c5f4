"""Faults of the node and of what the cluster itself is made of: for a node that may be disturbed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e_site import stepping
from e2e_site.applications import ASK, IDLE, MODEL, OTHER_MODEL, pod, pod_spec, policy
from e2e_site.churn import Churn
from e2e_site.following import Following, now_ms, printed
from e2e_site.metrics import metric
from e2e_site.release import SYSTEM, Release
from e2e_site.site import SITE
from e2e_site.table import Table

if TYPE_CHECKING:
    from tidegate_node.access import Cluster
    from tidegate_node.node import Node

SIDECAR = "tidegate-sidecar"
AGE = "tidegate_config_age_seconds"
OLD_S = 15
FEW = 3


pytestmark = pytest.mark.usefixtures("cut")


@dataclass(frozen=True, slots=True)
class Cut:
    """A pod whose sidecar does not reach the operator: its packets there are dropped in the pod's own network."""

    node: Node
    pod: str
    since_ms: int

    def age_s(self, cluster: Cluster) -> float:
        """How old its sidecar says that its configuration is."""
        return metric(cluster, SITE, self.pod, 19290, AGE)

    def change(self, how: str) -> None:
        """`--insert` or `--delete` the rule that drops them."""
        rule = ("OUTPUT", "--protocol", "tcp", "--dport", "8443", "--jump", "DROP")
        self.node.run_in_pod_network(SITE, self.pod, "iptables", how, *rule)


@pytest.fixture(scope="module")
def cut(installed: Cluster, node: Node, callers: Following) -> Cut:
    """Cut off while other faults are played, since it takes minutes: a poll in flight has 55 s to wait."""
    assert callers.calls()
    installed.wait_until(lambda: bool(ready(installed)), namespace=SITE, what="a caller that is ready")
    found = Cut(node, max(ready(installed)), now_ms())
    found.change("--insert")
    return found


@dataclass(frozen=True, slots=True)
class Replacement:
    """The injector's Secret was taken away, so another certificate is made; meanwhile pods are admitted all the time."""

    churn: Churn
    served_until: dict[str, float]

    def is_served(self, cluster: Cluster) -> bool:
        """Whether every injector has it."""
        return all(ends_at(cluster, name) > former for name, former in self.served_until.items())


@pytest.fixture(scope="module")
def replacement(installed: Cluster, node: Node, release: Release) -> Iterator[Replacement]:
    """Begun while other faults are played: the leader looks once a minute, and the kubelet takes its time as well."""
    assert node.failures() == []
    served_until = {name: ends_at(installed, name) for name in release.pods("tidegate-injector")}
    churn = Churn(installed, pod("churn", SITE, pod_spec("app", IDLE)), SIDECAR)
    with churn.going_on():
        installed.kubectl("delete", "secret", "tidegate-injector-certificates", f"--namespace={SYSTEM}")
        yield Replacement(churn, served_until)


def enforced(callers: Following, since_ms: int, status: int) -> Callable[[], bool]:
    """Whether some pod's calls of the other model have had this outcome since a moment."""
    return lambda: any(
        it.get("model") == OTHER_MODEL and it["status"] == status and it["at_ms"] >= since_ms
        for it in callers.said()
    )


def ready(cluster: Cluster) -> list[str]:
    """Callers that are Ready; one that was deleted without an injector may not be replaced yet."""
    return cluster.ready_pods(SITE, "app=caller")


def test_without_an_api_server_calls_go_on_and_edits_follow(
    installed: Cluster, node: Node, callers: Following, table: Table
) -> None:
    began_ms, before = now_ms(), callers.calls()
    node.control_plane.stop_apiserver()
    threading.Event().wait(20)
    node.control_plane.start_apiserver()
    edited_ms = now_ms()
    installed.apply(policy(SITE, models=(MODEL,)))
    installed.wait_until(
        enforced(callers, edited_ms, 403), namespace=SITE, what="the edit after the outage", within_s=120
    )
    again_ms = now_ms()
    installed.apply(policy(SITE, models=(MODEL, OTHER_MODEL)))
    installed.wait_until(enforced(callers, again_ms, 200), namespace=SITE, what="the next edit")
    lost = callers.failures(began_ms)
    table.add(
        "calls lost while the API server was away for 20 s", f"{len(lost)} of {callers.calls() - before}"
    )
    assert lost == []


@pytest.mark.usefixtures("replacement")
def test_when_the_leader_is_killed_no_call_is_lost_and_edits_go_on(
    installed: Cluster, node: Node, release: Release, callers: Following, table: Table
) -> None:
    began_ms, before = now_ms(), callers.calls()
    lease = installed.get("lease", "tidegate-operator", SYSTEM)
    holder = str(lease["spec"]["holderIdentity"])
    leader = next(name for name in release.pods("tidegate-operator") if name in holder)
    (container,) = installed.get("pod", leader, SYSTEM)["spec"]["containers"]
    node.kill_container(SYSTEM, leader, container["name"])
    killed_s = time.monotonic()

    installed.apply(policy(SITE, models=(MODEL,)))
    installed.wait_until(enforced(callers, began_ms, 403), namespace=SITE, what="the edit without a leader")
    enforced_s = time.monotonic() - killed_s
    installed.wait_until(
        lambda: (
            installed.get("lease", "tidegate-operator", SYSTEM)["spec"]["holderIdentity"]
            not in {holder, "", None}
        ),
        namespace=SYSTEM,
        what="another holder of the Lease",
    )
    table.add(
        "leader killed: an edit is enforced, another leads",
        f"after {enforced_s:.1f} s, after {time.monotonic() - killed_s:.1f} s",
    )
    again_ms = now_ms()
    installed.apply(policy(SITE, models=(MODEL, OTHER_MODEL)))
    installed.wait_until(enforced(callers, again_ms, 200), namespace=SITE, what="the next edit")
    installed.wait_until(
        lambda: (
            installed.get("aipolicies.tidegate.dev", "all", SITE)["status"]["observedGeneration"]
            == installed.get("aipolicies.tidegate.dev", "all", SITE)["metadata"]["generation"]
        ),
        namespace=SITE,
        what="the status by the new leader",
    )
    lost = callers.failures(began_ms)
    table.add("calls lost when the leader is killed", f"{len(lost)} of {callers.calls() - before}")
    assert lost == []
    installed.wait_for_rollout(SYSTEM, "deployment/tidegate-operator")


def test_a_sidecar_that_is_killed_is_back_with_what_it_had(
    installed: Cluster, node: Node, callers: Following, cut: Cut, table: Table
) -> None:
    others: list[str] = []

    def has_others() -> bool:
        others[:] = [it for it in ready(installed) if it != cut.pod]
        return bool(others)

    installed.wait_until(has_others, namespace=SITE, what="another caller that is ready")
    name = others[0]

    def restarts() -> int:
        (status,) = installed.get("pod", name, SITE)["status"]["initContainerStatuses"]
        return int(status["restartCount"])

    before, began_ms = restarts(), now_ms()
    node.kill_container(SITE, name, SIDECAR)
    installed.wait_until(lambda: restarts() == before + 1, namespace=SITE, what="the sidecar's restart")
    installed.wait_until(
        lambda: any(
            it["pod"] == name and it.get("status") == 200 and it["at_ms"] > began_ms for it in callers.said()
        ),
        namespace=SITE,
        what="an answer after the restart",
        within_s=120,
    )
    lost = [it for it in callers.failures(began_ms) if it["pod"] == name]
    last_ms = max((it["at_ms"] for it in lost), default=began_ms)
    table.add("sidecar killed: calls of its own pod fail for", f"{(last_ms - began_ms) / 1000:.1f} s")
    # Never by a rule, nor for want of a configuration: only while nobody listens.
    assert all(it["status"] == 0 for it in lost), lost
    assert [it for it in callers.failures(began_ms) if it["pod"] != name] == []


@pytest.mark.usefixtures("replacement")
def test_a_restart_of_containerd_is_not_noticed(
    installed: Cluster, node: Node, callers: Following, table: Table
) -> None:
    began_ms, before = now_ms(), callers.calls()
    node.stop_service("containerd")
    node.start_service("containerd")
    installed.apply(pod("afterwards", SITE, pod_spec("app", IDLE)))
    installed.kubectl(
        "wait",
        "pod/afterwards",
        f"--namespace={SITE}",
        "--for=condition=Ready",
        "--timeout=90s",
        timeout_s=95,
    )
    callers.wait_for_calls(10)
    lost = callers.failures(began_ms)
    table.add("calls lost when containerd is restarted", f"{len(lost)} of {callers.calls() - before}")
    assert lost == []
    installed.kubectl("delete", "pod", "afterwards", f"--namespace={SITE}", "--wait=false")


def test_certificates_are_replaced_while_pods_are_made(
    installed: Cluster, replacement: Replacement, table: Table
) -> None:
    installed.wait_until(
        lambda: replacement.is_served(installed),
        namespace=SYSTEM,
        what="the new certificate in every injector",
        within_s=180,
    )
    churn, before = replacement.churn, replacement.churn.admitted
    installed.wait_until(
        lambda: churn.admitted > before + FEW, namespace=SYSTEM, what="admissions with the new certificate"
    )
    churn.stop()
    table.add(
        "admissions while the injector's certificate is replaced",
        f"{churn.admitted}, refused {len(churn.refused)}",
    )
    assert churn.refused == []


def test_a_sidecar_that_is_cut_off_goes_on_and_says_how_old_its_configuration_is(
    installed: Cluster, callers: Following, cut: Cut, table: Table
) -> None:
    installed.wait_until(
        lambda: cut.age_s(installed) > 60 + OLD_S,
        namespace=SITE,
        what="a configuration that grows old",
        within_s=180,
    )
    table.add(
        "sidecar cut off from the operator for", f"{(now_ms() - cut.since_ms) / 1000:.0f} s, no call lost"
    )
    callers.wait_for_calls(10)
    assert [it for it in callers.failures(cut.since_ms) if it["pod"] == cut.pod] == []
    cut.change("--delete")


def test_a_step_of_the_wall_clock_gives_no_call_back(
    installed: Cluster, node: Node, callers: Following, tmp_path: Path
) -> None:
    """The sidecar's clock is stepped by an hour, forth and back: limits count on, and edits are followed."""
    assert callers.calls()
    node.load(stepping.build(tmp_path / "stepping"))
    installed.apply(stepped_policy(FEW))
    document = pod("stepped", SITE, pod_spec("app", ASK), image=stepping.REFERENCE)
    installed.apply(document)

    def said() -> list[dict[str, Any]]:
        return printed(installed, SITE, "stepped", "app")

    def answered() -> int:
        return sum(it["status"] == 200 for it in said())

    def recorded_s() -> float:
        """When the sidecar thinks that its last call was."""
        lines = installed.logs(SITE, "stepped", SIDECAR).splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return datetime.fromisoformat(records[-1]["time"]).timestamp()

    installed.wait_until(
        lambda: any(it["status"] == 429 for it in said()), namespace=SITE, what="the limit", within_s=90
    )
    for step_h in (1, -1):
        before = len(said())
        program = f"open({stepping.STEP_FILE!r}, 'w').write('{step_h:+d}h')"
        installed.exec(SITE, "stepped", SIDECAR, "python3", "-c", program)
        installed.wait_until(
            lambda before=before: len(said()) >= before + 2 * FEW,  # type: ignore[misc]
            namespace=SITE,
            what="calls after the step",
        )
        assert abs(recorded_s() - time.time() - step_h * 3600) < 60, "the clock was not stepped"
        assert answered() == FEW
        assert {it["status"] for it in said()[before:]} == {429}
    installed.apply(stepped_policy(1_000))
    installed.wait_until(
        lambda: answered() > FEW, namespace=SITE, what="the edit, with a clock that is wrong", within_s=90
    )
    installed.kubectl("delete", "pod", "stepped", f"--namespace={SITE}", "--wait=false")


def test_a_sidecar_that_was_cut_off_follows_again(installed: Cluster, cut: Cut) -> None:
    installed.wait_until(
        lambda: cut.age_s(installed) < 60 + OLD_S,
        namespace=SITE,
        what="the operator's word again",
        within_s=180,
    )


def stepped_policy(requests: int) -> dict[str, Any]:
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIPolicy",
        "metadata": {"name": "stepped", "namespace": SITE},
        "spec": {
            "selector": {"matchLabels": {"app": "stepped"}},
            "poolRefs": [{"name": "models"}],
            "rateLimits": [{"name": "an-hour", "requests": requests, "per": "1h"}],
        },
    }


def ends_at(cluster: Cluster, name: str) -> float:
    """When the certificate ends that an injector serves: another one ends later."""
    return metric(cluster, SYSTEM, name, 8080, "tidegate_injector_certificate_expiry_seconds")
