"""A cluster with pods, and Tidegate installed in it as a platform engineer would: by its chart."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tidegate_cluster.settings import Settings
    from tidegate_node.access import Cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "tidegate"
SYSTEM = "tidegate-system"
_HELM_LIMIT_S = 240


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tidegate_node.fixtures")


@pytest.fixture(scope="session")
def installed(
    cluster: Cluster, node_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The cluster with the chart's own defaults: two replicas of operator and injector, in a restricted namespace."""
    from tidegate_cluster.builder import provide  # noqa: PLC0415 - pytest has to import plugins first

    program = provide(["helm"], node_settings, print)["helm"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path_factory.mktemp("helm")),
        "KUBECONFIG": str(cluster.kubeconfig),
    }

    def helm(*arguments: str) -> None:
        done = subprocess.run(
            [program, *arguments, f"--namespace={SYSTEM}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_HELM_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}\n{cluster.events(SYSTEM)}")

    cluster.kubectl("create", "namespace", SYSTEM)
    cluster.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    helm("install", "tidegate", str(CHART), "--wait", "--timeout=180s")
    yield cluster
    helm("uninstall", "tidegate", "--wait", "--timeout=60s")
    cluster.kubectl("delete", "namespace", SYSTEM, "--wait=false")
