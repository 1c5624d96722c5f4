"""Using a cluster, whichever it is: objects, logs, commands in pods, by kubectl with a deadline for each."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tidegate_cluster.errors import DeadlinePassedError, KubectlFailedError
from tidegate_cluster.kubectl import run_kubectl
from tidegate_cluster.waiting import wait_until

_LOOK_EVERY_S = 0.5
_SHOWN_LINES = 30


class Cluster:
    """A cluster with nodes, reached by a kubeconfig."""

    def __init__(self, kubeconfig: Path, kubectl: Path) -> None:
        self.kubeconfig = kubeconfig
        self._program = kubectl

    @property
    def program(self) -> Path:
        """Kubectl."""
        return self._program

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Run kubectl and return its stdout; `stdin` is what `-f -` reads.

        Raises:
            KubectlFailedError: it ended with an error, or not within `timeout_s` seconds.
        """
        return run_kubectl(
            self._program, arguments, kubeconfig=self.kubeconfig, stdin=stdin, timeout_s=timeout_s
        )

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects.

        Raises:
            KubectlFailedError: one was refused; the text says why.
        """
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """Read one object.

        Raises:
            KubectlFailedError: there is none.
        """
        text = self.kubectl("get", kind, name, f"--namespace={namespace}", "--output=json")
        found: dict[str, Any] = json.loads(text)
        return found

    def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """Read pods by their labels, without those that are being deleted."""
        text = self.kubectl(
            "get", "pods", f"--namespace={namespace}", f"--selector={selector}", "--output=json"
        )
        return [it for it in json.loads(text)["items"] if "deletionTimestamp" not in it["metadata"]]

    def ready_pods(self, namespace: str, selector: str) -> list[str]:
        """Names of the pods that are Ready; one that was made this moment has no condition at all."""
        return [
            it["metadata"]["name"]
            for it in self.pods(namespace, selector)
            if any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in it.get("status", {}).get("conditions", [])
            )
        ]

    def delete_pod(self, namespace: str, name: str) -> None:
        """Ask for a pod's end, without waiting for it."""
        self.kubectl("delete", "pod", name, f"--namespace={namespace}", "--wait=false")

    def exec(self, namespace: str, pod: str, container: str, *command: str, timeout_s: float = 30) -> str:
        """Run a command in a container and return its stdout.

        Raises:
            KubectlFailedError: it failed.
        """
        where = (f"--namespace={namespace}", pod, f"--container={container}")
        return self.kubectl("exec", *where, "--", *command, timeout_s=timeout_s)

    def logs(self, namespace: str, pod: str, container: str) -> str:
        """Read what a container has printed so far.

        Raises:
            KubectlFailedError: it has not started.
        """
        return self.kubectl("logs", pod, f"--namespace={namespace}", f"--container={container}")

    def wait_for_rollout(self, namespace: str, workload: str, *, within_s: float = 120) -> None:
        """Wait until a workload, such as `deployment/chat`, is as it was asked to be.

        Raises:
            KubectlFailedError: it did not come to that; the text has the namespace's events.
        """
        where = f"--namespace={namespace}"
        try:
            self.kubectl(
                "rollout", "status", workload, where, f"--timeout={within_s:g}s", timeout_s=within_s + 5
            )
        except KubectlFailedError as error:
            raise KubectlFailedError(f"{error}\n{self.events(namespace)}") from error

    def wait_until(
        self, condition: Callable[[], bool], *, namespace: str, what: str, within_s: float = 60
    ) -> None:
        """Ask `condition` every half second until it holds.

        A pod may be gone between its listing and the look at it, and the API server away for a moment: what
        kubectl refuses to a condition counts as not yet, and its last refusal is told when time is over.

        Raises:
            DeadlinePassedError: it did not; the text has the namespace's events.
        """
        refused: list[str] = []

        def holds() -> bool:
            try:
                return condition()
            except KubectlFailedError as error:
                refused[:] = [str(error)]
                return False

        try:
            wait_until(holds, within_s=within_s, what=what, every_s=_LOOK_EVERY_S)
        except DeadlinePassedError as error:
            told = "\n".join([str(error), *refused, self.events(namespace)])
            raise DeadlinePassedError(told) from error

    def events(self, namespace: str) -> str:
        """Pods, the last events and the last words of ended containers of a namespace, for a message to a person."""
        where = f"--namespace={namespace}"
        pods = json.loads(self.kubectl("get", "pods", where, "--output=json"))["items"]
        shown = self.kubectl("get", "pods", where, "--output=wide")
        events = self.kubectl("get", "events", where, "--sort-by=.lastTimestamp").splitlines()
        words = [
            f"{pod['metadata']['name']}, {container['name']}: {ended['message']}"
            for pod in pods
            for container in _containers(pod)
            for ended in _ends(container)
            if ended.get("message")
        ]
        return "\n".join([shown, *events[-_SHOWN_LINES:], *words])


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _ends(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    states = (container.get("state", {}), container.get("lastState", {}))
    return [state["terminated"] for state in states if "terminated" in state]
