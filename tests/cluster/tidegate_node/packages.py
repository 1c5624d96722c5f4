"""What the machine itself must have: programs of the distribution, and root."""

import os
import shutil
from pathlib import Path

from tidegate_cluster.errors import ClusterError

from tidegate_node.commands import ENVIRONMENT

# Program: the Debian package that has it.
_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "mount": "mount",
    "sysctl": "procps",
}
_CNI_PACKAGE = "containernetworking-plugins"
_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_CNI_PROGRAMS = ("ptp", "host-local", "portmap", "loopback")
_BUSYBOX_PACKAGE = "busybox-static"


class NotPossibleHereError(ClusterError):
    """The machine lacks something that only its owner can give. The text says what to do."""


def check_machine() -> None:
    """See that everything is there.

    Raises:
        NotPossibleHereError: the process is not root's, or programs are missing.
    """
    if os.geteuid() != 0:
        raise NotPossibleHereError(
            "A node needs root: it makes control groups, mounts and a network. Run it with sudo, or use a cluster "
            "that is there by setting KUBECONFIG (`make kind-up` makes one where Docker is)."
        )
    missing = {package for program, package in _PACKAGES.items() if _which(program) is None}
    if _cni_folder() is None:
        missing.add(_CNI_PACKAGE)
    if _which("busybox") is None:
        missing.add(_BUSYBOX_PACKAGE)
    if missing:
        raise NotPossibleHereError(
            "The node's programs are not all installed. On Debian:\n"
            f"  apt-get install -y --no-install-recommends {' '.join(sorted(missing))}\n"
            "Their services need not run: the node starts a containerd of its own."
        )


def program(name: str) -> Path:
    """Return the path of a program that `check_machine` found."""
    found = _which(name)
    if found is None:
        raise NotPossibleHereError(f"There is no {name}; `check_machine` tells which package has it")
    return Path(found)


def cni_programs() -> Path:
    """Return the folder of the programs that join pods to the network."""
    folder = _cni_folder()
    if folder is None:
        raise NotPossibleHereError(f"There are no CNI programs: install {_CNI_PACKAGE}")
    return folder


def has_overlay() -> bool:
    """Tell whether the kernel can stack file systems; otherwise each container gets a copy of its image."""
    return "overlay" in Path("/proc/filesystems").read_text(encoding="ascii").split()


def _which(name: str) -> str | None:
    return shutil.which(name, path=ENVIRONMENT["PATH"])


def _cni_folder() -> Path | None:
    for folder in _CNI_FOLDERS:
        if all((folder / name).exists() for name in _CNI_PROGRAMS):
            return folder
    return None
