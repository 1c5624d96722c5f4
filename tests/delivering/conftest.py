"""A cluster with one pod, and what that pod has on its disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from tidegate_testing.following import Pod
from tidegate_testing.publisher import Cluster, a_pod


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(a_pod())


@pytest.fixture
def pod(tmp_path: Path, cluster: Cluster) -> Pod:
    pod = Pod(tmp_path)
    pod.token_file.write_text(cluster.token(a_pod()))
    return pod
