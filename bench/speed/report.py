"""Tables for people and JSON for programs, of the same results. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from speed.bars import Bar
from speed.results import Results, Spread, spread
from speed.targets import ENVOY, NOTHING
from speed.traffic import Row

NAME: Final = 24
"""Characters of the column with the proxies' names."""


def head(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lines: when, what and on what it was measured."""
    here = facts["machine"]
    yield f"{facts['date']}, commit {facts['commit'] or 'unknown'}"
    yield (
        f"{here['processor']}, {here['cores']} cores, {here['memory_gib']} GiB, Linux {here['kernel']}; "
        f"load {here['load_average']} at the start, {here['load_average_at_end']} at the end"
    )
    yield ", ".join(f"{name} {version}" for name, version in facts["versions"].items())


def tables(results: Results) -> Iterator[str]:
    """Lines: a table for each kind of load, then first events and memory, then why something is missing."""
    for row in results.rows():
        yield f"\n{row}"
        yield from _load_table(results, row)
    if results.first_event_ms:
        yield "\nfirst event of a stream, 1 connection"
        yield f"{'':<{NAME}}{'ms':>9}{'added ms':>10}  (rounds)"
        for name, values in results.first_event_ms.items():
            added = results.added_first_event_ms(name, NOTHING) if name != NOTHING else None
            yield f"{name:<{NAME}}{_median(spread(values)):>9}{_median(added):>10}  {_rounds(added)}".rstrip()
    yield "\nmemory, MiB"
    yield f"{'':<{NAME}}{'idle':>9}{'after load':>12}"
    for name, idle_mib in results.idle_mib.items():
        loaded_mib = results.loaded_mib.get(name)
        yield f"{name:<{NAME}}{idle_mib:>9.1f}{f'{loaded_mib:.1f}' if loaded_mib else '':>12}"
    others = results.others_busy()
    if others is not None:
        yield (
            f"\nother work on the machine took {others.median:.2f} of a core, {others.high:.2f} at most; "
            "where some rounds were quiet, the figures are theirs alone"
        )
    for name, note in results.notes.items():
        yield f"\n{name}: {note}"


def bar_table(bars: Sequence[Bar]) -> Iterator[str]:
    """Lines: each demand, what was measured, and whether it was kept."""
    yield f"\n{'bar':<66}{'measured':>9}{'bar':>7}"
    for bar in bars:
        verdict = ("kept" if bar.is_kept else "MISSED") + ("" if bar.is_quiet else ", but no round was quiet")
        rounds = f"  {_rounds(bar.rounds)}" if bar.rounds else ""
        yield f"{bar.what:<66}{bar.measured:>9.2f}{bar.limit:>7.2f} {bar.unit:<8} {verdict}{rounds}"


def document(results: Results, bars: Sequence[Bar], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, as values of JSON: each round's samples as well as what the tables say."""
    return {
        **facts,
        "rows": [
            {
                **asdict(row),
                "proxy": name,
                **asdict(results.median(row, name)),
                "cpu_ratio_to_envoy": _document(results.cpu_ratio(row, name, ENVOY)),
                "rounds": [asdict(sample) for sample in samples],
            }
            for (row, name), samples in results.samples.items()
        ],
        "first_event": [
            {
                "proxy": name,
                "ms": _document(spread(values)),
                "added_ms": _document(results.added_first_event_ms(name, NOTHING)),
                "rounds": values,
            }
            for name, values in results.first_event_ms.items()
        ],
        "memory_mib": {
            name: {"idle": idle_mib, "after_load": results.loaded_mib.get(name)}
            for name, idle_mib in results.idle_mib.items()
        },
        "notes": results.notes,
        "complaints": results.complaints,
        "bars": [asdict(bar) | {"is_kept": bar.is_kept} for bar in bars],
    }


def _load_table(results: Results, row: Row) -> Iterator[str]:
    event = f"{'us/event':>10}" if row.shape.is_stream else ""
    yield (
        f"{'':<{NAME}}{'calls/s':>9}{'CPU us/call':>13}{event}{'x Envoy':>9}  {'(rounds)':<12}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'core':>6}{'load':>6}{'quiet':>7}"
    )
    for name in results.names(row):
        one = results.median(row, name)
        has_proxy = one.cpu_us_per_call > 0
        ratio = results.cpu_ratio(row, name, ENVOY) if has_proxy else None
        cpu = f"{one.cpu_us_per_call:,.0f}" if has_proxy else ""
        event = f"{_figure(one.cpu_us_per_event):>10}" if row.shape.is_stream else ""
        core = f"{one.proxy_busy:.0%}" if has_proxy else ""
        quiet = f"{results.quiet_rounds(row, name)}/{len(results.samples[row, name])}"
        failed = f"  {one.failed} FAILED" if one.failed else ""
        yield (
            f"{name:<{NAME}}{one.calls_per_s:>9,.0f}{cpu:>13}{event}{_median(ratio):>9}  {_rounds(ratio):<12}"
            f"{_figure(one.p50_ms):>9}{_figure(one.p99_ms):>9}{core:>6}{one.load_busy:>6.0%}{quiet:>7}{failed}"
        )


def _figure(value: float) -> str:
    """Nothing where there is nothing to tell: no proxy, or no stream that ended within the time."""
    return f"{value:.2f}" if value else ""


def _median(found: Spread | None) -> str:
    return f"{found.median:.2f}" if found else ""


def _rounds(found: Spread | None) -> str:
    return f"({found.low:.2f}-{found.high:.2f})" if found else ""


def _document(found: Spread | None) -> dict[str, float] | None:
    return found._asdict() if found else None
