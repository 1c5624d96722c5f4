"""A Kubernetes control plane on loopback: etcd, kube-apiserver and, if asked, kube-controller-manager."""

import shutil
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from tidegate_cluster import etcd
from tidegate_cluster.arguments import (
    apiserver_arguments,
    controller_manager_arguments,
    etcd_arguments,
    scheduler_arguments,
)
from tidegate_cluster.certificates import (
    CertificateAuthority,
    CertificateFiles,
    KeyPair,
    write_certificate_files,
    write_private,
)
from tidegate_cluster.errors import KubectlFailedError
from tidegate_cluster.kubeconfig import render_kubeconfig
from tidegate_cluster.kubectl import run_kubectl
from tidegate_cluster.ledger import Ledger
from tidegate_cluster.loopback import ADDRESS, UNREACHABLE, Answer, request
from tidegate_cluster.servers import READY_LIMIT_S, Recipe, Servers
from tidegate_cluster.waiting import wait_until

_ETCD = "etcd"
_APISERVER = "kube-apiserver"
_CONTROLLERS = "kube-controller-manager"
_SCHEDULER = "kube-scheduler"
_OK = 200


class ControlPlane:
    """One cluster without nodes; a context manager, for use by one thread at a time.

    Without controllers, objects stay what they were made: Deployments make no pods, namespaces get no default
    ServiceAccount, aggregated roles (`view`, `edit`, `admin`) allow nothing, and a deleted namespace keeps its
    objects and refuses new ones.
    """

    def __init__(
        self,
        *,
        programs: Mapping[str, Path],
        folder: Path,
        apiserver_extra: Sequence[str] = (),
        ledger: Ledger | None = None,
        address: str = ADDRESS,
    ) -> None:
        """Prepare certificates; nothing runs yet.

        Args:
            programs: executables by name, as `builder.provide` returns them; kube-controller-manager for
                `start_controllers` alone.
            folder: for certificates, data and logs, made if missing. All but etcd's data stays there at the end.
            apiserver_extra: kube-apiserver flags after the usual ones; a repeated flag overrides.
            ledger: where the processes are written down for `down`; None for nowhere.
            address: of this machine, where the API server listens; everything else stays on loopback.
        """
        self._address = address
        self.folder = folder.resolve()
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self._kubectl_program = programs["kubectl"]
        self._apiserver_extra = tuple(apiserver_extra)
        self._authority = CertificateAuthority()
        self._files = write_certificate_files(self._authority, self.folder / "pki", addresses=[address])
        self._admin = self._authority.client("kubernetes-admin", ["system:masters"])
        self._tls = _client_context(self._authority, self._admin, self.folder / "pki" / "admin.pem")
        self._servers = Servers(programs=programs, folder=self.folder, ledger=ledger)

    def __repr__(self) -> str:
        """Show the state of each process."""
        return f"<ControlPlane {self._servers}>"

    def __enter__(self) -> Self:
        """Start it, without controllers."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def server(self) -> str:
        """URL of the API server, such as `https://127.0.0.1:20123`; the same through stops and starts."""
        return f"https://{self._address}:{self._servers.port(_APISERVER)}"

    @property
    def authority_pem(self) -> bytes:
        """Certificate of the authority that clients must trust."""
        return self._authority.certificate_pem

    @property
    def authority(self) -> CertificateAuthority:
        """The authority itself, for further servers and clients."""
        return self._authority

    @property
    def files(self) -> CertificateFiles:
        """Where its certificates are."""
        return self._files

    @property
    def has_controllers(self) -> bool:
        """Whether kube-controller-manager was started."""
        return _CONTROLLERS in self._servers

    def start(self) -> None:
        """Start etcd and the API server and wait until the `default` namespace is there.

        Raises:
            StartFailedError: one did not start; the text has the end of its log. Nothing is left running.
        """
        try:
            self._servers.start(_ETCD, self._etcd_on)
            self._servers.start(_APISERVER, self._apiserver_on)
            write_private(self.kubeconfig, self._kubeconfig_content("kubernetes-admin", self._admin))
            wait_until(
                partial(self._exists, "/api/v1/namespaces/default"),
                within_s=READY_LIMIT_S,
                what="creation of the default namespace",
            )
        except BaseException:
            self.stop()
            raise

    def start_controllers(self) -> None:
        """Start kube-controller-manager and wait until its controllers work.

        Raises:
            StartFailedError: it did not start. The API server goes on.
        """
        self._servers.start(_CONTROLLERS, self._controllers_on)
        # Its health is fine long before its controllers have read the API: the first work they do is the proof.
        wait_until(
            partial(self._exists, "/api/v1/namespaces/default/serviceaccounts/default"),
            within_s=READY_LIMIT_S,
            what="creation of the default ServiceAccount",
        )

    def start_scheduler(self) -> None:
        """Start kube-scheduler, which gives pods their node.

        Raises:
            StartFailedError: it did not start. The rest goes on.
        """
        self._servers.start(_SCHEDULER, self._scheduler_on)

    def stop(self) -> None:
        """End all of it (controllers, API server, etcd, in this order) and remove etcd's data."""
        self._servers.stop_all()
        for data in self.folder.glob("etcd-*.data"):
            shutil.rmtree(data)

    def stop_apiserver(self) -> None:
        """End the API server alone, by SIGTERM. Its port is then closed; etcd goes on."""
        self._servers.stop(_APISERVER)

    def kill_apiserver(self) -> None:
        """End the API server by SIGKILL: connections break, nothing is said; `start_apiserver` brings it back."""
        self._servers.kill(_APISERVER)

    def start_apiserver(self) -> None:
        """Start the API server again, at the same port over the same data, and wait until it is ready.

        Raises:
            StartFailedError: it did not start, or somebody else has the port now.
        """
        self._servers.restart(_APISERVER)

    def freeze(self) -> None:
        """Halt the API server by SIGSTOP: connections stay open, and nobody gets an answer."""
        self._servers.freeze(_APISERVER)

    def thaw(self) -> None:
        """Let a frozen API server go on; `wait_until_ready` tells when it answers again."""
        self._servers.thaw(_APISERVER)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the API server for the length of a block, and leave when it answers again."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()
            self.wait_until_ready()

    def is_ready(self, *, timeout_s: float = 2) -> bool:
        """Ask the API server's /readyz. `timeout_s` is for each step of the exchange."""
        try:
            return self.request("GET", "/readyz", timeout_s=timeout_s).status == _OK
        except UNREACHABLE:
            return False

    def wait_until_ready(self, *, within_s: float = READY_LIMIT_S) -> None:
        """Poll /readyz.

        Raises:
            DeadlinePassedError: it was not ready within `within_s` seconds.
        """
        wait_until(self.is_ready, within_s=within_s, what="readiness of the API server")

    def failures(self) -> list[str]:
        """Say which processes ended although nobody stopped them, each with the end of its log."""
        return self._servers.failures()

    def compact_etcd(self) -> int:
        """Make etcd forget all history up to now, and return the current revision (the resourceVersion).

        The API server remembers recent history by itself: for an answer of 410 Gone, restart it as well.
        """
        return etcd.compact(self._servers.port(_ETCD))

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Run kubectl as the administrator and return its stdout; `stdin` is what `-f -` reads.

        Raises:
            KubectlFailedError: it ended with an error, or not within `timeout_s` seconds.
        """
        try:
            return run_kubectl(
                self._kubectl_program, arguments, kubeconfig=self.kubeconfig, stdin=stdin, timeout_s=timeout_s
            )
        except KubectlFailedError as error:
            if failures := self.failures():
                raise KubectlFailedError("\n".join([str(error), *failures])) from error
            raise

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30,
    ) -> Answer:
        """Send one request to the API as the administrator; `body` is any JSON value.

        `headers` may say another content type, or whom to impersonate.

        Raises:
            OSError, HTTPException: no answer (`loopback.UNREACHABLE`). An error status is an `Answer`.
        """
        port = self._servers.port(_APISERVER)
        return request(
            port,
            method,
            path,
            address=self._address,
            tls=self._tls,
            body=body,
            headers=headers,
            timeout_s=timeout_s,
        )

    def token(self, namespace: str, serviceaccount: str, audience: str, pod: str | None = None) -> str:
        """Request a ServiceAccount token (valid for an hour), bound to a pod unless None.

        Raises:
            KubectlFailedError: the ServiceAccount or the pod does not exist.
        """
        binding = () if pod is None else ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
        arguments = (f"--namespace={namespace}", f"--audience={audience}", *binding)
        return self.kubectl("create", "token", serviceaccount, *arguments).strip()

    def kubeconfig_for(self, user: str, groups: Iterable[str] = ()) -> Path:
        """Write a kubeconfig for another user, who has what RBAC gives to the name and the groups."""
        path = self.folder / f"user-{uuid4().hex[:8]}.kubeconfig"
        write_private(path, self._kubeconfig_content(user, self._authority.client(user, groups)))
        return path

    def _etcd_on(self, port: int) -> Recipe:
        name = f"etcd-{uuid4().hex[:8]}"
        arguments = etcd_arguments(name=name, port=port, data=self.folder / f"{name}.data")
        return Recipe(arguments, lambda: etcd.is_etcd_ready(port, name))

    def _apiserver_on(self, port: int) -> Recipe:
        etcd_port = self._servers.port(_ETCD)
        arguments = apiserver_arguments(
            address=self._address, port=port, etcd_port=etcd_port, files=self._files, folder=self.folder
        )
        return Recipe([*arguments, *self._apiserver_extra], self.is_ready)

    def _controllers_on(self, port: int) -> Recipe:
        kubeconfig = self.kubeconfig_for("system:kube-controller-manager")
        arguments = controller_manager_arguments(
            port=port, kubeconfig=kubeconfig, files=self._files, folder=self.folder
        )
        return Recipe(arguments, partial(self._is_healthy, port))

    def _scheduler_on(self, port: int) -> Recipe:
        kubeconfig = self.kubeconfig_for("system:kube-scheduler")
        arguments = scheduler_arguments(
            port=port, kubeconfig=kubeconfig, files=self._files, folder=self.folder
        )
        return Recipe(arguments, partial(self._is_healthy, port))

    def _is_healthy(self, port: int) -> bool:
        try:
            return request(port, "GET", "/healthz", tls=self._tls, timeout_s=2).status == _OK
        except UNREACHABLE:
            return False

    def _exists(self, path: str) -> bool:
        return self.request("GET", path).status == _OK

    def _kubeconfig_content(self, user: str, credentials: KeyPair) -> bytes:
        return render_kubeconfig(
            server=self.server, authority_pem=self.authority_pem, user=user, credentials=credentials
        )


def _client_context(authority: CertificateAuthority, credentials: KeyPair, path: Path) -> ssl.SSLContext:
    write_private(path, credentials.certificate_pem + credentials.key_pem)  # ssl loads keys from files alone
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode("ascii"))
    context.load_cert_chain(path)
    return context
