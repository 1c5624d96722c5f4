"""`.ci/run`, the Makefile and the steps between them fit together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tidegate_ci.steps import LONGEST, STEPS, Step

ROOT = Path(__file__).parents[2]
CI_LIMIT_MIN = 90


def recipe(target: str) -> list[str]:
    """The lines that make runs for a target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n((?:(?:\t|ifn?def|endif).*\n)+)", makefile, re.MULTILINE)
    assert found is not None, target
    return [line.strip() for line in found[1].splitlines() if line.startswith("\t")]


def test_the_script_is_one_that_bash_can_read() -> None:
    subprocess.run(["/bin/bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_the_steps_and_their_shares() -> None:
    assert [(step.target, step.share_min) for step in STEPS] == [
        ("kubernetes", 12),
        ("check", 3),
        ("test", 10),
        ("test-e2e", 18),
        ("prove", 20),
    ]
    assert sum(step.share_min for step in STEPS) * LONGEST < CI_LIMIT_MIN


@pytest.mark.parametrize("target", [step.target for step in STEPS if step.alone])
def test_a_target_with_tests_ends_with_them(target: str) -> None:
    """Where they fail, make runs nothing after them; and a test that passes the second time must not hide that."""
    lines = recipe(target)
    assert ["pytest" in line and "$(ARGS)" in line for line in lines] == [False] * (len(lines) - 1) + [True]


@pytest.mark.parametrize("step", [step for step in STEPS if step.alone], ids=lambda step: step.target)
def test_a_test_is_run_alone_as_its_target_runs_it(step: Step) -> None:
    """The same program and the same environment, without workers."""
    *environment, program = [word for word in step.alone if word != "env" and not word.startswith("--")]
    with_tests = recipe(step.target)[-1].replace("$(BIN)", ".venv/bin")
    assert with_tests.startswith(" ".join([*environment, program]))


def test_what_uses_a_cluster_belongs_to_its_tiers_and_nothing_else_does() -> None:
    """Also where a fixture of a fixture asks for it."""
    files = [
        "tests/e2e/test_measuring.py",
        "tests/operating/test_by_hand.py",
        "tests/operating/test_index.py",
    ]
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-m", "cluster_tier", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.partition(":")[0] for line in listing.stdout.splitlines() if line} == set(files[:2])
