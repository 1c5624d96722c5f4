"""Pytest fixtures: the session's control plane with our kinds, and a connection to it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.fixtures import temporary_namespace
from tidegate_cluster.waiting import wait_until

from tidegate_operator.api.kinds import API_VERSION, GROUP, KINDS, Kind, Scope
from tidegate_samples.places import changed, valid_documents
from tidegate_samples.server import Reply, Server, collection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_samples.sample import Document

CRDS: Final = Path(__file__).parents[3] / "crds"
DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_LIMIT_S: Final = 30


@pytest.fixture(scope="session")
def installation(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Reply]:
    """Our CRDs, applied by server-side apply and served; what the server answered, by kind."""
    with connection(control_plane, tmp_path_factory.mktemp("client")) as server:
        replies = {kind.name: apply_crd(server, kind) for kind in KINDS.values()}
        wait_until(lambda: _are_established(server), within_s=_LIMIT_S, what="Established=True of our kinds")
        wait_until(lambda: _are_published(server), within_s=_LIMIT_S, what="publication of our kinds")
    return replies


@pytest.fixture(scope="module")
def server(
    installation: Mapping[str, Reply], control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A connection to a server that has our kinds."""
    assert installation
    with connection(control_plane, tmp_path_factory.mktemp("client")) as server:
        yield server


@pytest.fixture(scope="module")
def stored(server: Server, control_plane: ControlPlane) -> Iterator[Mapping[str, Document]]:
    """One object of each kind as the server has it, by kind: the second of the valid documents, with its status."""
    with temporary_namespace(control_plane) as namespace:
        yield {kind.name: _store(server, kind, namespace) for kind in KINDS.values()}
        for kind in KINDS.values():  # the namespace alone would keep them, for want of controllers
            server.send("DELETE", f"{collection(kind, namespace)}/sample")


@contextmanager
def connection(control_plane: ControlPlane, folder: Path) -> Iterator[Server]:
    """A connection as administrator; the client's key goes into `folder`."""
    server = Server(control_plane.kubeconfig, folder)
    try:
        yield server
    finally:
        server.close()


def apply_crd(server: Server, kind: Kind[Any]) -> Reply:
    """Apply the file in crds/."""
    text = (CRDS / f"{GROUP}_{kind.plural}.yaml").read_text(encoding="utf-8")
    return server.apply(f"{DEFINITIONS}/{kind.crd_name}", text, "tidegate-tests")


def _are_established(server: Server) -> bool:
    definitions = [server.send("GET", f"{DEFINITIONS}/{kind.crd_name}").document for kind in KINDS.values()]
    return all(
        any(it["type"] == "Established" and it["status"] == "True" for it in conditions or ())
        for conditions in (definition.get("status", {}).get("conditions") for definition in definitions)
    )


def _are_published(server: Server) -> bool:
    """What answers requests, and what `kubectl explain` reads, come a moment after the condition."""
    if any(server.send("GET", collection(kind)).status != 200 for kind in KINDS.values()):
        return False
    published = server.send("GET", f"/openapi/v3/apis/{API_VERSION}").document
    described = {name.rpartition(".")[2] for name in published.get("components", {}).get("schemas", {})}
    return described >= KINDS.keys()


def _store(server: Server, kind: Kind[Any], namespace: str) -> Document:
    document = valid_documents(kind)[1]
    if kind.scope is Scope.NAMESPACED:
        document = changed(document, ("metadata", "namespace"), namespace)
    path = collection(kind, namespace)
    created = server.send("POST", path, document)
    assert created.complaints == []
    with_status = created.document | {"status": document["status"]}
    updated = server.send("PUT", f"{path}/sample/status", with_status)
    assert updated.complaints == []
    return updated.document
