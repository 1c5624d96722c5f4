"""One Kubernetes cluster of one node, from its first mount to its last: started, watched, disturbed, ended."""

import json
import os
import platform
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.errors import ClusterError
from tidegate_cluster.ledger import Ledger, Purpose
from tidegate_cluster.process import ServerProcess
from tidegate_cluster.waiting import wait_until

from tidegate_node.cgroups import Cgroups
from tidegate_node.commands import ENVIRONMENT, run
from tidegate_node.configs import (
    PAUSE_IMAGE,
    Places,
    corefile,
    dns_objects,
    kube_proxy_arguments,
    kubelet_arguments,
)
from tidegate_node.containerd import Containerd
from tidegate_node.dns import resolve
from tidegate_node.network import entering, make_network
from tidegate_node.packages import program
from tidegate_node.pause import pause_archive
from tidegate_node.plan import CLUSTER_DOMAIN, Plan
from tidegate_node.preparing import make_control_plane, write_files
from tidegate_node.records import Record, claim
from tidegate_node.remains import read_sysctls, remove

CONTAINERD = "containerd"
KUBELET = "kubelet"
KUBE_PROXY = "kube-proxy"
COREDNS = "coredns"

_START_LIMIT_S = 60.0
_NODE_LIMIT_S = 90.0
_POD_GRACE_S = 2.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Node:
    """A context manager, for use by one thread at a time.

    The API server, etcd and the controllers are `control_plane`, with faults of its own.
    """

    def __init__(
        self,
        *,
        programs: Mapping[str, Path],
        folder: Path,
        cache: Path,
        purpose: Purpose,
        report: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is made on the machine yet.

        Args:
            programs: `NODE_PROGRAMS` by name, as `builder.provide` returns them.
            folder: for certificates, data and logs, made if missing. Certificates and logs stay there at the end.
            cache: where the control plane's processes are written down.
            purpose: for a person or for tests.
            report: gets one line of text per step.
        """
        self.folder = folder.resolve()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._programs = programs
        self._cache = cache
        self._purpose = purpose
        self._report = report
        self._places = Places(self.folder)
        self._containerd = Containerd(self._places.containerd_socket)
        self._processes: dict[str, ServerProcess] = {}
        self._probes: dict[str, Callable[[], bool]] = {}
        self._record: Record | None = None
        self._control_plane: ControlPlane | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()

    @property
    def plan(self) -> Plan:
        """Names and addresses."""
        if self._record is None:
            raise ClusterError("The node was not started")
        return self._record.plan

    @property
    def control_plane(self) -> ControlPlane:
        """The API server and what belongs to it."""
        if self._control_plane is None:
            raise ClusterError("The node was not started")
        return self._control_plane

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, which works on this machine."""
        return self.control_plane.kubeconfig

    def start(self) -> None:
        """Start everything and wait until the node is Ready and names are resolved.

        Raises:
            ClusterError: a step failed; the text has the end of the log. Nothing is left on the machine.
        """
        try:
            self._record = claim(self._purpose, self.folder, read_sysctls())
            self._start(self.plan)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, pods first, and leave nothing on the machine but certificates and logs."""
        for name in (COREDNS, KUBE_PROXY, KUBELET):
            if name in self._processes:
                self._processes[name].stop()
        if self._record is not None:
            Cgroups(self._record.plan.name).end_all(services=False, grace_s=_POD_GRACE_S)
        if CONTAINERD in self._processes:
            self._processes[CONTAINERD].stop()
        if self._control_plane is not None:
            self._control_plane.stop()
        if self._record is not None:
            remove(self._record)
        self._processes.clear()
        self._record = self._control_plane = None

    def stop_service(self, name: str) -> None:
        """End containerd, kubelet, kube-proxy or coredns alone, by SIGTERM. Pods go on."""
        self._service(name).stop()

    def kill_service(self, name: str) -> None:
        """End one of them by SIGKILL."""
        self._service(name).kill()

    def start_service(self, name: str) -> None:
        """Start one that was stopped again and wait until it answers.

        Raises:
            StartFailedError: it did not start.
        """
        service = self._service(name)
        service.start()
        pid = service.pid
        if pid is not None:
            Cgroups(self.plan.name).place(pid)
        service.wait_until_ready(self._probes[name], within_s=_START_LIMIT_S)

    def freeze_service(self, name: str) -> None:
        """Halt one of them by SIGSTOP."""
        self._service(name).freeze()

    def thaw_service(self, name: str) -> None:
        """Let it go on."""
        self._service(name).thaw()

    def failures(self) -> list[str]:
        """Say which processes ended although nobody stopped them, each with the end of its log."""
        ended = [process for process in self._processes.values() if process.has_failed]
        said = [f"{process.name} ended by itself. {process.log_tail()}" for process in ended]
        return [*said, *(self._control_plane.failures() if self._control_plane is not None else [])]

    def load(self, archive: Path) -> None:
        """Give the node the images of an archive (OCI or Docker).

        Raises:
            CommandFailedError: it is no such archive.
        """
        self._containerd.load(archive)

    def images(self) -> list[str]:
        """Return the names of the images that the node has."""
        return self._containerd.images()

    def run_in_pod_network(self, namespace: str, pod: str, *command: str, timeout_s: float = 30) -> str:
        """Run a program of this machine, such as iptables, in the network of a running pod; return its stdout.

        Raises:
            CommandFailedError: it failed.
            ClusterError: the pod has no running container.
        """
        pid = self._pid_in_pod(namespace, pod)
        return run("nsenter", f"--net=/proc/{pid}/ns/net", "--", *command, timeout_s=timeout_s)

    def kill_container(self, namespace: str, pod: str, container: str) -> None:
        """Kill a container's first process by SIGKILL, as the kernel does when memory has run out.

        Raises:
            ClusterError: it does not run.
        """
        os.kill(self._pids_in_pod(namespace, pod)[container], signal.SIGKILL)

    def run_in_network(self, *command: str, timeout_s: float = 30) -> str:
        """Run a program of this machine in the node's network; return its stdout.

        Raises:
            CommandFailedError: it failed.
        """
        return run(*entering(self.plan, *command), timeout_s=timeout_s)

    def _start(self, plan: Plan) -> None:
        groups = Cgroups(plan.name)
        groups.make()
        make_network(plan)
        self._report(f"Network {plan.name}: pods have addresses from {plan.pods}")
        control_plane = self._control_plane = make_control_plane(
            plan, programs=self._programs, folder=self.folder, ledger=Ledger(self._cache, Purpose.TESTS)
        )
        self._report("Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler")
        control_plane.start()
        control_plane.start_controllers()
        control_plane.start_scheduler()
        write_files(plan, self._places, control_plane)
        self._start_containerd()
        self._start_kubelet(plan, control_plane)
        self._start_kube_proxy(plan, control_plane)
        self._start_dns(plan, control_plane)
        self._wait_for(self._is_node_ready, KUBELET, "readiness of the node")
        self._wait_for(partial(self._resolves, plan), COREDNS, "an answer of CoreDNS")
        self._report(f"Node {plan.name} is Ready and names are resolved")

    def _start_containerd(self) -> None:
        self._launch(
            CONTAINERD,
            [program("containerd"), "--config", self._places.containerd_config],
            self._containerd.answers,
        )
        archive = self.folder / "pause.tar"
        busybox = program("busybox").read_bytes()
        machine = platform.machine()
        archive.write_bytes(
            pause_archive(busybox, name=PAUSE_IMAGE, architecture=_ARCHITECTURES.get(machine, machine))
        )
        self.load(archive)

    def _start_kubelet(self, plan: Plan, control_plane: ControlPlane) -> None:
        kubeconfig = control_plane.kubeconfig_for(f"system:node:{plan.name}", ["system:nodes"])
        self._launch(
            KUBELET,
            [self._programs[KUBELET], *kubelet_arguments(plan, self._places, kubeconfig)],
            self._is_node_known,
        )

    def _start_kube_proxy(self, plan: Plan, control_plane: ControlPlane) -> None:
        kubeconfig = control_plane.kubeconfig_for("system:kube-proxy")
        self._launch(
            KUBE_PROXY,
            [self._programs[KUBE_PROXY], *kube_proxy_arguments(plan, kubeconfig)],
            lambda: True,  # the answers of the name server's Service address are the proof
        )

    def _start_dns(self, plan: Plan, control_plane: ControlPlane) -> None:
        objects = {"apiVersion": "v1", "kind": "List", "items": dns_objects(plan)}
        control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(objects))
        self._places.corefile.write_text(corefile(plan, control_plane.kubeconfig_for("system:coredns")))
        self._launch(
            COREDNS,
            [self._programs[COREDNS], "-conf", self._places.corefile],
            partial(self._resolves, plan),
        )

    def _launch(self, name: str, command: Sequence[str | Path], probe: Callable[[], bool]) -> None:
        self._report(f"Starting {name}")
        self._processes[name] = ServerProcess(
            name=name,
            command=[str(part) for part in entering(self.plan, *command)],
            folder=self.folder,
            environment=ENVIRONMENT | {"HOME": str(self.folder), "TMPDIR": str(self.folder)},
        )
        self._probes[name] = probe
        self.start_service(name)

    def _service(self, name: str) -> ServerProcess:
        if name not in self._processes:
            raise ClusterError(f"There is no {name} on the node; there are {', '.join(self._processes)}")
        return self._processes[name]

    def _wait_for(self, condition: Callable[[], bool], name: str, what: str) -> None:
        try:
            wait_until(condition, within_s=_NODE_LIMIT_S, what=what)
        except ClusterError as error:
            raise ClusterError(f"{error}. {self._service(name).log_tail()}") from error

    def _is_node_known(self) -> bool:
        return self.control_plane.request("GET", f"/api/v1/nodes/{self.plan.name}").status == 200

    def _is_node_ready(self) -> bool:
        node = self.control_plane.request("GET", f"/api/v1/nodes/{self.plan.name}").json()
        conditions = node.get("status", {}).get("conditions", [])
        taints = node.get("spec", {}).get("taints", [])
        is_ready = any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
        return is_ready and not taints

    def _resolves(self, plan: Plan) -> bool:
        try:
            return resolve(f"kubernetes.default.svc.{CLUSTER_DOMAIN}", server=plan.address) == ["10.96.0.1"]
        except (OSError, ValueError):
            return False

    def _pid_in_pod(self, namespace: str, pod: str) -> int:
        return next(iter(self._pids_in_pod(namespace, pod).values()))

    def _pids_in_pod(self, namespace: str, pod: str) -> dict[str, int]:
        """Name of each running container to the process that it began with."""
        text = self.control_plane.kubectl("get", "pod", pod, f"--namespace={namespace}", "--output=json")
        status = json.loads(text)["status"]
        every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        running = {
            it["name"]: it["containerID"].rpartition("/")[2] for it in every if "running" in it["state"]
        }
        processes = self._containerd.processes()
        found = {name: processes[container] for name, container in running.items() if container in processes}
        if not found:
            raise ClusterError(f"The pod {namespace}/{pod} has no running container on this node")
        return found
