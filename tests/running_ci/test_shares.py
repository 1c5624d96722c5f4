"""Each step has a share of CI's time: it is told, and a step that takes much more fails the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidegate_ci.running import Runner
from tidegate_ci.steps import Step

MAKEFILE = "good:\n\t@true\nbad:\n\t@exit 7\n"


def clock(*minutes: float) -> Callable[[], float]:
    """A clock by which each step takes so many minutes."""

    def readings() -> Iterator[float]:
        now = 0.0
        for taken in minutes:
            yield now
            now += taken * 60
            yield now

    return readings().__next__


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def good(share_min: float) -> Step:
    return Step(target="good", share_min=share_min)


def said(capfd: pytest.CaptureFixture[str]) -> list[str]:
    lines = capfd.readouterr().out.splitlines()
    return [line.removeprefix("::: ") for line in lines if line.startswith("::: ")]


def test_each_step_is_shown_against_its_share(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert Runner((good(12), good(3)), root, clock(6, 3.75)).run() == 0
    assert said(capfd) == [
        "make good, within 12 minutes",
        "make good took 360 s, 50% of its share",
        "make good, within 3 minutes",
        "make good took 225 s, 125% of its share",
        "step         minutes share",
        "good             6.0    12",
        "good             3.8     3",
    ]


def test_a_step_that_takes_much_more_than_its_share_fails_the_run_at_the_end(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert Runner((good(12), good(3)), root, clock(15.1, 1)).run() == 1
    assert said(capfd)[-4:] == [
        "step         minutes share",
        "good            15.1    12",
        "good             1.0     3",
        "failed: good took 15.1 minutes, more than 1.25 times its share of 12",
    ]


def test_a_step_that_fails_is_the_last_one(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert Runner((good(12), Step(target="bad", share_min=3), good(1)), root, clock(1, 1, 1)).run() == 1
    assert said(capfd)[-4:] == [
        "step         minutes share",
        "good             1.0    12",
        "bad              1.0     3",
        "failed: make bad: it failed with 2",
    ]
