"""What is wrong in files, as a person wants to read it and a program can sort it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate_operator.compile.diagnostics import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where.

    Attributes:
        file: as the person named it, or below the folder that the person named.
        line: counted from 1; 0 where it is about the file as a whole.
        column: counted from 1; 0 where the whole line is meant.
        object: `kind/name`, empty where it is about no object.
        path: the field, e.g. ``spec.rateLimits[0].per``; empty where it is about no field.
        message: what is wrong and what would be right.
        severity: an error keeps the files from being used, a warning does not.
    """

    file: str
    line: int = 0
    column: int = 0
    object: str = ""
    path: str = ""
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        warning = "warning" if self.severity is Severity.WARNING else ""
        return ": ".join(part for part in (place, warning, self.object, self.path, self.message) if part)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, in the order in which a person goes through the files."""
    return tuple(
        sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line, problem.column))
    )


def errors_in(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those that keep the files from being used."""
    return tuple(problem for problem in problems if problem.severity is Severity.ERROR)
