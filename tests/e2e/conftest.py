"""A cluster with pods, Tidegate installed in it by its chart, and an application that calls all the time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e_site.following import Following
    from e2e_site.release import Release
    from e2e_site.table import Table
    from tidegate_cluster.settings import Settings
    from tidegate_node.access import Cluster

sys.path.insert(0, str(Path(__file__).parent))

ORDER = (
    "test_quickstart.py",
    "test_measuring.py",
    "test_faults.py",
    "test_node_faults.py",
    "test_healing.py",
)
LAST = ("test_upgrading.py", "test_removing.py")

_TABLE = pytest.StashKey["Table"]()


def pytest_configure(config: pytest.Config) -> None:
    from e2e_site.table import Table  # noqa: PLC0415 - the folder is on the path by now

    config.pluginmanager.import_plugin("tidegate_node.fixtures")
    config.stash[_TABLE] = Table()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of a platform's life: what is upgraded and taken away is used before."""
    names = (*ORDER, *LAST)
    items.sort(key=lambda it: names.index(it.path.name) if it.path.name in names else len(ORDER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash[_TABLE]
    if table.rows:
        terminalreporter.section("measured")
        terminalreporter.write_line(str(table))


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    """Rows for the end of the run."""
    return request.config.stash[_TABLE]


@pytest.fixture(scope="session")
def release(
    cluster: Cluster, node_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """The chart with its own defaults: two replicas of operator and injector, in a restricted namespace."""
    from e2e_site import stepping  # noqa: PLC0415 - pytest has to import plugins first
    from e2e_site.release import SYSTEM, Release  # noqa: PLC0415 - pytest has to import plugins first
    from tidegate_cluster.builder import provide  # noqa: PLC0415 - the same

    helm = provide(["helm"], node_settings, print)["helm"]
    release = Release(helm, tmp_path_factory.mktemp("helm"), cluster)
    release.install(f"--set=sidecar.images={{{stepping.REFERENCE}}}", "--set=preDeleteHook.enabled=true")
    yield release
    if release("list", "--short").strip():
        release.uninstall()
    cluster.kubectl("delete", "crds", "--selector=app.kubernetes.io/part-of=tidegate", "--wait=false")
    cluster.kubectl("delete", "namespace", SYSTEM, "--wait=false")


@pytest.fixture(scope="session")
def installed(release: Release) -> Cluster:
    """The cluster, for tests that only use what is installed."""
    return release.cluster


@pytest.fixture(scope="session")
def callers(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Following]:
    """The Deployment `caller` in the namespace `site`: unmodified programs that call all the time, each through its sidecar."""
    from e2e_site import applications  # noqa: PLC0415 - pytest has to import plugins first
    from e2e_site.following import Following  # noqa: PLC0415 - the same
    from e2e_site.site import CALLERS, CALLS_PER_SECOND, SITE  # noqa: PLC0415 - the same

    cluster = installed
    cluster.kubectl("create", "namespace", SITE)
    cluster.kubectl("label", "namespace", SITE, "pod-security.kubernetes.io/enforce=restricted")
    cluster.apply(*applications.provider(SITE), applications.keys(SITE, "key-one"), *applications.rules(SITE))
    cluster.wait_for_rollout(SITE, "deployment/provider")
    cluster.apply(applications.caller("caller", SITE, per_second=CALLS_PER_SECOND, replicas=CALLERS))
    cluster.wait_for_rollout(SITE, "deployment/caller")
    with Following.of(cluster, SITE, "caller", tmp_path_factory.mktemp("site") / "caller") as following:
        following.wait_for_calls(10 * CALLERS)
        yield following
    cluster.kubectl("delete", "namespace", SITE, "--wait=false")
