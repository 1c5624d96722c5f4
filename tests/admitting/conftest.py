import sys
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    sys.path.insert(0, str(Path(__file__).parent))  # the samples are a package beside these tests
    config.pluginmanager.import_plugin("tidegate_cluster.fixtures")
    config.pluginmanager.import_plugin("tidegate_samples.fixtures")
