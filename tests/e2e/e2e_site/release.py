"""The chart as a platform engineer installs it, by helm."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tidegate_node.access import Cluster

from e2e_site.applications import ROOT

CHART = ROOT / "charts" / "tidegate"
SYSTEM = "tidegate-system"
NAME = "tidegate"
_LIMIT_S = 240


class ReleaseError(Exception):
    """Helm refused; the text has what it said and the state of our namespace."""


class Release:
    """One installation."""

    def __init__(self, helm: Path, home: Path, cluster: Cluster) -> None:
        self._helm = helm
        self._home = home
        self.cluster = cluster

    def install(self, *settings: str) -> None:
        """In a namespace that takes restricted pods alone."""
        self.cluster.kubectl("create", "namespace", SYSTEM)
        self.cluster.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
        self("install", NAME, str(CHART), "--wait", "--timeout=180s", *settings)

    def upgrade(self, *settings: str) -> None:
        """Other values, or other images; returns when all replicas are new."""
        self("upgrade", NAME, str(CHART), "--wait", "--timeout=180s", "--reuse-values", *settings)

    def uninstall(self) -> None:
        """Take everything away but the kinds and their objects."""
        self("uninstall", NAME, "--wait", "--timeout=120s")

    def __call__(self, *arguments: str) -> str:
        """Run helm; what it printed.

        Raises:
            ReleaseError: it ended with an error.
        """
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self._home),
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        done = subprocess.run(
            [self._helm, *arguments, f"--namespace={SYSTEM}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            said = f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
            raise ReleaseError(f"{said}\n{self.cluster.events(SYSTEM)}")
        return done.stdout

    def scale(self, name: str, replicas: int) -> None:
        """As many pods of the operator or the injector, and no others."""
        self.cluster.kubectl("scale", "deployment", name, f"--namespace={SYSTEM}", f"--replicas={replicas}")
        self.cluster.wait_for_rollout(SYSTEM, f"deployment/{name}")
        self.cluster.wait_until(
            lambda: len(self.pods(name)) == replicas, namespace=SYSTEM, what=f"{replicas} pods of {name}"
        )

    def pods(self, name: str) -> list[str]:
        """Names of the pods that one of our Deployments has, those that end included."""
        text = self.cluster.kubectl(
            "get", "pods", f"--namespace={SYSTEM}", "--output=jsonpath={.items[*].metadata.name}"
        )
        return [pod for pod in text.split() if pod.startswith(f"{name}-")]
