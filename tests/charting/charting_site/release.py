"""A release: the chart installed in a real API server, its programs as processes beside it with what it gives to them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from injecting_site.injector import CONFIGURATIONS, InjectorProcess, is_injecting
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.loopback import ADDRESS, free_port
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import OperatorProcess

from charting_site.helm import CHART, NAME, NAMESPACE, Helm, Objects, environment_of
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.inject.configuration import NAME as CONFIGURATION

WITHIN_S = 180
_SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/tidegate-injector-certificates"
_OF_THE_POD = ("LISTEN", "HEALTH", "ADVERTISE", "CERTIFICATES", "PEER_TOKEN_FILE")
"""Variables that say where a pod is; a process on loopback is elsewhere."""


class Release:
    """One installation, for a cluster that has none."""

    def __init__(self, helm: Helm, control_plane: ControlPlane, folder: Path) -> None:
        self.helm = helm
        self.control_plane = control_plane
        self._folder = folder
        self._port = free_port()
        self._settings = f"--set=injector.url=https://{ADDRESS}:{self._port}"
        self._operator: OperatorProcess | None = None
        self._injector: InjectorProcess | None = None

    def install(self) -> None:
        """What docs/operations/install.md says, and both programs until a pod would get its sidecar."""
        self.control_plane.kubectl("create", "namespace", NAMESPACE)
        self.control_plane.kubectl(
            "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"
        )
        self.helm_install()
        self._start_operator()
        self._start_injector()
        wait_until(lambda: is_injecting(self.control_plane), within_s=WITHIN_S, what="the first injection")

    def helm_install(self) -> str:
        """What helm says to the person."""
        return self.helm("install", NAME, str(CHART), self._settings)

    def upgrade(self, *settings: str) -> None:
        self.helm("upgrade", NAME, str(CHART), self._settings, *settings)

    def render(self) -> Objects:
        """What is installed, as manifests for other tools."""
        return self.helm.render(self._settings)

    def stop(self) -> None:
        """End the processes; both have to end well."""
        if self._injector is not None:
            self._injector.stop()
            assert "Traceback" not in self._injector.log, self._injector.log
        if self._operator is not None and self._operator.runs:
            assert self._operator.stop() == 0, self._operator.log

    def configuration(self) -> dict[str, Any]:
        """The webhook configuration as it is stored."""
        found: dict[str, Any] = self.control_plane.request("GET", f"{CONFIGURATIONS}/{CONFIGURATION}").json()
        return found

    def bundles(self) -> set[str]:
        """Each `caBundle` that stands in it."""
        return {entry["clientConfig"].get("caBundle", "") for entry in self.configuration()["webhooks"]}

    def deployment(self, name: str) -> dict[str, Any]:
        """One of the chart's, as it is stored."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"
        found: dict[str, Any] = self.control_plane.request("GET", path).json()
        return found

    def operator(
        self, deployment: dict[str, Any], namespace: str, folder: Path, **settings: str
    ) -> OperatorProcess:
        """One with the rights of its ServiceAccount and the variables of a Deployment, but for where a pod is."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        account = f"system:serviceaccount:{namespace}:{deployment['metadata']['name']}"
        quick = {"TIDEGATE_CERTIFICATES_MS": "200", "TIDEGATE_GRACE_MS": "1000"}
        return OperatorProcess(
            kubeconfig=self.control_plane.kubeconfig_for(account, groups),
            namespace=namespace,
            folder=folder,
            settings=_elsewhere(environment_of(deployment)) | quick | settings,
        )

    def _start_operator(self) -> None:
        self._operator = self.operator(self.deployment("tidegate-operator"), NAMESPACE, self._folder)
        self._operator.start().wait_ready()

    def _start_injector(self) -> None:
        """With the variables of the chart's Deployment, and the Secret that the operator has made for it."""
        assert self._operator is not None
        self._operator.until(lambda: self.control_plane.request("GET", _SECRET).status == 200, "the Secret")
        data = self.control_plane.request("GET", _SECRET).json()["data"]
        files = ServerFiles.from_data({name: base64.b64decode(value) for name, value in data.items()})
        variables = _elsewhere(environment_of(self.helm.render()["Deployment", "tidegate-injector"]))
        settings = {name.removeprefix("TIDEGATE_"): value for name, value in variables.items()}
        self._injector = InjectorProcess(
            self._folder, files, **settings | {"LISTEN": f"{ADDRESS}:{self._port}", "DRAIN_MS": "0"}
        )
        self._injector.start()


def _elsewhere(variables: dict[str, str]) -> dict[str, str]:
    left_out = {f"TIDEGATE_{name}" for name in _OF_THE_POD}
    return {
        name: value
        for name, value in variables.items()
        if name.startswith("TIDEGATE_") and name not in left_out
    }
