"""The injector together with what the operator's leader does for it: trust, certificates, and pods from before."""

from __future__ import annotations

import base64
import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from injecting_site.injector import (
    CONFIGURATIONS,
    VERIFYING,
    InjectorProcess,
    install,
    is_injecting,
    next_bundle,
    patch_trust,
    plan,
    uninstall,
)
from injecting_site.load import EACH, pods_being_created
from injecting_site.objects import Namespace, has_sidecar, template_of, workload
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import Cluster, OperatorProcess

from tidegate_operator.certificates.bundle import Bundle, is_signed_by
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.certificates.injector import LAG_S
from tidegate_operator.cluster.client import Access, ClusterClient
from tidegate_operator.cluster.rights import OPERATOR, account_manifests
from tidegate_operator.cluster.secrets import INJECTOR_CERTIFICATES, SecretStore
from tidegate_operator.cluster.webhooks import WebhookStore
from tidegate_operator.coverage.count import Lack, Sample, WorkloadName
from tidegate_operator.coverage.shortfall import RESTART_REQUIRED, Finding, note
from tidegate_operator.handlers.webhook_trust import WebhookTrust
from tidegate_operator.inject.configuration import NAME
from tidegate_operator.inject.names import INJECT

ENABLED = {"annotations": {INJECT: "enabled"}}


@pytest.fixture
def home(control_plane_with_controllers: ControlPlane) -> Iterator[str]:
    """The operator's own namespace."""
    from tidegate_cluster.fixtures import temporary_namespace  # noqa: PLC0415 - pytest has to import plugins first

    with temporary_namespace(control_plane_with_controllers) as name:
        yield name


@pytest.fixture
def account(control_plane_with_controllers: ControlPlane, home: str) -> Path:
    """A kubeconfig with the operator's rights and no others."""
    items = {"apiVersion": "v1", "kind": "List", "items": account_manifests(OPERATOR, home)}
    control_plane_with_controllers.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{home}")
    return control_plane_with_controllers.kubeconfig_for(
        f"system:serviceaccount:{home}:{OPERATOR.name}", groups
    )


class Leader:
    """What the leader does for the injector, at times and with authorities that a test chooses."""

    def __init__(self, client: ClusterClient, home: str, bundle: Bundle) -> None:
        self.bundle = bundle
        self.now_s = time.time()
        self._store = SecretStore(client, home, INJECTOR_CERTIFICATES)
        self._webhook_trust = WebhookTrust(
            self._store,
            WebhookStore(client, NAME),
            plan("of-the-leader"),
            bundle=lambda: self.bundle,
            may_write=lambda: True,
            wall_s=lambda: self.now_s,
            interval_s=1,
        )

    async def look(self) -> bool:
        return await self._webhook_trust.look()

    async def files(self) -> ServerFiles | None:
        """What the kubelet would mount."""
        found = await self._store.read()
        return None if found is None else ServerFiles.from_data(found[0])


async def test_no_admission_fails_whatever_becomes_of_the_authorities(
    team: Namespace, injector: InjectorProcess, account: Path, home: str
) -> None:
    """Renewed, announced, in use, and at last lost and made anew; the injector has each leaf long after the Secret."""
    first = injector.bundle
    client = ClusterClient(Access(str(account)), request_ms=5_000, at_once=1)
    leader = Leader(client, home, first)

    def more() -> None:
        target = len(results) + EACH
        team.until(lambda: len(results) >= target, f"{EACH} more pods")

    async def follow(bundle: Bundle) -> None:
        leader.bundle, is_settled = bundle, False
        files: ServerFiles | None = None
        # a pass that the API server has refused or kept waiting has nothing left to do either
        while not (is_settled and files is not None and is_signed_by(files.leaf, bundle.authority)):
            is_settled = await leader.look()
            more()
            files = await leader.files()
        mounted(injector, files)
        more()

    try:
        with pods_being_created(team) as results:
            more()
            await follow(first)
            announced = next_bundle(next_bundle(None, days_ago=500), days_ago=20)
            await follow(announced)
            if announced.successor is None:
                announced = next_bundle(announced, days_ago=20)
                await follow(announced)
            assert announced.successor is not None
            succeeded = next_bundle(announced, days_ago=10)
            assert succeeded.authority == announced.successor
            await follow(succeeded)
            lost = next_bundle(None, days_ago=0)
            await follow(lost)
            leader.now_s += LAG_S
            await follow(lost)
        assert [result for result in results if result] == []
        assert trusted(team) == {lost.trust}
    finally:
        client.close()
        injector.write(first)
        patch_trust(team.control_plane, first.trust)
        wait_until(lambda: is_injecting(team.control_plane), within_s=60, what="the injector as it was")


def mounted(injector: InjectorProcess, files: ServerFiles) -> None:
    """The folder that the injector reads."""
    for name, content in files.to_data().items():
        (injector.certificates / name).write_bytes(content)


def trusted(team: Namespace) -> set[str]:
    """What the API server trusts, of all entries."""
    found = [team.control_plane.request("GET", f"{it}/{NAME}").json() for it in (CONFIGURATIONS, VERIFYING)]
    return {
        base64.b64decode(it["clientConfig"]["caBundle"]).decode()
        for document in found
        for it in document["webhooks"]
    }


@pytest.fixture
def without_injector(
    control_plane_with_controllers: ControlPlane, injector: InjectorProcess
) -> Iterator[None]:
    """Nothing is installed at first; afterwards it is."""
    uninstall(control_plane_with_controllers)
    wait_until(
        lambda: not is_injecting(control_plane_with_controllers), within_s=60, what="the configuration to go"
    )
    yield
    if not is_injecting(control_plane_with_controllers):
        install(control_plane_with_controllers, injector)


def follow_advice(team: Namespace, text: str) -> None:
    """Type what an event says."""
    found = re.search(r"kubectl (.+)$", text)
    assert found is not None, text
    team.control_plane.kubectl(*shlex.split(found[1]))


@pytest.mark.usefixtures("without_injector")
def test_what_the_event_advises_brings_the_sidecar(
    team: Namespace,
    injector: InjectorProcess,
    account: Path,
    home: str,
    tmp_path: Path,
) -> None:
    """Annotated before the install, as most workloads of a cluster will be that adopts Tidegate."""
    chat: dict[str, Any] = workload("Deployment", metadata=ENABLED)
    chat["spec"] |= {"replicas": 2, "strategy": {"type": "Recreate"}}  # nothing makes pods ready here
    team.stored(chat)
    team.stored(workload("CronJob", metadata=ENABLED))
    team.until(lambda: len(team.pods()) == 2, "pods")
    assert not any(has_sidecar(pod) for pod in team.pods())
    install(team.control_plane, injector)

    Cluster(team.control_plane).install()
    settings = {
        "TIDEGATE_COVERAGE_MS": "100",
        "TIDEGATE_RELIST_MS": "500",
        "TIDEGATE_WEBHOOK_CONFIGURATION": "none",
    }
    operator = OperatorProcess(kubeconfig=account, namespace=home, folder=tmp_path, settings=settings).start()
    sample = 'workloads_without_sidecar{reason="RestartRequired"}'
    try:
        operator.until(lambda: operator.metric(sample) == 1, "the gauge")
        path = f"/apis/events.k8s.io/v1/namespaces/{team.name}/events"
        events = team.control_plane.request("GET", path).json()["items"]
        (text,) = (it["note"] for it in events if it["reason"] == RESTART_REQUIRED)
        assert text.startswith("2 of 2 pods run without a sidecar")

        follow_advice(team, text)

        team.until(lambda: [has_sidecar(pod) for pod in team.pods()] == [True, True], "pods with a sidecar")
        operator.until(lambda: operator.metric(sample) == 0, "it to be well")
    finally:
        assert operator.stop() == 0, operator.log

    lack = Lack(pods=1, sample=Sample("2026-11-21T10:00:00Z", "chat-1", "u", None))
    follow_advice(team, note(WorkloadName(team.name, "CronJob", "chat"), lack, 0, Finding(RESTART_REQUIRED)))
    assert template_of(team.get("CronJob"))["metadata"]["annotations"][INJECT] == "enabled"
