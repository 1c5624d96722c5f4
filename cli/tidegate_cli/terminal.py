"""Output for people: tables and colour on a terminal, plain aligned text without one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text


def say(text: str = "", *, style: str = "", to: IO[str] | None = None) -> None:
    """A line for a person; `style` shows on a terminal alone. Goes to standard error unless `to` says otherwise."""
    stream = to or sys.stderr
    if stream.isatty():
        Console(file=stream, highlight=False, soft_wrap=True).print(Text(text, style=style))
    else:
        print(text, file=stream, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, to: IO[str] | None = None) -> None:
    """Rows below column names, on standard output unless `to` says otherwise."""
    stream = to or sys.stdout
    if stream.isatty():
        shown = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            shown.add_row(*(Text(cell) for cell in row))
        Console(file=stream, highlight=False).print(shown)
        return
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip(), file=stream, flush=True)
