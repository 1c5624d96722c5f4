"""One measurement: wrk sends one kind of call for two seconds, and what a window in the middle cost is read from the scheduler."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from speed import machine
from speed.calls import PATH, counts, headers
from speed.machine import Cores
from speed.programs import BenchError
from speed.results import Sample
from speed.targets import Provider, Target
from speed.traffic import EVENTS, Row, Shape, request

SCRIPT: Final = Path(__file__).parent / "load.lua"
WARM_UP_S: Final = 0.4
COOL_DOWN_S: Final = 0.1
"""The window ends before wrk lets its connections go."""
END_S: Final = 15
LONGER: Final = (1, 2, 4)
"""How much longer the load lasts where there were too few calls."""
ENOUGH: Final = 4
"""Calls of each connection within a window: those that its ends cut through are then few beside them."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Makes load on its core, against targets whose provider it knows."""

    wrk: str
    cores: Cores
    provider: Provider
    folder: Path

    def measure(self, target: Target, row: Row, seconds: int) -> Sample:
        """Load for so many whole seconds, as wrk counts them; for longer where few calls were answered meanwhile."""
        sample = None
        for longer in LONGER:
            with self.loading(target, row, longer * seconds) as wrk:
                time.sleep(WARM_UP_S)
                before = self._reading(target, wrk.pid)
                time.sleep(longer * seconds - WARM_UP_S - COOL_DOWN_S)
                after = self._reading(target, wrk.pid)
                said = _last_line(wrk)
            sample = _sample(before, after, said, row)
            if sample is not None and _is_enough(before, after, row):
                break
        if sample is None:
            raise BenchError(f"{target.name} answered no call within {LONGER[-1] * seconds} s: {row}")
        return sample

    @contextmanager
    def loading(self, target: Target, row: Row, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
        """wrk, running; it ends by itself, and at the end of the block in any case."""
        body = self.folder / "body"
        body.write_bytes(request(row.shape, row.kib, row.model + target.model_suffix))
        command = [self.wrk, f"-d{seconds}s", "-t1", f"-c{row.connections}", "--timeout", "30s"]
        command += ["-s", str(SCRIPT)]
        command += [f"http://127.0.0.1:{target.port}{PATH}", "--", str(body)]
        command += [f"{name}={value}" for name, value in headers(target).items()]
        with machine.pinned(self.cores.load):
            wrk = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603
        with wrk:
            try:
                yield wrk
            finally:
                wrk.kill()

    def _reading(self, target: Target, wrk_pid: int) -> _Reading:
        found = counts(self.provider)
        return _Reading(
            at_ns=time.monotonic_ns(),
            calls=found.calls,
            events=found.events,
            proxy_ns=target.program.cpu_ns() if target.program else 0,
            load_ns=self.provider.program.cpu_ns() + machine.cpu_ns(wrk_pid),
            bench_ns=machine.cpu_ns(os.getpid()),
            cores_busy_s=machine.busy_s(self.cores.all),
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    at_ns: int
    calls: int
    events: int
    proxy_ns: int
    load_ns: int
    bench_ns: int
    cores_busy_s: float


def _is_enough(before: _Reading, after: _Reading, row: Row) -> bool:
    # Events with pauses between them are counted one by one: there the window cuts through nothing.
    return row.shape is Shape.APART or after.calls - before.calls >= ENOUGH * row.connections


def _sample(before: _Reading, after: _Reading, said: dict[str, Any], row: Row) -> Sample | None:
    """What happened between two readings; None where that is nothing."""
    wall_s = (after.at_ns - before.at_ns) / 1e9
    events = after.events - before.events
    # A stream that is long beside the window is counted by its part in it.
    calls = events / EVENTS if row.shape.is_stream else after.calls - before.calls
    cpu_us = (after.proxy_ns - before.proxy_ns) / 1e3
    load_us = (after.load_ns - before.load_ns) / 1e3
    ours_s = (cpu_us + load_us) / 1e6 + (after.bench_ns - before.bench_ns) / 1e9
    if not calls:
        return None
    return Sample(
        calls_per_s=calls / wall_s,
        cpu_us_per_call=cpu_us / calls,
        cpu_us_per_event=cpu_us / events if events else 0.0,
        p50_ms=said["p50_us"] / 1e3,
        p99_ms=said["p99_us"] / 1e3,
        proxy_busy=cpu_us / 1e6 / wall_s,
        load_busy=load_us / 1e6 / wall_s,
        others_busy=max(0.0, after.cores_busy_s - before.cores_busy_s - ours_s) / wall_s,
        failed=said["refused"] + said["broken"],
    )


def _last_line(wrk: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        output = wrk.communicate(timeout=END_S)[0].decode()
        found: dict[str, Any] = json.loads(output.strip().rpartition("\n")[2])
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise BenchError(f"wrk did not end as it should: {error!r}") from error
    return found
