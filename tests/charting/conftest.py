"""Helm, and a real API server of its own: a cluster has one Tidegate, and other tests have theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from charting_site.helm import Helm
    from charting_site.release import Release
    from tidegate_cluster.controlplane import ControlPlane
    from tidegate_cluster.settings import Settings

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "injecting_for_real")]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tidegate_cluster.fixtures")


@pytest.fixture(scope="session")
def helm(cluster_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster: it renders and lints."""
    from charting_site.helm import Helm  # noqa: PLC0415 - pytest has to import plugins first
    from tidegate_cluster.builder import provide  # noqa: PLC0415 - the same

    return Helm(provide(["helm"], cluster_settings, print)["helm"], tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def cluster_for_charts(
    cluster_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """With controllers, and with the kinds of cert-manager and of Prometheus' operator; nothing of Tidegate is in it.

    Each module has its own: what one has installed would be in the way of another's.
    """
    from tidegate_cluster.builder import provide  # noqa: PLC0415 - pytest has to import plugins first
    from tidegate_cluster.controlplane import ControlPlane  # noqa: PLC0415 - the same
    from tidegate_cluster.definitions import provide_definitions  # noqa: PLC0415 - the same
    from tidegate_cluster.ledger import Ledger, Purpose  # noqa: PLC0415 - the same
    from tidegate_cluster.programs import CONTROL_PLANE_PROGRAMS  # noqa: PLC0415 - the same
    from tidegate_cluster.waiting import wait_until  # noqa: PLC0415 - the same

    definitions = provide_definitions(cluster_settings, print)
    programs = provide(CONTROL_PLANE_PROGRAMS, cluster_settings, print)
    folder = tmp_path_factory.mktemp("control-plane-for-charts")
    ledger = Ledger(cluster_settings.cache, Purpose.TESTS)
    with ControlPlane(programs=programs, folder=folder, ledger=ledger) as started:
        started.start_controllers()
        started.kubectl("apply", "--server-side", f"--filename={definitions}")
        wait_until(
            lambda: all(_serves(started, group) for group in ("cert-manager.io", "monitoring.coreos.com")),
            within_s=120,
            what="the kinds of cert-manager and of Prometheus' operator to be served",
        )
        yield started


def _serves(control_plane: ControlPlane, group: str) -> bool:
    answer = control_plane.request("GET", f"/apis/{group}/v1")
    return answer.status == 200 and bool(answer.json()["resources"])


@pytest.fixture(scope="module")
def release(
    helm: Helm, cluster_for_charts: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """The chart, installed, with an operator and an injector that run as it tells them to."""
    from charting_site.release import Release  # noqa: PLC0415 - pytest has to import plugins first

    release = Release(helm.at(cluster_for_charts), cluster_for_charts, tmp_path_factory.mktemp("release"))
    try:
        release.install()
        yield release
    finally:
        release.stop()
