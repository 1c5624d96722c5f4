"""The node's control groups, of version 1 and 2: which processes are its own, and ending them."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from tidegate_cluster.errors import ClusterError, DeadlinePassedError
from tidegate_cluster.waiting import wait_until

_MOUNTS = Path("/proc/self/mountinfo")
_SERVICES = "services"
_REMOVAL_LIMIT_S = 10.0
_ROUNDS = 20


class Cgroups:
    """Groups named `name` in every hierarchy of the machine.

    The kubelet makes the pods' groups below them; the node's own programs are in `name`/services of one hierarchy,
    and so is all that they start.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._roots = _hierarchies()
        if not self._roots:
            raise ClusterError("No control groups are mounted below /sys/fs/cgroup; containers need them")

    def make(self) -> None:
        """Make the groups that the kubelet and `place` expect."""
        for kind, root in self._roots:
            group = root / self._name
            group.mkdir(exist_ok=True)
            if kind == "cgroup2":
                for parent in (root, group):
                    _hand_down(parent)
            elif (group / "cpuset.cpus").exists():  # an empty set takes no process
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((root / file).read_text())
        self._services.mkdir(exist_ok=True)

    def place(self, pid: int) -> None:
        """Put a process among the node's own programs; what it starts from now on is there, too."""
        (self._services / "cgroup.procs").write_text(str(pid))

    def end_all(self, *, services: bool, grace_s: float = 0) -> None:
        """End the pods' processes, and with `services` the node's own: SIGTERM if there is grace, then SIGKILL."""
        if grace_s:
            for pid in self._processes(services=services):
                _end(pid, signal.SIGTERM)
            with suppress(DeadlinePassedError):
                wait_until(
                    lambda: not list(self._processes(services=services)), within_s=grace_s, what="end of pods"
                )
        # A process may start another between the look and the signal, so look again.
        for _ in range(_ROUNDS):
            found = list(self._processes(services=services))
            if not found:
                return
            for pid in found:
                _end(pid, signal.SIGKILL, wait_s=1)
        raise ClusterError(f"Processes of {self._name} do not end, not even by SIGKILL: {found}")

    def remove(self) -> None:
        """Remove the groups, which must be empty of processes.

        Raises:
            DeadlinePassedError: one is still in use.
        """
        for _, root in self._roots:
            top = root / self._name
            wait_until(partial(_is_removed, top), within_s=_REMOVAL_LIMIT_S, what=f"removal of {top}")

    @property
    def _services(self) -> Path:
        return self._main / _SERVICES

    @property
    def _main(self) -> Path:
        """The hierarchy that counts processes: every container is in it."""
        for kind, root in self._roots:
            if kind == "cgroup" and root.name == "pids":
                return root / self._name
        return self._roots[0][1] / self._name

    def _processes(self, *, services: bool) -> Iterator[int]:
        # Groups go away while they are looked at: `os.walk` passes over them, where `rglob` fails.
        for group in (Path(folder) for folder, _, _ in os.walk(self._main)):
            if not services and group == self._services:
                continue
            with suppress(OSError):
                lines = (group / "cgroup.procs").read_text().split()
                yield from (int(line) for line in lines if int(line) != 0)


def _hierarchies() -> list[tuple[str, Path]]:
    """Kind and mount point, those of version 1 before version 2 where a machine has both."""
    found = []
    for line in _MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, where = right.split()[0], Path(left.split()[4])
        if kind in {"cgroup", "cgroup2"} and where.is_relative_to("/sys/fs/cgroup"):
            found.append((kind, where))
    return sorted(found)


def _hand_down(group: Path) -> None:
    """Let the groups below have all controllers that this one has (version 2)."""
    for controller in (group / "cgroup.controllers").read_text().split():
        with suppress(OSError):  # one that the machine keeps for itself; the kubelet says if it misses it
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _end(pid: int, number: signal.Signals, wait_s: float = 0) -> None:
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, number)
            signal.pidfd_send_signal(handle, signal.SIGCONT)
            if wait_s:
                select.select([handle], [], [], wait_s)
        finally:
            os.close(handle)


def _is_removed(top: Path) -> bool:
    if not top.exists():
        return True
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):  # busy for a moment after its last process
            Path(folder).rmdir()
    return not top.exists()
