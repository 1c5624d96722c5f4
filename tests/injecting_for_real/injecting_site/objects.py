"""Objects to send to the API server, and looking at what it stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.waiting import wait_until

from tidegate_operator.inject.names import CONTAINER, INJECT

WITHIN_S = 180
PATHS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
}
VERSIONS = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(name: str = "chat", **metadata: Any) -> dict[str, Any]:
    """A pod that PodSecurity's level `restricted` takes; it says nothing of us."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "containers": [{"name": "app", "image": "registry.example/app:1", "securityContext": RESTRICTED}]
        },
    }


def opted_in(name: str = "chat", **annotations: str) -> dict[str, Any]:
    return pod(
        name, annotations={INJECT: "enabled"} | {f"tidegate.dev/{key}": it for key, it in annotations.items()}
    )


def workload(kind: str, name: str = "chat", metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    """A workload with such pods."""
    labels = {"app": name}
    spec = pod()["spec"] | ({"restartPolicy": "Never"} if kind in ("Job", "CronJob") else {})
    template: dict[str, Any] = {"metadata": {"labels": labels}, "spec": spec}
    body: dict[str, Any] = {"template": template}
    if kind in ("Deployment", "StatefulSet", "DaemonSet"):
        body["selector"] = {"matchLabels": labels}
    if kind == "StatefulSet":
        body["serviceName"] = name
    if kind == "CronJob":
        # a minute that a test will hardly see: pods that come by themselves would be counted
        body = {"schedule": "0 0 29 2 *", "jobTemplate": {"spec": body}}
    return {
        "apiVersion": VERSIONS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": {"name": name, **(metadata or {})},
        "spec": body,
    }


def template_of(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    spec = spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec
    template: dict[str, Any] = spec["template"]
    return template


def has_sidecar(document: dict[str, Any]) -> bool:
    """Whether a pod has exactly one, among its init containers."""
    names = [it["name"] for it in document.get("spec", {}).get("initContainers", [])]
    return names.count(CONTAINER) == 1


@dataclass(frozen=True)
class Namespace:
    """A namespace of the cluster."""

    control_plane: ControlPlane
    name: str

    def create(self, document: dict[str, Any], *, dry_run: bool = False) -> tuple[int, dict[str, Any]]:
        """Send an object; the status and what the server answers."""
        path = PATHS[document["kind"]].format(self.name) + ("?dryRun=All" if dry_run else "")
        answer = self.control_plane.request("POST", path, body=document)
        return answer.status, answer.json()

    def stored(self, document: dict[str, Any]) -> dict[str, Any]:
        """Send an object that is taken; what is stored."""
        status, found = self.create(document)
        assert status == 201, found
        return found

    def get(self, kind: str, name: str = "chat") -> dict[str, Any]:
        answer = self.control_plane.request("GET", f"{PATHS[kind].format(self.name)}/{name}")
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def exists(self, kind: str, name: str = "chat") -> bool:
        return self.control_plane.request("GET", f"{PATHS[kind].format(self.name)}/{name}").status == 200

    def pods(self, labels: str = "app=chat") -> list[dict[str, Any]]:
        """Those that are not being deleted, with what a list leaves out."""
        path = f"{PATHS['Pod'].format(self.name)}?labelSelector={labels}"
        items = self.control_plane.request("GET", path).json()["items"]
        return [it for it in items if "deletionTimestamp" not in it["metadata"]]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.control_plane.kubectl(f"--namespace={self.name}", *arguments, stdin=stdin)

    def until(self, condition: Any, what: str) -> None:
        wait_until(condition, within_s=WITHIN_S, what=what)
