"""Pytest fixtures: a cluster with pods for the session, and the node itself for tests that disturb it.

With KUBECONFIG set, `cluster` is that cluster, which must have the images; otherwise it is a node of our own with
build/images loaded. Tests that ask for `node` are about a node that can be disturbed: with KUBECONFIG they are not
part of the run. Nothing is skipped: what cannot start fails.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tidegate_cluster.builder import provide
from tidegate_cluster.errors import ClusterError
from tidegate_cluster.ledger import Purpose
from tidegate_cluster.settings import Settings, settings_from_environment
from tidegate_cluster.waiting import wait_until

from tidegate_node.access import Cluster
from tidegate_node.node import Node
from tidegate_node.packages import check_machine
from tidegate_node.person import FOLDER_PREFIX, provide_programs, sweep_orphans

ARCHIVES = Path(__file__).resolve().parents[3] / "build" / "images"
_SERVICE_ACCOUNT_LIMIT_S = 30


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a node of our own where the person has named another cluster."""
    if _kubeconfig(settings_from_environment()) is None:
        return
    left_out = [item for item in items if "node" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def node_settings() -> Settings:
    """Where programs are found and kept."""
    return settings_from_environment()


@pytest.fixture(scope="session")
def node(node_settings: Settings, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node of our own, shared by the session's tests: each leaves it running and as found."""
    check_machine()
    archives = sorted(ARCHIVES.glob("*.tar"))
    if not archives:
        raise ClusterError(f"There are no images in {ARCHIVES}: run `make images` first.")
    report = _reporter(request.config)
    sweep_orphans(node_settings, report)
    programs = provide_programs(node_settings, report)
    # Not in pytest's own folder, which it removes later: nothing but the node may remove what has mounts in it.
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    report(f"logs of the node: {folder}")
    with Node(
        programs=programs, folder=folder, cache=node_settings.cache, purpose=Purpose.TESTS, report=report
    ) as started:
        for archive in archives:
            started.load(archive)
        yield started
    if not request.session.testsfailed:  # otherwise its logs are wanted
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(node_settings: Settings, request: pytest.FixtureRequest) -> Cluster:
    """KUBECONFIG's cluster, or that of `node`."""
    kubectl = provide(["kubectl"], node_settings, _reporter(request.config))["kubectl"]
    kubeconfig = _kubeconfig(node_settings)
    if kubeconfig is None:
        started: Node = request.getfixturevalue("node")
        kubeconfig = started.kubeconfig
    return Cluster(kubeconfig, kubectl)


@pytest.fixture
def pod_namespace(cluster: Cluster) -> Iterator[str]:
    """Name of a new namespace, deleted at the end without waiting."""
    name = f"test-{uuid4().hex[:10]}"
    cluster.kubectl("create", "namespace", name)
    try:
        wait_until(
            lambda: "default" in cluster.kubectl("get", "serviceaccounts", f"--namespace={name}"),
            within_s=_SERVICE_ACCOUNT_LIMIT_S,
            what=f"creation of the default ServiceAccount in {name}",
        )
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def _kubeconfig(settings: Settings) -> Path | None:
    named = settings.environment.get("KUBECONFIG")
    return Path(named).expanduser().resolve() if named else None


def _reporter(config: pytest.Config) -> Callable[[str], None]:
    """Show progress past pytest's capturing: the first start may take minutes."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def report(line: str) -> None:
        if terminal is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                terminal.write_line(line)

    return report
