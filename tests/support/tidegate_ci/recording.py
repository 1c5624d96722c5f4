"""A plugin of pytest: `--outcomes=FILE` writes what CI wants to know at the end of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tidegate_ci.outcomes import CLUSTER_TIER, Failure, Outcomes, write

_LONGEST_REASON: Final = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", metavar="FILE", type=Path, help="write which tests failed, for CI")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{CLUSTER_TIER}: uses a cluster; CI gives it a second chance")
    path = config.getoption("outcomes")
    # Workers of xdist send their reports to the process that has started them.
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(config.rootpath / path))


class _Recorder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._run: dict[str, bool] = {}
        self._failures: dict[str, Failure] = {}
        self._not_collected: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._not_collected.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        uses_cluster = CLUSTER_TIER in report.keywords
        if report.failed or (report.when == "call" and not report.skipped):
            self._run[report.nodeid] = uses_cluster
        if report.failed:
            why = f"{report.when}: {_reason(report)}"
            failure = Failure(test=report.nodeid, uses_cluster=uses_cluster, why=why)
            self._failures.setdefault(report.nodeid, failure)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        outcomes = Outcomes(
            exit_status=int(exitstatus),
            run=len(self._run),
            run_with_cluster=sum(self._run.values()),
            failures=tuple(self._failures.values()),
            not_collected=tuple(self._not_collected),
        )
        write(outcomes, self._path)


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(report.longrepr) if crash is None else str(crash.message)
    return text.strip().partition("\n")[0][:_LONGEST_REASON]
