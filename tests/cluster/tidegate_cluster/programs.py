"""Which programs can be built, from which Go module, and how they are stamped.

The versions stand in the go.mod files alone; what is needed here is read from there.
"""

import hashlib
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate_cluster.errors import ClusterError

_MODULES_FOLDER = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A wrapper module: a folder with go.mod and go.sum that pins one release."""

    name: str
    """Its folder beside this package."""

    releases: str
    """The required module whose version is the release, such as `k8s.io/kubernetes`."""

    stamps: Callable[["GoModule"], Mapping[str, str]]
    """Go string variables to set when linking, by import path."""

    @property
    def folder(self) -> Path:
        """Where `go build` runs."""
        return _MODULES_FOLDER / self.name

    @property
    def version(self) -> str:
        """The release with its v, such as `v1.37.2`."""
        return self.version_of(self.releases)

    @property
    def minimum_go(self) -> tuple[int, int, int]:
        """The oldest Go that builds it: its `go` line."""
        found = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", self._text(), re.MULTILINE)
        if found is None:
            raise ClusterError(f"{self.folder / 'go.mod'} has no line such as 'go 1.26.0'")
        return int(found[1]), int(found[2]), int(found[3] or 0)

    @property
    def ldflags(self) -> str:
        """Linker flags: no symbol tables, and the stamps."""
        return " ".join(
            ["-s -w", *(f"-X {variable}={value}" for variable, value in self.stamps(self).items())]
        )

    @property
    def key(self) -> str:
        """Name of the cache folder. It changes with anything that would change the programs but Go itself."""
        requirements = re.sub(r"\s*//.*", "", self._text())
        checksums = (self.folder / "go.sum").read_text(encoding="utf-8")
        platform_name = f"{platform.system()}-{platform.machine()}"
        recipe = f"{requirements}\0{checksums}\0{self.ldflags}\0{platform_name}"
        return f"{self.name}-{self.version}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    def version_of(self, module: str) -> str:
        """Return the version that go.mod requires of `module`, with its v."""
        found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", self._text(), re.MULTILINE)
        if found is None:
            raise ClusterError(f"{self.folder / 'go.mod'} requires no {module}")
        return found[1]

    def _text(self) -> str:
        return (self.folder / "go.mod").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One executable."""

    name: str
    package: str
    """Import path of its main package."""
    module: GoModule


def _kubernetes_stamps(module: GoModule) -> Mapping[str, str]:
    # Unstamped, the server calls itself v0.0.0-master: Helm's kubeVersion check and the emulation of versions
    # then go wrong. Both packages matter: the servers read the first, kubectl's client the second.
    major, minor, _ = module.version.removeprefix("v").split(".", 2)
    fields = {
        "gitVersion": module.version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "",
        "gitTreeState": "archive",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{field}": value for package in packages for field, value in fields.items()}


def _helm_stamps(module: GoModule) -> Mapping[str, str]:
    # The Kubernetes version that `helm template` and `helm lint` assume: client-go v0.X means Kubernetes 1.X.
    minor = module.version_of("k8s.io/client-go").split(".")[1]
    stamps = {"helm.sh/helm/v3/internal/version.version": module.version}
    for package in ("helm.sh/helm/v3/pkg/lint/rules", "helm.sh/helm/v3/pkg/chartutil"):
        stamps |= {f"{package}.k8sVersionMajor": "1", f"{package}.k8sVersionMinor": minor}
    return stamps


def _no_stamps(_: GoModule) -> Mapping[str, str]:
    return {}  # the version is a constant in the source


KUBERNETES = GoModule(name="kubernetes", releases="k8s.io/kubernetes", stamps=_kubernetes_stamps)
OLDEST = GoModule(name="oldest", releases="k8s.io/apiextensions-apiserver", stamps=_no_stamps)
ETCD = GoModule(name="etcd", releases="go.etcd.io/etcd/server/v3", stamps=_no_stamps)
HELM = GoModule(name="helm", releases="helm.sh/helm/v3", stamps=_helm_stamps)
COREDNS = GoModule(name="coredns", releases="github.com/coredns/coredns", stamps=_no_stamps)

OLDEST_SERVER = "apiextensions-apiserver"
"""The program of the oldest release: see `oldest.OldestServer`."""

PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program(name="etcd", package="go.etcd.io/etcd/server/v3", module=ETCD),
        *(
            Program(name=name, package=f"k8s.io/kubernetes/cmd/{name}", module=KUBERNETES)
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kubectl",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
            )
        ),
        Program(name=OLDEST_SERVER, package="k8s.io/apiextensions-apiserver", module=OLDEST),
        Program(name="helm", package="helm.sh/helm/v3/cmd/helm", module=HELM),
        Program(name="coredns", package="github.com/coredns/coredns", module=COREDNS),
    )
}

API_SERVER_PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
"""What a control plane without controllers needs: also what a `KUBEBUILDER_ASSETS` folder holds."""

CONTROL_PLANE_PROGRAMS = (*API_SERVER_PROGRAMS, "kube-controller-manager")
"""What a control plane with controllers needs."""

NODE_PROGRAMS = (*CONTROL_PLANE_PROGRAMS, "kube-scheduler", "kubelet", "kube-proxy", "coredns")
"""What a cluster with pods needs, beside the programs of the distribution."""


def program_named(name: str) -> Program:
    """Look up a program.

    Raises:
        ClusterError: there is none of that name.
    """
    if name not in PROGRAMS:
        raise ClusterError(f"There is no program {name!r} to build; there are {', '.join(PROGRAMS)}.")
    return PROGRAMS[name]
