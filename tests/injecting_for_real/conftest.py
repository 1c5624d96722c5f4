"""A real API server with controllers, and `tidegate-injector` as a process that it calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from injecting_site.injector import InjectorProcess
    from injecting_site.objects import Namespace
    from tidegate_cluster.controlplane import ControlPlane

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tidegate_cluster.fixtures")


@pytest.fixture(scope="session")
def injector_of_the_session(
    control_plane_with_controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InjectorProcess]:
    from injecting_site.injector import (  # noqa: PLC0415 - pytest has to import plugins first
        InjectorProcess,
        install,
        next_bundle,
        uninstall,
    )

    bundle = next_bundle(next_bundle(None, days_ago=500), days_ago=200)
    process = InjectorProcess(tmp_path_factory.mktemp("injector"), bundle)
    process.start()
    try:
        install(control_plane_with_controllers, process)
        yield process
    finally:
        uninstall(control_plane_with_controllers)
        process.stop()
        assert "Traceback" not in process.log, process.log


@pytest.fixture
def injector(injector_of_the_session: InjectorProcess) -> Iterator[InjectorProcess]:
    """The session's injector, which a test may stop: afterwards it runs."""
    yield injector_of_the_session
    if not injector_of_the_session.runs:
        injector_of_the_session.start()


@pytest.fixture
def team(control_plane_with_controllers: ControlPlane, injector: InjectorProcess) -> Iterator[Namespace]:
    """A namespace that enforces PodSecurity's level `restricted`, and says nothing of us."""
    from injecting_site.objects import Namespace  # noqa: PLC0415 - pytest has to import plugins first
    from tidegate_cluster.fixtures import temporary_namespace  # noqa: PLC0415 - the same

    with temporary_namespace(control_plane_with_controllers) as name:
        control_plane_with_controllers.kubectl(
            "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"
        )
        yield Namespace(control_plane_with_controllers, name)
        assert "Traceback" not in injector.log, injector.log
