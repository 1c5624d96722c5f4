"""Runs the steps, then once more what failed in the cluster tiers, and says what came of it and how long it took."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tidegate_ci.judging import Verdict, judge
from tidegate_ci.outcomes import Failure, Outcomes, read
from tidegate_ci.steps import LONGEST, Step

FOLDER: Final = Path("build/ci")
"""Where pytest leaves its outcomes, below the root."""

_WIDTH: Final = 12


class Taken(NamedTuple):
    """How long something took; without a share where there is none."""

    name: str
    seconds: float
    share_min: float | None = None

    @property
    def is_too_long(self) -> bool:
        """Whether it took so much more than its share that the run fails."""
        return self.share_min is not None and self.seconds > self.share_min * 60 * LONGEST


class Runner:
    """Runs CI once, in the folder `root`; `clock` gives seconds."""

    def __init__(
        self, steps: Sequence[Step], root: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is run yet."""
        self._steps = steps
        self._root = root
        self._clock = clock
        self._taken: list[Taken] = []

    def run(self) -> int:
        """The exit code: 0 where everything passed, some of it at the second time, within its time."""
        problems = self._all_steps()
        self._say("step".ljust(_WIDTH), "minutes", "share")
        for taken in self._taken:
            share = "" if taken.share_min is None else f"{taken.share_min:g}"
            self._say(taken.name.ljust(_WIDTH), f"{taken.seconds / 60:7.1f}", f"{share:>5}")
        problems += [
            f"{it.name} took {it.seconds / 60:.1f} minutes, more than {LONGEST} times its share of {it.share_min:g}"
            for it in self._taken
            if it.is_too_long
        ]
        for problem in problems:
            self._say("failed:", problem)
        return 1 if problems else 0

    def _all_steps(self) -> list[str]:
        """Why the run fails; a step that is broken is the last one."""
        again: list[tuple[Step, Failure]] = []
        for step in self._steps:
            verdict = self._step(step)
            if verdict.broken:
                left = [f"{failure.test} failed, and was not run once more" for _, failure in again]
                return [f"make {step.target}: {verdict.broken}", *left]
            again += [(step, failure) for failure in verdict.again]
        return self._again(again) if again else []

    def _step(self, step: Step) -> Verdict:
        self._say(f"make {step.target}, within {step.share_min:g} minutes")
        outcomes = FOLDER / f"{step.target}.json"
        (self._root / outcomes).unlink(missing_ok=True)  # an earlier run's
        arguments = [f"ARGS=--outcomes={outcomes}"] if step.alone else []
        began = self._clock()
        exit_code = self._execute("make", step.target, *step.variables, *arguments)
        taken = Taken(step.target, self._clock() - began, step.share_min)
        self._taken.append(taken)
        part = taken.seconds / (step.share_min * 60)
        self._say(f"make {step.target} took {taken.seconds:.0f} s, {part:.0%} of its share")
        if step.alone:
            return judge(exit_code, read(self._root / outcomes))
        return Verdict(f"it failed with {exit_code}" if exit_code else "")

    def _again(self, failures: list[tuple[Step, Failure]]) -> list[str]:
        """Run each test once more, alone; which of them failed twice."""
        began = self._clock()
        lines: list[str] = []
        twice: list[str] = []
        for step, failure in failures:
            self._say(f"{failure.test} failed and is run once more, alone")
            outcomes = FOLDER / "again.json"
            (self._root / outcomes).unlink(missing_ok=True)
            exit_code = self._execute(*step.alone, f"--outcomes={outcomes}", failure.test)
            problem = _second(exit_code, read(self._root / outcomes))
            lines += [
                f"{failure.test} (make {step.target})",
                f"  first: failed in {failure.why}",
                f"  again, alone: {problem or 'passed'}",
            ]
            if problem:
                twice.append(f"{failure.test} failed twice")
        self._taken.append(Taken("once more", self._clock() - began))
        self._say("flaky")
        for line in lines:
            self._say(line)
        return twice

    def _execute(self, *command: str) -> int:
        return subprocess.run(command, cwd=self._root, check=False, stdin=subprocess.DEVNULL).returncode

    def _say(self, *words: str) -> None:
        print(":::", *words, flush=True)  # noqa: T201 - CI's log


def _second(exit_code: int, outcomes: Outcomes | None) -> str:
    """What came of the second time; empty where the test was run and passed."""
    verdict = judge(exit_code, outcomes)
    return verdict.broken or "".join(f"failed in {failure.why}" for failure in verdict.again)
