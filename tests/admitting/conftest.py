import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tidegate_cluster.fixtures")
    config.pluginmanager.import_plugin("tidegate_samples.fixtures")
