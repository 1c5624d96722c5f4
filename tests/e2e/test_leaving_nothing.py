"""A node takes with it all that it made on the machine, however it ends, and disturbs no other node meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tidegate_cluster.ledger import Purpose
from tidegate_cluster.waiting import wait_until
from tidegate_node.access import Cluster
from tidegate_node.node import Node
from tidegate_node.records import Record, read_records

PACKAGES = Path(__file__).resolve().parents[1] / "cluster"
START_LIMIT_S = 180
END_LIMIT_S = 180
POD = """
apiVersion: v1
kind: Pod
metadata: {name: stays, namespace: default}
spec:
  containers:
  - {name: stays, image: "localhost/tidegate/pause:1"}
"""


class Person:
    """Somebody who runs `make node-up` beside the tests' own node."""

    def __init__(self, log: Path, kubectl: Path) -> None:
        self._log = log
        self._kubectl = kubectl
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tidegate_node", "up"], cwd=PACKAGES, stdout=output, stderr=output
            )

    def wait(self) -> Record:
        """Wait for the node, and for a pod on it."""
        wait_until(
            lambda: "Ready. Ctrl-C ends it." in self.printed() or self.process.poll() is not None,
            within_s=START_LIMIT_S,
            what="start of a second node",
        )
        (record,) = [it for it in read_records() if it.purpose is Purpose.UP]
        cluster = Cluster(record.folder / "admin.kubeconfig", self._kubectl)
        wait_until(
            lambda: "default" in cluster.kubectl("get", "serviceaccounts"),
            within_s=30,
            what="a ServiceAccount",
        )
        cluster.kubectl("apply", "-f", "-", stdin=POD)
        cluster.kubectl("wait", "pod/stays", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
        return record

    def printed(self) -> str:
        return self._log.read_text()


@pytest.fixture
def person(node: Node, tmp_path: Path, cluster: Cluster) -> Iterator[Person]:
    person = Person(tmp_path / "up.log", cluster.program)
    yield person
    down()


def down() -> None:
    subprocess.run(
        [sys.executable, "-m", "tidegate_node", "down"], cwd=PACKAGES, check=True, timeout=END_LIMIT_S
    )


def remains(record: Record) -> list[str]:
    """All that is on the machine and has the node's name or is in its folder."""
    plan = record.plan
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    places = [
        Path(plan.namespace_file),
        Path("/sys/class/net") / plan.interface,
        record.folder,
        *cgroups(plan.name),
        *Path("/var/lib/cni/results").glob(f"{plan.name}-*"),
        *(link for link in Path("/var/log/containers").glob("*") if leads_into(link, record.folder)),
    ]
    found = [str(path) for path in places if path.exists() or path.is_symlink()]
    found += [line for line in mounts if str(record.folder) in line]
    return found + [str(it) for it in read_records() if it.plan == plan]


def cgroups(name: str) -> list[Path]:
    """Control groups of this name. The other node's come and go meanwhile, which a walk does not mind."""
    return [Path(at) / name for at, folders, _ in os.walk("/sys/fs/cgroup") if name in folders]


def leads_into(link: Path, folder: Path) -> bool:
    """Whether a link points into a folder; one that is taken away at this moment does not."""
    try:
        return str(folder) in str(link.readlink())
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda it: it.name)
def test_nothing_is_left_of_a_node_that_was_ended(person: Person, node: Node, number: signal.Signals) -> None:
    record = person.wait()
    assert record.plan != node.plan
    assert remains(record)  # or the look below would prove nothing
    os.kill(person.process.pid, number)
    person.process.wait(timeout=END_LIMIT_S)
    if number is signal.SIGKILL:
        down()
    assert not remains(record)
    assert not node.failures()
