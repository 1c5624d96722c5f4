"""The machine: which core does what, and what a process has taken of it. Linux only."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CPU_CLOCK: Final = 2
"""`CPUCLOCK_SCHED`: the scheduler's own count of a process' processor time, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core runs what: the proxy has one for itself where there are two."""

    proxy: int
    provider: int
    load: int

    @property
    def all(self) -> set[int]:
        """Those that are used; fewer than three where the machine has fewer."""
        return {self.proxy, self.provider, self.load}

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first cores that this process may use."""
        found = sorted(os.sched_getaffinity(0))
        provider = found[min(1, len(found) - 1)]
        return cls(proxy=found[0], provider=provider, load=found[min(2, len(found) - 1)])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started within runs on that core, with all its threads and children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_ns(pid: int) -> int:
    """Processor time that a process has taken, all its threads together, those that ended among them."""
    return time.clock_gettime_ns(~pid << 3 | CPU_CLOCK)


def busy_s(cores: Collection[int]) -> float:
    """How long these cores have been at work since the machine started, whoever had them; to about ten milliseconds."""
    ticks = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *numbers = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, *interrupts_and_stolen = map(int, numbers[:8])
            ticks += user + nice + system + sum(interrupts_and_stolen)
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Memory that a process has in use."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) / 1024


def children(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have, at any depth."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text(encoding="ascii").split()):
            found += [child, *children(child)]
    return found


def load_average() -> list[float]:
    """Processes that wanted to run, over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def facts() -> dict[str, object]:
    """What numbers depend on, as it is now."""
    processor = re.findall(
        r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    memory = re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return {
        "processor": processor[0] if processor else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[0]) / 2**20, 1),
        "kernel": platform.release(),
        "load_average": load_average(),
    }
