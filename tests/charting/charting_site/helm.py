"""Running helm without a person's settings, and what it renders as values."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from tidegate_cluster.controlplane import ControlPlane
from tidegate_testing.operators import ROOT

CHART = ROOT / "charts" / "tidegate"
CRDS_CHART = ROOT / "charts" / "tidegate-crds"
NAMESPACE = "tidegate-system"
NAME = "tidegate"
PROFILES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
"""Values that stand for kinds of installations."""

Objects = dict[tuple[str, str], dict[str, Any]]

_LIMIT_S = 60


class HelmError(Exception):
    """Helm refused; the text is what it said."""


class Helm:
    """One helm: with a cluster, or without."""

    def __init__(self, program: Path, folder: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._rendered: dict[tuple[str, ...], Objects] = {}

    def at(self, control_plane: ControlPlane) -> Helm:
        """The same with a cluster, as its administrator."""
        return Helm(self._program, self._folder, control_plane.kubeconfig)

    def __call__(self, *arguments: str, namespace: str = NAMESPACE) -> str:
        """Run it; what it printed.

        Raises:
            HelmError: it ended with an error.
        """
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self._folder),
            "KUBECONFIG": str(self._kubeconfig or "/dev/null"),
            "GOGC": "400",  # it ends before its garbage matters
        }
        done = subprocess.run(
            [self._program, *arguments, f"--namespace={namespace}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(f"{done.stdout}{done.stderr}")
        return done.stdout

    def text(self, *arguments: str, profile: str = "default", namespace: str = NAMESPACE) -> str:
        """What `helm template` prints."""
        return self(
            "template", NAME, str(CHART), f"--values={PROFILES[profile]}", *arguments, namespace=namespace
        )

    def render(self, *arguments: str, profile: str = "default", namespace: str = NAMESPACE) -> Objects:
        """Objects by kind and name, but for definitions, which are most of the text.

        The same values are rendered once, so nobody may change what they are given.
        """
        return self.render_all("--set=crds.install=false", *arguments, profile=profile, namespace=namespace)

    def render_all(self, *arguments: str, profile: str = "default", namespace: str = NAMESPACE) -> Objects:
        """The same with definitions."""
        key = (*arguments, profile, namespace)
        if key not in self._rendered:
            text = self.text(*arguments, profile=profile, namespace=namespace)
            items = [it for it in yaml.load_all(text, yaml.CSafeLoader) if it]
            self._rendered[key] = {(it["kind"], it["metadata"]["name"]): it for it in items}
        return self._rendered[key]


def environment_of(deployment: dict[str, Any]) -> dict[str, str]:
    """Variables of the one container, as a pod of the namespace would have them."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    known = {
        "metadata.namespace": deployment["metadata"]["namespace"],
        "metadata.name": "pod-1",
        "status.podIP": "10.0.0.7",
    }
    found: dict[str, str] = {}
    for entry in container["env"]:
        if "valueFrom" in entry:
            found[entry["name"]] = known.get(entry["valueFrom"]["fieldRef"]["fieldPath"], "")
        else:
            value = entry["value"]
            for name, text in found.items():
                value = value.replace(f"$({name})", text)
            found[entry["name"]] = value
    return found
