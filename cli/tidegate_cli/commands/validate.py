"""`tidegate validate`: everything that is wrong with a set of files."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from tidegate_cli.commands.options import ERRORS, files_option
from tidegate_cli.compiling import Compiled, compile_files
from tidegate_cli.problems import Problem
from tidegate_cli.terminal import say
from tidegate_operator.compile.diagnostics import Severity


@click.command()
@files_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also name the objects of other kinds that are left out.")
def validate(*, paths: tuple[Path, ...], output: str, verbose: bool) -> None:
    """Check manifests: file:line: kind/name: field: what is wrong. Exit code 1 when there are errors."""
    compiled = compile_files(paths)
    if output == "json":
        print(json.dumps(_document(compiled, verbose=verbose), indent=2, ensure_ascii=False))
    else:
        for problem in compiled.problems:
            say(str(problem), style="red" if problem.severity is Severity.ERROR else "yellow", to=sys.stdout)
        for line in compiled.manifests.left_out if verbose else ():
            say(line, style="dim", to=sys.stdout)
        say(summary(compiled), to=sys.stdout)
    sys.exit(ERRORS if compiled.errors else 0)


def summary(compiled: Compiled) -> str:
    """How much there is, and how much of it is wrong."""
    errors = len(compiled.errors)
    counts = (
        (compiled.manifests.objects, "object"),
        (errors, "error"),
        (len(compiled.problems) - errors, "warning"),
    )
    return ", ".join(f"{count} {noun}" if count == 1 else f"{count} {noun}s" for count, noun in counts)


def _document(compiled: Compiled, *, verbose: bool) -> dict[str, object]:
    errors = len(compiled.errors)
    document: dict[str, object] = {
        "objects": compiled.manifests.objects,
        "errors": errors,
        "warnings": len(compiled.problems) - errors,
        "problems": [_problem(problem) for problem in compiled.problems],
    }
    if verbose:
        document["leftOut"] = list(compiled.manifests.left_out)
    return document


def _problem(problem: Problem) -> dict[str, object]:
    return {**asdict(problem), "severity": problem.severity.value}
