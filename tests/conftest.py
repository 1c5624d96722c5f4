"""How the tests are shared out among the workers of pytest-xdist: `make test`, or `pytest --numprocesses=4 --dist=loadfile`.

A file is never divided, so that the fixtures of its module are made once. Files that use a control plane are one unit of
work for each row below, because each worker that meets such a file starts a control plane of its own (ten seconds of
CPU), and because what is in a cluster is shared by the tests of a worker. They mostly wait, and they take longest: they
are begun first, and the rest, which mostly computes, fills the processors beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings
from tidegate_ci.outcomes import CLUSTER_TIER

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler.protocol import Scheduling

FIRST: Final = (
    (
        "tests/operating/test_bad_input.py",
        "tests/operating/test_faults.py",
        "tests/operating/test_replicas.py",
    ),
    ("tests/operating/test_",),
    ("tests/injecting_for_real/", "tests/rights/", "tests/cluster/test_control_plane.py"),
    ("tests/charting/",),
    ("tests/admitting/",),
)
"""Units of work by the beginnings of their tests' names, in the order in which they begin. The first that fits counts."""


SETTINGS_OF_CLUSTERS: Final = frozenset({"cluster_settings", "node_settings"})
"""Fixtures that say where a cluster's programs are. A test that asks for one, by whatever other fixtures, belongs to the
cluster tiers: those that `.ci/run` runs once more when they fail."""

pytest_plugins = ("tidegate_ci.recording",)

# How long an example takes says how busy the machine is, and nothing about the code. The examples are the same in each run,
# so that a change is judged by what it changes; `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile(
    "tidegate", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("search", settings.get_profile("tidegate"), derandomize=False, print_blob=True)
settings.load_profile("tidegate")


MEASURED: Final = "measured"
"""The name under which a test records a line for the end of the run: `record_property(MEASURED, line)`."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests have measured: what a worker of pytest-xdist prints is seen by nobody."""
    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    lines = [line for report in reports for name, line in report.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


def unit(name: str) -> int:
    """Which of `FIRST` a test belongs to; behind them all, none."""
    fits = (number for number, beginnings in enumerate(FIRST) if name.startswith(beginnings))
    return next(fits, len(FIRST))


def pytest_itemcollected(item: pytest.Item) -> None:
    if not SETTINGS_OF_CLUSTERS.isdisjoint(getattr(item, "fixturenames", ())):
        item.add_marker(CLUSTER_TIER)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: unit(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Only where whole files are asked for: `make prove` divides one folder as finely as it can."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - without xdist nobody asks

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            number = unit(nodeid)
            return super()._split_scope(nodeid) if number == len(FIRST) else str(number)

    config.option.loadscopereorder = False  # as they stand, and not by the number of tests
    return Units(config, log)
