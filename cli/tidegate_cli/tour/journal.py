"""The sidecar's records as lines for people, as they happen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import IO, Final

from tidegate_cli.terminal import say
from tidegate_cli.tour.breakers import BreakerWatch
from tidegate_sidecar.telemetry.records import CallRecord, Ending

_WIDTHS: Final = (4, 8, 18, 10, 6, 6)
_COLUMNS: Final = ("call", "consumer", "model", "provider", "status", "ms", "why")

_MAX_CELL: Final = 40

_STYLES: Final = {
    Ending.SERVED: "green",
    Ending.REFUSED: "yellow",
    Ending.CLIENT_GONE: "dim",
}


class Journal:
    """A `RecordSink` that prints each record, and what has become of the breakers with it.

    Attributes:
        calls: how many records there were.
        endings: how many of each.
        last: how the last one ended; None before the first.
        failovers: calls that another provider answered after one had failed.
    """

    def __init__(self, to: IO[str]) -> None:
        """Print to `to`."""
        self.calls = 0
        self.endings: Counter[Ending] = Counter()
        self.last: Ending | None = None
        self.failovers = 0
        self._to = to
        self._breakers: BreakerWatch | None = None
        self._more = asyncio.Event()
        self._is_mute = False

    def watch(self, breakers: BreakerWatch) -> None:
        """Look at these breakers, too."""
        self._breakers = breakers

    def heading(self) -> None:
        """The names of the columns."""
        self._print(_row(_COLUMNS), "bold")

    def __call__(self, record: CallRecord) -> None:
        """Print one record; see `RecordSink`."""
        self.calls += 1
        self.endings[record.ending] += 1
        self.last = record.ending
        failed_over = record.ending is Ending.SERVED and len({it.provider for it in record.attempts}) > 1
        self.failovers += failed_over
        skipped = self._breakers.skipped(record) if self._breakers else ()
        self._print(_row(cells(self.calls, record, skipped)), _STYLES.get(record.ending, "red"))
        for line in self._breakers.changes() if self._breakers else ():
            self._print(f"      {line}", "magenta")
        self._more.set()
        self._more = asyncio.Event()

    def _print(self, line: str, style: str) -> None:
        if self._is_mute:
            return
        try:
            say(line, style=style, to=self._to)
        except OSError:
            # Nobody reads any more; that is no reason to fail a call.
            self._is_mute = True

    async def wait_for(self, calls: int) -> None:
        """Return once there have been so many records; a record comes after the answer has left."""
        while self.calls < calls:
            await self._more.wait()


def cells(number: int, record: CallRecord, skipped: Sequence[str] = ()) -> tuple[str, ...]:
    """One record as the cells of a row."""
    return (
        str(number),
        _clipped(record.consumer or "-"),
        _clipped(record.model or record.requested_model or "-"),
        record.provider or "-",
        str(record.status or "-"),
        str(record.duration_ms),
        why(record, skipped),
    )


def why(record: CallRecord, skipped: Sequence[str] = ()) -> str:
    """What decided the outcome of a call, in words; `skipped` are providers that were not asked, and why."""
    failed = [it for it in record.attempts if it.result != "ok"]
    if record.ending is Ending.REFUSED:
        return f"{record.code}: {record.reason}"
    if record.ending is not Ending.SERVED:
        return record.reason or record.ending.value.replace("_", " ")
    parts = [f"{it.provider} failed ({it.result}{f' {it.status}' if it.status else ''})" for it in failed]
    parts += skipped
    parts.append(f"{record.provider} took over" if parts else "allowed by all rules")
    if record.stream and record.first_token_ms is not None:
        parts.append(f"stream, first token after {record.first_token_ms} ms")
    parts.append(f"{record.input_tokens or 0} + {record.output_tokens or 0} tokens")
    return "; ".join(parts)


def _clipped(text: str) -> str:
    """What a caller wrote, harmless to a terminal and short enough for a table."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _MAX_CELL else f"{shown[: _MAX_CELL - 3]}..."


def _row(cells_: tuple[str, ...]) -> str:
    fixed = "  ".join(cell.ljust(width) for cell, width in zip(cells_, _WIDTHS, strict=False))
    return f"{fixed}  {cells_[-1]}".rstrip()
