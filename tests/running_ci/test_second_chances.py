"""A test of the cluster tiers that fails is run once more, alone, at the end; nothing else is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tidegate_ci.running import Runner
from tidegate_ci.steps import Step

SUPPORT = Path(__file__).parents[1] / "support"

INI = f"""\
[pytest]
pythonpath = {SUPPORT}
addopts = -p no:cacheprovider --strict-markers
"""
CONFTEST = "pytest_plugins = ('tidegate_ci.recording',)\n"
MAKEFILE = """\
export PYTEST_DISABLE_PLUGIN_AUTOLOAD := 1
first:
\t@echo first >>steps; {python} -m pytest -q $(ARGS) test_first.py
last:
\t@echo last >>steps; {python} -m pytest -q $(ARGS) test_last.py
"""
ALONE = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "-q")
STEPS = (
    Step(target="first", share_min=5, alone=ALONE),
    Step(target="last", share_min=5, alone=ALONE),
)

GOOD = """\
import pytest

@pytest.mark.cluster_tier
def test_good():
    pass
"""
FAILS_ONCE = """\
import pathlib, pytest

def seen(name):
    path = pathlib.Path(name)
    had = path.exists()
    path.touch()
    return had

@pytest.mark.cluster_tier
def test_once():
    assert seen("once"), "the cluster was not ready"

def test_beside():
    assert not seen("beside")
"""
FAILS_TWICE = """\
import pytest

@pytest.mark.cluster_tier
@pytest.mark.parametrize("value", ["a b"])
def test_twice(value):
    assert value == "other"
"""
FAILS_ELSEWHERE = GOOD + "\ndef test_elsewhere():\n    assert False\n"
CANNOT_BE_COLLECTED = GOOD + "\nimport no_such_module\n"
FAILS_IN_A_FIXTURE = """\
import pathlib, pytest

@pytest.fixture
def cluster():
    path = pathlib.Path("once")
    had = path.exists()
    path.touch()
    if not had:
        raise RuntimeError("no cluster came")

@pytest.mark.cluster_tier
def test_it(cluster):
    pass
"""
NEEDS_NO_CLUSTER = "def test_pure():\n    pass\n"
IS_SKIPPED = """\
import pytest

@pytest.mark.cluster_tier
def test_it():
    pytest.skip("no cluster")
"""
FAILS_IN_MANY = """\
import pytest

@pytest.mark.cluster_tier
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    assert False
"""
ENDS_THE_PROCESS = """\
import os, pytest

@pytest.mark.cluster_tier
def test_it():
    os._exit(0)
"""


class Ended(NamedTuple):
    """A run of CI: its exit code, what it said, which steps it began."""

    exit_code: int
    said: list[str]
    steps: list[str]

    @property
    def flaky(self) -> list[str]:
        """The lines under "flaky"."""
        if "flaky" not in self.said:
            return []
        lines = self.said[self.said.index("flaky") + 1 :]
        return lines[: next(number for number, line in enumerate(lines) if line.startswith("step "))]

    @property
    def failed(self) -> list[str]:
        """Why it failed."""
        return [line.removeprefix("failed: ") for line in self.said if line.startswith("failed: ")]


Ci = Callable[[str], Ended]


@pytest.fixture
def ci(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Ci:
    """Runs CI over two steps, of which the last one passes."""

    def run(first: str) -> Ended:
        (tmp_path / "pytest.ini").write_text(INI)
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "Makefile").write_text(MAKEFILE.format(python=sys.executable))
        (tmp_path / "test_first.py").write_text(first)
        (tmp_path / "test_last.py").write_text(GOOD)
        (tmp_path / "steps").write_text("")
        exit_code = Runner(STEPS, root=tmp_path).run()
        lines = capfd.readouterr().out.splitlines()
        said = [line.removeprefix("::: ") for line in lines if line.startswith("::: ")]
        return Ended(exit_code, said, (tmp_path / "steps").read_text().split())

    return run


def test_without_a_failure_nothing_is_said_of_flaky_tests(ci: Ci) -> None:
    ended = ci(GOOD)
    assert (ended.exit_code, ended.flaky, ended.failed) == (0, [], [])
    assert not any("flaky" in line or "once more" in line for line in ended.said)
    assert ended.steps == ["first", "last"]


def test_a_test_that_passes_the_second_time_passes_and_both_outcomes_are_told(ci: Ci) -> None:
    ended = ci(FAILS_ONCE)
    assert (ended.exit_code, ended.failed) == (0, [])
    assert ended.flaky == [
        "test_first.py::test_once (make first)",
        "  first: failed in call: AssertionError: the cluster was not ready",
        "  again, alone: passed",
    ]
    assert ended.steps == ["first", "last"]


def test_a_second_failure_fails_the_run(ci: Ci) -> None:
    ended = ci(FAILS_TWICE)
    assert ended.exit_code == 1
    assert ended.failed == ["test_first.py::test_twice[a b] failed twice"]
    assert ended.flaky == [
        "test_first.py::test_twice[a b] (make first)",
        "  first: failed in call: AssertionError: assert 'a b' == 'other'",
        "  again, alone: failed in call: AssertionError: assert 'a b' == 'other'",
    ]
    assert ended.steps == ["first", "last"], "the other steps are run before"


def test_a_fixture_that_fails_is_given_a_second_chance_too(ci: Ci) -> None:
    ended = ci(FAILS_IN_A_FIXTURE)
    assert ended.exit_code == 0
    assert ended.flaky[1:] == [
        "  first: failed in setup: RuntimeError: no cluster came",
        "  again, alone: passed",
    ]


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (FAILS_ELSEWHERE, "tests outside of the cluster tiers failed: test_first.py::test_elsewhere"),
        (
            FAILS_ELSEWHERE + FAILS_TWICE,
            "tests outside of the cluster tiers failed: test_first.py::test_elsewhere",
        ),
        (CANNOT_BE_COLLECTED, "tests could not be collected: test_first.py"),
        (NEEDS_NO_CLUSTER, "no test of the cluster tiers was run"),
        (IS_SKIPPED, "no test of the cluster tiers was run"),
        (ENDS_THE_PROCESS, "the tests did not come to their end"),
        ("", "pytest ended with 5"),
        (
            FAILS_IN_MANY,
            "6 tests failed, more than 5: "
            + ", ".join(f"test_first.py::test_it[{number}]" for number in range(6)),
        ),
    ],
    ids=[
        "a failure outside of the tiers",
        "failures on both sides",
        "a file that cannot be collected",
        "no test of the tiers",
        "a test of the tiers that is skipped",
        "a process that ends at once",
        "no test at all",
        "too many failures for chance",
    ],
)
def test_anything_else_fails_the_run_at_once_and_is_not_run_again(ci: Ci, first: str, why: str) -> None:
    ended = ci(first)
    assert (ended.exit_code, ended.failed, ended.flaky) == (1, [f"make first: {why}"], [])
    assert ended.steps == ["first"]


def test_what_an_earlier_run_left_behind_does_not_count(ci: Ci, tmp_path: Path) -> None:
    assert ci(GOOD).exit_code == 0
    assert (tmp_path / "build/ci/first.json").exists()
    assert ci(ENDS_THE_PROCESS).failed == ["make first: the tests did not come to their end"]


def test_failures_are_told_where_a_later_step_ends_the_run(tmp_path: Path, ci: Ci) -> None:
    (tmp_path / "conftest.py").touch()
    ended = ci(
        FAILS_ONCE.replace("test_beside", "beside") + "\npathlib.Path('test_last.py').write_text('!')\n"
    )
    assert ended.failed == [
        "make last: tests could not be collected: test_last.py",
        "test_first.py::test_once failed, and was not run once more",
    ]


def test_failures_of_workers_are_told_apart_too(
    ci: Ci, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in `make test`: the tests run in other processes than the one that writes the file."""
    ci(FAILS_ONCE)
    (tmp_path / "once").unlink()
    (tmp_path / "beside").unlink()
    makefile = MAKEFILE.replace("pytest -q", "pytest -q -p xdist.plugin --numprocesses=2")
    (tmp_path / "Makefile").write_text(makefile.format(python=sys.executable))
    capfd.readouterr()
    assert Runner(STEPS, root=tmp_path).run() == 0
    said = capfd.readouterr().out
    assert "::: test_first.py::test_once (make first)" in said
    assert "::: " + "  again, alone: passed" in said
