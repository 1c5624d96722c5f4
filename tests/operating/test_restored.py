"""etcd restored from a backup: resourceVersions fall, and nothing that was remembered can be compared any more."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

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
def replicas(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[tuple[OperatorProcess, ...]]:
    """Not started yet; killed where the test did not get to its end."""
    made = tuple(
        OperatorProcess(
            kubeconfig=own_control_plane.kubeconfig,
            namespace="default",
            folder=tmp_path,
            # the API server is away for longer than the silence that other tests take for death
            settings={"TIDEGATE_RELIST_MS": "1000", "TIDEGATE_WATCH_SILENT_MS": "3600000"},
        )
        for _ in range(2)
    )
    yield made
    for replica in made:
        if replica.runs:
            replica.kill()


@pytest.fixture
def replica(replicas: tuple[OperatorProcess, ...]) -> OperatorProcess:
    return replicas[0]


@dataclass(frozen=True)
class Seen:
    """What one replica answered at one moment."""

    status: int
    limits: Mapping[str, int]
    epoch: int
    is_ready: bool


class Onlooker:
    """Polls each replica again and again, as a sidecar of its own for each, and asks whether it is ready."""

    def __init__(self, cluster: Cluster, replicas: Sequence[OperatorProcess]) -> None:
        self._sidecars = {each: PollingSidecar(cluster, "default", "default", "chat-0") for each in replicas}
        self.seen: list[tuple[Seen, ...]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def look(self) -> tuple[Seen, ...]:
        """Ask each of them once."""
        seen = tuple(self._ask(replica, sidecar) for replica, sidecar in self._sidecars.items())
        self.seen.append(seen)
        return seen

    def _ask(self, replica: OperatorProcess, sidecar: PollingSidecar) -> Seen:
        sidecar.poll(replica)
        epoch = sidecar.envelope.as_of.epoch if sidecar.envelope else 0
        limits = sidecar.limits if sidecar.envelope else {}
        return Seen(sidecar.status, limits, epoch, replica.is_ready())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def test_after_a_restore_replicas_list_anew_and_serve_their_last_edition_until_that_is_whole(
    own_control_plane: ControlPlane, replicas: tuple[OperatorProcess, ...]
) -> None:
    """No process ends, no poll is left without an answer, and what is served changes once."""
    replica, other = replicas
    cluster = Cluster(own_control_plane)
    cluster.install()
    account = {"name": "default", "namespace": "default"}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    cluster.apply(pool("default"), policy("default"), injected_pod("default", "chat-0"))
    backup = Backup(own_control_plane)
    backup.make()
    for each in replicas:
        each.start()
    for each in replicas:
        each.wait_ready()
    for number in range(_LOST_WRITES):
        cluster.apply(noise(number))
    cluster.apply(policy("default", rateLimits=[{"name": "all", "requests": 5, "per": "1m"}]))
    sidecar = PollingSidecar(cluster, "default", "default", "chat-0")
    for each in replicas:
        sidecar.has(each, limits={"all": 5})
    assert sidecar.envelope is not None
    before = sidecar.envelope.as_of
    onlooker = Onlooker(cluster, replicas)
    wait_until(
        lambda: all(each.limits for each in onlooker.look()), within_s=WITHIN_S, what="the same for each"
    )
    onlooker.seen.clear()

    with onlooker:
        backup.restore()
        for each in replicas:
            each.until(
                lambda: bool(onlooker.seen) and all(each.epoch > before.epoch for each in onlooker.seen[-1]),
                "a new epoch",
            )
        cluster.apply(policy("default", suspend=True))
        replica.until(lambda: sidecar.poll(replica) and sidecar.denials == ["suspended"], "a kill switch")

    # by which sign it is noticed first, versions that fall or what a sidecar was told, depends on the periods
    assert all("has begun with what is there now" in each.log for each in replicas)
    assert {each.status for seen in onlooker.seen for each in seen} == {200, 304}
    assert all(any(each.is_ready for each in seen) for seen in onlooker.seen)
    served = {
        (each.epoch > before.epoch, each.limits.get("all", 0)) for seen in onlooker.seen for each in seen
    }
    assert served == {(False, 5), (True, 0)}, "the last edition, then the restored one"
    assert dict(sidecar.envelope.as_of.versions)["AIPolicy"] < dict(before.versions)["AIPolicy"]
    for each in (other, replica):
        assert "Traceback" not in each.log
        assert each.stop() == 0, each.log


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

    assert "etcd was restored" not in replica.log
    cluster.apply(policy("default", suspend=True))
    replica.until(
        lambda: sidecar.poll(replica) and sidecar.denials == ["suspended"],
        "the kill switch after the restore",
    )
    assert "etcd was restored" in replica.log
    assert sidecar.envelope.as_of.epoch > before.epoch
    assert replica.stop() == 0
