"""etcd restored from a backup: resourceVersions fall, and nothing that was remembered can be compared any more."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tidegate_cluster.builder import provide
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.ledger import Ledger, Purpose
from tidegate_cluster.programs import API_SERVER_PROGRAMS
from tidegate_cluster.settings import Settings
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import WITHIN_S, Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar

from tidegate_policy.poll import AS_OF, format_as_of

_LOST_WRITES = 100
"""What comes after the backup. An API server writes some objects when it starts: versions have to fall by more than that."""


def noise(number: int) -> dict[str, object]:
    metadata = {"name": "noise", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"number": str(number)}}


class Backup:
    """A copy of etcd's data, made and restored while nobody uses it."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._copy = control_plane.folder / "backup"

    def make(self) -> None:
        self._with_etcd_stopped(lambda data: shutil.copytree(data, self._copy))

    def restore(self) -> None:
        def put_back(data: Path) -> None:
            shutil.rmtree(data)
            shutil.copytree(self._copy, data)

        self._with_etcd_stopped(put_back)

    def _with_etcd_stopped(self, action: Callable[[Path], object]) -> None:
        servers = self._control_plane._servers
        self._control_plane.stop_apiserver()
        servers.stop("etcd")
        (data,) = self._control_plane.folder.glob("etcd-*.data")
        action(data)
        servers.restart("etcd")
        self._control_plane.start_apiserver()


@pytest.fixture
def own_control_plane(cluster_settings: Settings, tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane for one test: its history is about to be rewritten."""
    programs = provide(API_SERVER_PROGRAMS, cluster_settings, lambda _: None)
    ledger = Ledger(cluster_settings.cache, Purpose.TESTS)
    with ControlPlane(programs=programs, folder=tmp_path / "control-plane", ledger=ledger) as started:
        yield started


@pytest.fixture
def replica(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Not started yet; killed where the test did not get to its end."""
    replica = OperatorProcess(
        kubeconfig=own_control_plane.kubeconfig,
        namespace="default",
        folder=tmp_path,
        settings={"TIDEGATE_RELIST_MS": "1000"},
    )
    yield replica
    if replica.runs:
        replica.kill()


def test_after_a_restore_a_new_epoch_begins_and_sidecars_follow(
    own_control_plane: ControlPlane, replica: OperatorProcess
) -> None:
    cluster = Cluster(own_control_plane)
    cluster.install()
    account = {"name": "default", "namespace": "default"}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    cluster.apply(pool("default"), policy("default"), injected_pod("default", "chat-0"))
    backup = Backup(own_control_plane)
    backup.make()
    replica.start().wait_ready()
    for number in range(_LOST_WRITES):
        cluster.apply(noise(number))
    cluster.apply(policy("default", rateLimits=[{"name": "all", "requests": 5, "per": "1m"}]))
    sidecar = PollingSidecar(cluster, "default", "default", "chat-0")
    replica.until(lambda: sidecar.poll(replica) and sidecar.limits == {"all": 5}, "the newer configuration")
    assert sidecar.envelope is not None
    before = sidecar.envelope.as_of

    backup.restore()

    assert replica.wait() == 1
    assert "etcd was restored" in replica.log
    replica.start().wait_ready()
    # the certificates went back in time as well, and this sidecar was never told of the new authority
    restarted = PollingSidecar(cluster, "default", "default", "chat-0")
    restarted.envelope, restarted.tag = sidecar.envelope, sidecar.tag
    replica.until(lambda: restarted.poll(replica), "the restored configuration")
    assert restarted.limits == {}
    assert restarted.envelope.as_of.epoch > before.epoch
    assert dict(restarted.envelope.as_of.versions)["AIPolicy"] < dict(before.versions)["AIPolicy"]
    assert replica.stop() == 0


def test_a_restore_while_no_operator_runs_is_noticed_by_what_sidecars_were_told(
    own_control_plane: ControlPlane, replica: OperatorProcess
) -> None:
    """A fresh replica remembers nothing, and finds everything in order; its sidecars have seen more than the API server has."""
    cluster = Cluster(own_control_plane)
    cluster.install()
    account = {"name": "default", "namespace": "default"}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    cluster.apply(pool("default"), policy("default"), injected_pod("default", "chat-0"))
    replica.start().wait_ready()
    PollingSidecar(cluster, "default", "default", "chat-0").has(replica, pools=["models"])
    assert replica.stop() == 0
    backup = Backup(own_control_plane)
    backup.make()
    replica.start().wait_ready()
    for number in range(10 * _LOST_WRITES):  # the Lease is written, too, until the restore is noticed
        cluster.apply(noise(number))
    cluster.apply(policy("default", rateLimits=[{"name": "all", "requests": 5, "per": "1m"}]))
    sidecar = PollingSidecar(cluster, "default", "default", "chat-0")
    replica.until(lambda: sidecar.poll(replica) and sidecar.limits == {"all": 5}, "the newer configuration")
    assert sidecar.envelope is not None
    before = sidecar.envelope.as_of
    assert replica.stop() == 0

    backup.restore()
    replica.start().wait_ready()
    forged = replace(before, seal="0" * 8, versions=tuple((kind, 10**15) for kind, _ in before.versions))
    liar = PollingSidecar(cluster, "default", "default", "chat-0")
    for _ in range(3):
        liar.poll(replica, headers={AS_OF: format_as_of(forged)})
    assert replica.metric('answers_total{result="as_of_not_sealed"}') == 3
    assert replica.runs, "what a pod makes up is no restore"

    cluster.apply(policy("default", suspend=True))

    def has_ended() -> bool:
        sidecar.poll(replica)
        return not replica.runs

    wait_until(has_ended, within_s=WITHIN_S, what="the restore to be noticed")
    assert "etcd was restored" in replica.log
    replica.start().wait_ready()
    replica.until(
        lambda: sidecar.poll(replica) and sidecar.denials == ["suspended"],
        "the kill switch after the restore",
    )
    assert sidecar.envelope.as_of.epoch > before.epoch
    assert replica.stop() == 0
