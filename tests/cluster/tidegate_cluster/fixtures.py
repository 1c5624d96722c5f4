"""Pytest fixtures: a control plane for the session, a namespace for each test.

A conftest.py takes them with `config.pluginmanager.import_plugin("tidegate_cluster.fixtures")` in its
`pytest_configure`; however many do, there is one control plane. A control plane that cannot be built or started
fails the tests and never skips them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from tidegate_cluster.builder import provide
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.ledger import Ledger, Purpose
from tidegate_cluster.oldest import OldestServer
from tidegate_cluster.programs import API_SERVER_PROGRAMS, CONTROL_PLANE_PROGRAMS, OLDEST_SERVER
from tidegate_cluster.settings import Settings, settings_from_environment
from tidegate_cluster.waiting import wait_until

_OK = 200
_CREATED = 201
_CONFLICT = 409
_SERVICE_ACCOUNT_LIMIT_S = 120


@pytest.fixture(scope="session")
def cluster_settings() -> Settings:
    """Where programs are found and kept."""
    return settings_from_environment()


@pytest.fixture(scope="session")
def control_plane(
    cluster_settings: Settings, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ControlPlane]:
    """Etcd and an API server, shared by the session's tests: each leaves it running, thawed and as found."""
    programs = provide(API_SERVER_PROGRAMS, cluster_settings, _reporter(request.config))
    folder = tmp_path_factory.mktemp("control-plane")
    ledger = Ledger(cluster_settings.cache, Purpose.TESTS)
    with ControlPlane(programs=programs, folder=folder, ledger=ledger) as started:
        yield started


@pytest.fixture(scope="session")
def oldest_server(
    cluster_settings: Settings, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[OldestServer]:
    """What serves definitions in the oldest Kubernetes that the chart promises."""
    programs = provide(("etcd", OLDEST_SERVER), cluster_settings, _reporter(request.config))
    folder = tmp_path_factory.mktemp("oldest")
    ledger = Ledger(cluster_settings.cache, Purpose.TESTS)
    with OldestServer(programs=programs, folder=folder, ledger=ledger) as started:
        yield started


@pytest.fixture(scope="session")
def control_plane_with_controllers(
    cluster_settings: Settings, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ControlPlane]:
    """Another control plane, with kube-controller-manager: Deployments make pods, deleted namespaces go."""
    programs = provide(CONTROL_PLANE_PROGRAMS, cluster_settings, _reporter(request.config))
    folder = tmp_path_factory.mktemp("control-plane-with-controllers")
    ledger = Ledger(cluster_settings.cache, Purpose.TESTS)
    with ControlPlane(programs=programs, folder=folder, ledger=ledger) as started:
        started.start_controllers()
        yield started


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Name of a new namespace of `control_plane`, ready for pods; see `temporary_namespace`."""
    with temporary_namespace(control_plane) as name:
        yield name


@pytest.fixture
def namespace_with_controllers(control_plane_with_controllers: ControlPlane) -> Iterator[str]:
    """Name of a new namespace of `control_plane_with_controllers`; see `temporary_namespace`."""
    with temporary_namespace(control_plane_with_controllers) as name:
        yield name


@contextmanager
def temporary_namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Make a namespace with a random name and a `default` ServiceAccount, so that pods are admitted; delete it.

    The deletion is asked for and not awaited. Without controllers it never ends: the namespace refuses new
    objects, but what is in it stays, and a watch of all namespaces goes on seeing it.
    """
    name = f"test-{uuid4().hex[:10]}"
    path = f"/api/v1/namespaces/{name}"
    _create(control_plane, "/api/v1/namespaces", name)
    try:
        if control_plane.has_controllers:
            _wait_for_service_account(control_plane, name)
        else:
            _create(control_plane, f"{path}/serviceaccounts", "default")
        yield name
    finally:
        answer = control_plane.request("DELETE", path)
        assert answer.status in {_OK, _CONFLICT}, answer.text  # a conflict: it is being deleted already


def _create(control_plane: ControlPlane, collection: str, name: str) -> None:
    answer = control_plane.request("POST", collection, body={"metadata": {"name": name}})
    assert answer.status == _CREATED, answer.text


def _wait_for_service_account(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    wait_until(
        lambda: control_plane.request("GET", path).status == _OK,
        within_s=_SERVICE_ACCOUNT_LIMIT_S,
        what=f"creation of the default ServiceAccount in {namespace}",
    )


def _reporter(config: pytest.Config) -> Callable[[str], None]:
    """Show a build's progress past pytest's capturing; nowhere in a worker of pytest-xdist, which has no terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def report(line: str) -> None:
        if terminal is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                terminal.write_line(line)

    return report
