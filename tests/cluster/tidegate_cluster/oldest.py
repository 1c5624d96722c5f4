"""The oldest Kubernetes that the chart promises, as far as it serves definitions and objects of them.

It is apiextensions-apiserver of that release, which kube-apiserver has inside itself for this, run alone: there are no
namespaces, no pods and no rights, and whoever has the administrator's certificate may do everything.
"""

import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from tidegate_cluster import etcd
from tidegate_cluster.arguments import definitions_server_arguments, etcd_arguments
from tidegate_cluster.certificates import CertificateAuthority, write_certificate_files, write_private
from tidegate_cluster.kubeconfig import render_kubeconfig
from tidegate_cluster.ledger import Ledger
from tidegate_cluster.loopback import ADDRESS, UNREACHABLE, request
from tidegate_cluster.programs import OLDEST, OLDEST_SERVER
from tidegate_cluster.servers import Recipe, Servers

_OK = 200
_READY = "/readyz?exclude=informer-sync"
"""It looks for the Services of webhooks for ever, since it is the whole cluster and has none."""


class OldestServer:
    """Etcd and the server; a context manager, for one thread."""

    def __init__(self, *, programs: Mapping[str, Path], folder: Path, ledger: Ledger | None = None) -> None:
        """Prepare certificates; nothing runs yet. `programs` has etcd and the server by name."""
        self.folder = folder.resolve()
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self._authority = CertificateAuthority()
        self._files = write_certificate_files(self._authority, self.folder / "pki", addresses=[ADDRESS])
        self._admin = self._authority.client("kubernetes-admin", ["system:masters"])
        self._tls = ssl.create_default_context(cadata=self._authority.certificate_pem.decode("ascii"))
        self._servers = Servers(programs=programs, folder=self.folder, ledger=ledger)

    def __enter__(self) -> Self:
        """Start both and wait until the server is ready."""
        try:
            self._servers.start("etcd", self._etcd_on)
            self._servers.start(OLDEST_SERVER, self._server_on)
        except BaseException:
            self._servers.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop both."""
        self._servers.stop_all()

    @property
    def version(self) -> str:
        """The release of Kubernetes that it belongs to, such as `v1.29.15`: its own is the same with v0."""
        return OLDEST.version.replace("v0.", "v1.", 1)

    def _etcd_on(self, port: int) -> Recipe:
        name = f"etcd-{uuid4().hex[:8]}"
        arguments = etcd_arguments(name=name, port=port, data=self.folder / f"{name}.data")
        return Recipe(arguments, partial(etcd.is_etcd_ready, port, name))

    def _server_on(self, port: int) -> Recipe:
        content = render_kubeconfig(
            server=f"https://{ADDRESS}:{port}",
            authority_pem=self._authority.certificate_pem,
            user="kubernetes-admin",
            credentials=self._admin,
        )
        write_private(self.kubeconfig, content)
        arguments = definitions_server_arguments(
            port=port,
            etcd_port=self._servers.port("etcd"),
            kubeconfig=self.kubeconfig,
            files=self._files,
            folder=self.folder,
        )
        return Recipe(arguments, partial(self._is_ready, port))

    def _is_ready(self, port: int) -> bool:
        try:
            return request(port, "GET", _READY, tls=self._tls, timeout_s=2).status == _OK
        except UNREACHABLE:
            return False
