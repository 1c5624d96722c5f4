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
        failovers: calls that another provider answered after one had failed.
    """

    def __init__(self, to: IO[str]) -> None:
        """Print to `to`."""
        self.calls = 0
        self.endings: Counter[Ending] = Counter()
        self.failovers = 0
        self._to = to
        self._breakers: BreakerWatch | None = None
        self._more = asyncio.Event()

    def watch(self, breakers: BreakerWatch) -> None:
        """Look at these breakers, too."""
        self._breakers = breakers

    def heading(self) -> None:
        """The names of the columns."""
        say(_row(_COLUMNS), style="bold", to=self._to)

    def __call__(self, record: CallRecord) -> None:
        """Print one record; see `RecordSink`."""
        self.calls += 1
        self.endings[record.ending] += 1
        failed_over = record.ending is Ending.SERVED and len({it.provider for it in record.attempts}) > 1
        self.failovers += failed_over
        skipped = self._breakers.skipped(record) if self._breakers else ()
        style = _STYLES.get(record.ending, "red")
        say(_row(cells(self.calls, record, skipped)), style=style, to=self._to)
        for line in self._breakers.changes() if self._breakers else ():
            say(f"      {line}", style="magenta", to=self._to)
        self._more.set()
        self._more = asyncio.Event()

    async def wait_for(self, calls: int) -> None:
        """Return once there have been so many records; a record comes after the answer has left."""
        while self.calls < calls:
            await self._more.wait()


def cells(number: int, record: CallRecord, skipped: Sequence[str] = ()) -> tuple[str, ...]:
    """One record as the cells of a row."""
    return (
        str(number),
        record.consumer or "-",
        record.model or record.requested_model or "-",
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


def _row(cells_: tuple[str, ...]) -> str:
    fixed = "  ".join(cell.ljust(width) for cell, width in zip(cells_, _WIDTHS, strict=False))
    return f"{fixed}  {cells_[-1]}".rstrip()
