"""The steps of CI, with their shares of its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST: Final = 1.25
"""A step that takes longer than this part of its share fails the run, so that the whole stays within CI's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A target of make.

    Attributes:
        target: its name.
        share_min: minutes that it may take on two processors.
        variables: further arguments of make.
        alone: the command that runs one of its tests, which follows; empty where the target runs none.
    """

    target: str
    share_min: float
    variables: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


STEPS: Final = (
    Step(target="kubernetes", share_min=12, variables=("PROGRAMS=--all",)),
    Step(target="check", share_min=3),
    Step(target="test", share_min=10, alone=(".venv/bin/pytest", "--numprocesses=0")),
    Step(target="test-e2e", share_min=18, alone=(".venv/bin/pytest",)),
    Step(
        target="prove",
        share_min=20,
        alone=("env", "TIDEGATE_FULL_LENGTH=1", ".venv/bin/pytest", "--numprocesses=0"),
    ),
)
"""In the order in which they run."""
