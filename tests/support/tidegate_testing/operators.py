"""The operator as users run it: `python -m tidegate_operator` in a process of its own, against a real API server."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.errors import DeadlinePassedError
from tidegate_cluster.loopback import UNREACHABLE, Answer, free_port, request
from tidegate_cluster.waiting import wait_until

from tidegate_operator.index.pods import SIDECAR_CONTAINER
from tidegate_testing.objects import Objects
from tidegate_testing.prepared import PreparedProcess, PreparedProgram

ROOT = Path(__file__).parents[3]
GROUP = "tidegate.dev"
FULL_LENGTH = "TIDEGATE_FULL_LENGTH" in os.environ  # noqa: TID251 - the tests' own switch
"""`make prove`: the same tests with the periods of production, in which a fault is noticed after minutes."""

WITHIN_S = 900.0 if FULL_LENGTH else 120.0

QUICK = {
    "TIDEGATE_LEASE_DURATION_MS": "6000",
    "TIDEGATE_LEASE_RENEW_MS": "4000",
    "TIDEGATE_LEASE_RETRY_MS": "200",
    "TIDEGATE_STATUS_INTERVAL_MS": "200",
    "TIDEGATE_STATUS_RETRY_MS": "200",
    "TIDEGATE_HEARING_MS": "500",
    "TIDEGATE_OWNERS_MS": "500",
    "TIDEGATE_RELIST_PAUSE_MS": "100",
    "TIDEGATE_RETRY_MAX_MS": "300",
    "TIDEGATE_REQUEST_MS": "3000",
    "TIDEGATE_WATCH_LENGTH_MS": "5000",
    "TIDEGATE_WATCH_INACTIVITY_MS": "2000",
    "TIDEGATE_WATCH_SILENT_MS": "8000",
    "TIDEGATE_GRACE_MS": "1000",
}
"""Periods that are short, so that a test need not wait for minutes; the proportions are those of the defaults."""

STEADY = {"TIDEGATE_LEASE_DURATION_MS": "60000", "TIDEGATE_LEASE_RENEW_MS": "40000"}
"""Who leads goes on leading, however busy the machine is: for tests of several replicas in which no Lease runs out."""

PRODUCTION: Mapping[str, str] = {}
"""The defaults."""

PERIODS = PRODUCTION if FULL_LENGTH else QUICK


class OperatorProcess:
    """One replica. Its log is a file that error messages quote."""

    def __init__(
        self,
        *,
        kubeconfig: Path,
        namespace: str,
        folder: Path,
        settings: Mapping[str, str],
        periods: Mapping[str, str] = PERIODS,
        program: PreparedProgram | None = None,
    ) -> None:
        """Nothing runs yet; without `program` it starts from nothing, as in a pod."""
        self.config_port = free_port()
        self.health_port = free_port()
        self.log_file = folder / f"operator-{self.health_port}.log"
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONWARNINGS": "error",
            "KUBECONFIG": str(kubeconfig),
            "TIDEGATE_NAMESPACE": namespace,
            "TIDEGATE_LISTEN": f"127.0.0.1:{self.config_port}",
            "TIDEGATE_HEALTH": f"127.0.0.1:{self.health_port}",
            **periods,
            **settings,
        }
        self.may_fail = False
        """Its log may have a traceback: the test makes it fail."""
        self._program = program
        self._process: subprocess.Popen[bytes] | PreparedProcess | None = None

    def start(self) -> OperatorProcess:
        with self.log_file.open("ab") as log:
            if self._program is not None:
                self._process = self._program.start(
                    env=self._environment, stdout=log.fileno(), stderr=log.fileno()
                )
            else:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tidegate_operator"],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes] | PreparedProcess:
        assert self._process is not None, "not started"
        return self._process

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Answer | None:
        """An answer of the health port; None when there is none."""
        try:
            return request(self.health_port, "GET", path, timeout_s=20)
        except UNREACHABLE:
            return None

    def is_ready(self) -> bool:
        answer = self.get("/readyz")
        return answer is not None and answer.status == 200

    def facts(self) -> dict[str, Any]:
        answer = self.get("/readyz")
        assert answer is not None, self.log
        facts: dict[str, Any] = answer.json()
        return facts

    @property
    def leads(self) -> bool:
        answer = self.get("/readyz")
        return answer is not None and bool(answer.json()["leading"])

    def metric(self, sample: str) -> float:
        """The value of one line of /metrics, labels being part of `sample`: 0 where it is not there, NaN without answer."""
        answer = self.get("/metrics")
        if answer is None:
            return math.nan
        for line in answer.text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == f"tidegate_operator_{sample}":
                return float(value)
        return 0.0

    def wait_ready(self) -> OperatorProcess:
        self.until(self.is_ready, "readiness")
        return self

    def until(self, condition: Callable[[], bool], what: str, *, within_s: float = WITHIN_S) -> None:
        """Wait while it runs, and quote the log when it was in vain."""
        try:
            wait_until(lambda: condition() or not self.runs, within_s=within_s, what=what)
        except DeadlinePassedError as error:
            raise AssertionError(f"{error}; the log says:\n{self.log}") from error
        assert self.runs, f"it ended with {self.process.returncode}:\n{self.log}"

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL: nothing can be tidied up."""
        self.process.kill()
        self.process.wait()

    def wait(self, within_s: float = WITHIN_S) -> int:
        """The exit code, once it has ended."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it does not end; the log says:\n{self.log}") from error

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def rss_mib(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def cpu_s(self) -> float:
        """CPU time used so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Cluster:
    """A control plane with Tidegate's kinds."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self.kubectl = control_plane.kubectl
        self.objects = Objects(control_plane)

    def install(self) -> None:
        """What README says."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def apply(self, *documents: Mapping[str, Any]) -> None:
        for document in documents:
            self.objects.apply(document)

    def change(self, path: str, **spec: Any) -> None:
        """Set fields of an object's spec, without the time that kubectl takes to start."""
        document = self.control_plane.request("GET", path).json()
        document["spec"] |= spec
        answer = self.control_plane.request("PUT", path, body=document)
        assert answer.status == 200, answer.text

    def run_sidecar(self, namespace: str, *pods: str) -> None:
        """Say in the status of pods what a kubelet would once their sidecar runs."""
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        container = {"name": SIDECAR_CONTAINER, "image": "", "imageID": "", "ready": True, "restartCount": 0}
        status = {"phase": "Running", "initContainerStatuses": [{**container, "state": state}]}
        for name in pods:
            path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
            answer = self.control_plane.request(
                "PATCH",
                path,
                body={"status": status},
                headers={"Content-Type": "application/merge-patch+json"},
            )
            assert answer.status == 200, answer.text

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.objects.delete(kind, namespace, name)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        found = self.objects.find(kind, namespace, name)
        assert found is not None, f"there is no {kind} {namespace}/{name}"
        return found

    def conditions(self, kind: str, namespace: str, name: str) -> dict[str, dict[str, Any]]:
        """Type to condition; empty while there are none."""
        status = self.get(kind, namespace, name).get("status") or {}
        return {it["type"]: it for it in status.get("conditions") or ()}

    def condition(self, kind: str, namespace: str, name: str, condition: str) -> str:
        """``False/RefNotFound``; empty while there is none."""
        found = self.conditions(kind, namespace, name).get(condition)
        return f"{found['status']}/{found['reason']}" if found else ""

    def events(self, namespace: str, name: str) -> list[str]:
        """Reasons of the events about an object, in the order of time."""
        items = self.control_plane.request("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
        found = [it for it in items.json()["items"] if it["regarding"]["name"] == name]
        return [it["reason"] for it in sorted(found, key=lambda it: it["eventTime"] or "")]

    def lets(self, user: str, **attributes: str) -> bool:
        """Whether RBAC lets a user do something to a resource, as the API server sees it now."""
        answer = self.control_plane.request(
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            body={"spec": {"user": user, "resourceAttributes": attributes}},
        )
        assert answer.status == 201, answer.text
        return bool(answer.json()["status"]["allowed"])

    def exists(self, kind: str, namespace: str, name: str) -> bool:
        return self.objects.find(kind, namespace, name) is not None

    def clear(self, namespace: str) -> None:
        """Remove everything of ours in a namespace; without controllers nobody else does."""
        for kind in ("aipolicies", "providerpools", "providercredentials", "pods"):
            self.objects.delete(kind, namespace, at_once=True)


def pool(namespace: str, name: str = "models", **spec: Any) -> dict[str, Any]:
    provider = {
        "name": "openai",
        "type": "OpenAI",
        "authentication": {"type": "Caller"},
        "models": [{"name": "gpt-5.5"}],
    }
    return _object("ProviderPool", namespace, name, {"providers": [provider], **spec})


def policy(namespace: str, name: str = "chat", **spec: Any) -> dict[str, Any]:
    """A policy for the whole namespace, unless `spec` says otherwise."""
    if "targetRefs" not in spec and "selector" not in spec:
        spec["targetRefs"] = [{"kind": "Namespace", "name": namespace}]
    return _object("AIPolicy", namespace, name, {"poolRefs": [{"name": "models"}], **spec})


def credential(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A key of the same name in the Secret of each namespace that calls."""
    return _object(
        "ProviderCredential", namespace, name, {"source": {"type": "Secret", "secret": {"key": name}}, **spec}
    )


def deployment(namespace: str, name: str = "chat", replicas: int = 0) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "example.test/app"}]},
            },
        },
    }


def injected_pod(
    namespace: str, name: str, owner: Mapping[str, Any] | None = None, **labels: str
) -> dict[str, Any]:
    """A pod as the injector leaves it; `owner` is the object that controls it."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {"tidegate.dev/injected": "true", **labels},
    }
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ]
    container = {"name": "app", "image": "example.test/app"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def _object(kind: str, namespace: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
