"""How commands that need files without errors begin: print what is wrong and leave, or go on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tidegate_cli.commands.options import ERRORS, USAGE
from tidegate_cli.compiling import ChoiceError, Compiled, choose, compile_files
from tidegate_cli.problems import Problem
from tidegate_cli.terminal import say
from tidegate_operator.compile.diagnostics import Severity
from tidegate_operator.compile.unmatched import PASS_THROUGH, REFUSE, pass_through
from tidegate_operator.index.snapshot import Workload


def compile_or_exit(paths: Sequence[Path], unmatched: str = REFUSE) -> Compiled:
    """What the files mean; problems go to standard error, and errors end the process."""
    compiled = compile_files(paths, pass_through() if unmatched == PASS_THROUGH else None)
    show(compiled.problems)
    if compiled.errors:
        sys.exit(ERRORS)
    return compiled


def choose_or_exit(compiled: Compiled, name: str | None) -> Workload:
    """The workload to speak for; the choices and exit code 2 where that is not clear."""
    try:
        return choose(compiled, name)
    except ChoiceError as error:
        say(str(error))
        sys.exit(USAGE)


def show(problems: Iterable[Problem]) -> None:
    """Print problems to standard error."""
    for problem in problems:
        say(str(problem), style="red" if problem.severity is Severity.ERROR else "yellow")
