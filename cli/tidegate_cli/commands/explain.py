"""`tidegate explain`: what becomes of one call, which rule decides, and where it is written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import click

from tidegate_cli.commands.options import files_option, unmatched_option, workload_option
from tidegate_cli.commands.problems import choose_or_exit, compile_or_exit
from tidegate_cli.explaining import Answer, Question, answer
from tidegate_cli.terminal import say, table
from tidegate_policy.model import Dialect

_DIALECTS: Final = {dialect.value.lower(): dialect for dialect in Dialect}


@click.command()
@files_option
@workload_option
@unmatched_option
@click.option("--model", required=True, help="The model that is asked for.")
@click.option(
    "--dialect", type=click.Choice([*_DIALECTS]), help="Of the call; by default the one that has the model."
)
@click.option("--consumer", default="", help="On whose behalf the call is made.")
def explain(
    *,
    paths: tuple[Path, ...],
    workload: str | None,
    unmatched: str,
    model: str,
    dialect: str | None,
    consumer: str,
) -> None:
    """Say what would become of a call: refused or served, by which rule of which object, and why."""
    compiled = compile_or_exit(paths, unmatched)
    chosen = choose_or_exit(compiled, workload)
    dialects = [_DIALECTS[dialect]] if dialect else [*Dialect]
    questions = [Question(workload=chosen, dialect=it, model=model, consumer=consumer) for it in dialects]
    answers = [answer(compiled, question) for question in questions]
    at = next((at for at, it in enumerate(answers) if it.pool is not None), 0)
    _print(questions[at], answers[at])


def _print(question: Question, found: Answer) -> None:
    alias = f" (an alias of {found.model})" if found.model and found.model != question.model else ""
    consumer = f", consumer {question.consumer}" if question.consumer else ""
    say(
        f"{question.workload} asks for {question.model}{alias} in the {question.dialect} dialect{consumer}:",
        to=sys.stdout,
    )
    say(f"  {_verdict(found)}", style="red" if found.refusal else "green", to=sys.stdout)
    _section("Policies that apply", ("object", "attached to", "defined at"), found.policies)
    _section(
        "Providers, in the order in which they are asked",
        ("provider", "priority", "share of it", "asked for", "address", "key"),
        [tuple(str(cell) for cell in provider) for provider in found.providers],
    )
    _section(
        "What has a say",
        ("setting", "value", "for this call", "from"),
        [(row.name, row.value, row.effect or "-", row.place) for row in found.rules],
    )
    _section(
        "What is written and does not hold",
        ("setting", "value", "why", "from"),
        [(row.name, row.value, row.effect, row.place) for row in found.lost],
    )


def _verdict(found: Answer) -> str:
    if found.refusal:
        return f"refused with {found.refusal.case.status} {found.refusal.case.code}: {found.refusal.message}"
    if found.passes_through:
        address = found.providers[0].address if found.providers else "nowhere"
        return f"no policy applies: goes out as it is, with the application's own key, to {address}."
    turns = [
        " or ".join(it.name for it in equals)
        for _, equals in groupby(found.providers, lambda it: it.priority)
    ]
    return f"goes to {', and when that is out to '.join(turns)}, unless a limit is reached."


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        say(to=sys.stdout)
        say(title, style="bold", to=sys.stdout)
        table(columns, rows)
