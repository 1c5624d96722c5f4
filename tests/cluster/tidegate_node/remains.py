"""Taking away all that a node made on the machine: the last step of its end, and all there is to do after a crash."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tidegate_cluster.errors import ClusterError

from tidegate_node.cgroups import Cgroups
from tidegate_node.commands import attempt
from tidegate_node.configs import Places
from tidegate_node.network import remove_network
from tidegate_node.plan import Plan
from tidegate_node.records import Record, forget

# The kubelet sets these for the whole machine.
_SYSCTLS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
_PROC = Path("/proc/sys")
_MOUNTS = Path("/proc/self/mountinfo")
_CNI_RESULTS = Path("/var/lib/cni/results")
_LOG_LINKS = Path("/var/log/containers")
_SHIM_SOCKETS = Path("/run/containerd/s")


def read_sysctls() -> dict[str, str]:
    """The machine's settings as they are, to be restored by `remove`."""
    found = {}
    for name in _SYSCTLS:
        with suppress(OSError):  # this kernel has no such setting, or does not show it
            found[name] = _sysctl_file(name).read_text(encoding="ascii").strip()
    return found


def remove(record: Record) -> None:
    """End the node's remaining processes; remove its mounts, network, control groups, data and record.

    Certificates, logs and configuration stay in its folder. May be called again where it failed half way.

    Raises:
        ClusterError: something does not go away; the text says what.
    """
    groups = Cgroups(record.plan.name)
    groups.end_all(services=False)
    groups.end_all(services=True)
    _unmount_below(record.folder)
    remove_network(record.plan)
    groups.remove()
    _restore(record.sysctls)
    _remove_files(record.plan, record.folder)
    forget(record)


def _unmount_below(folder: Path) -> None:
    for mount in _mounts_below(folder):
        attempt("umount", mount)
    for mount in _mounts_below(folder):  # those that were busy: gone with their last user, who is dying
        attempt("umount", "--lazy", mount)
    if left := _mounts_below(folder):
        raise ClusterError(f"These mounts do not go away: {', '.join(map(str, left))}")


def _mounts_below(folder: Path) -> list[Path]:
    """The latest first: the order in which they can be taken away."""
    lines = _MOUNTS.read_text(encoding="utf-8").splitlines()
    points = [Path(line.split()[4].encode("utf-8").decode("unicode_escape")) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def _restore(sysctls: Mapping[str, str]) -> None:
    for name, value in sysctls.items():
        file = _sysctl_file(name)
        if file.read_text(encoding="ascii").strip() != value:
            file.write_text(value, encoding="ascii")


def _sysctl_file(name: str) -> Path:
    return _PROC.joinpath(*name.split("."))


def _remove_files(plan: Plan, folder: Path) -> None:
    """Remove what is in our folder, and what programs put elsewhere on its behalf, found by what is in there."""
    for address in folder.glob("containerd-run/io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(address.read_text(encoding="utf-8").strip().removeprefix("unix://"))
        if socket.parent == _SHIM_SOCKETS:
            socket.unlink(missing_ok=True)
    for result in _CNI_RESULTS.glob(f"{plan.name}-*-eth0"):
        container = result.name.removeprefix(f"{plan.name}-").removesuffix("-eth0")
        (_CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        result.unlink()
    for link in _LOG_LINKS.glob("*.log"):
        with suppress(FileNotFoundError):  # another node's kubelet removes its own
            if link.is_symlink() and link.readlink().is_relative_to(folder):
                link.unlink()
    for path in Places(folder).bulky:
        if path.exists():
            shutil.rmtree(path)
