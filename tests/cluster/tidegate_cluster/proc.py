"""Telling processes apart by /proc, so that a reused process id never gets a signal meant for another."""

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """A process beyond doubt: an id alone may belong to another by now."""

    name: str
    pid: int
    started_ticks: int
    """Start time in clock ticks since boot, as /proc/<pid>/stat has it."""
    boot_id: str
    """Ticks start anew with each boot."""


def mark_process(name: str, pid: int) -> ProcessMark | None:
    """Describe a process that runs now; None if it does not."""
    fields = _stat_fields(pid)
    if fields is None:
        return None
    return ProcessMark(name=name, pid=pid, started_ticks=int(fields[19]), boot_id=_boot_id())


def is_alive(mark: ProcessMark) -> bool:
    """Tell whether the very process still runs. A zombie does not."""
    fields = _stat_fields(mark.pid)
    return (
        fields is not None
        and fields[0] != "Z"
        and int(fields[19]) == mark.started_ticks
        and mark.boot_id == _boot_id()
    )


def is_stopped(pid: int) -> bool:
    """Tell whether a process is halted by SIGSTOP."""
    fields = _stat_fields(pid)
    return fields is not None and fields[0] == "T"


def end_process(mark: ProcessMark, *, grace_s: float) -> None:
    """End the very process that was marked: SIGTERM, SIGKILL after `grace_s` seconds. Nothing if it is gone."""
    try:
        handle = os.pidfd_open(mark.pid)
    except ProcessLookupError:
        return
    try:
        # From here on the handle means one process, whoever it is: so look now, then signal.
        if not is_alive(mark):
            return
        for number, limit_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s)):
            signal.pidfd_send_signal(handle, number)
            signal.pidfd_send_signal(handle, signal.SIGCONT)  # in case it is frozen
            ended, _, _ = select.select([handle], [], [], limit_s)
            if ended:
                return
    except ProcessLookupError:
        return  # it ended meanwhile
    finally:
        os.close(handle)


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields from the state on: [0] state, [19] start time. The name before may hold anything."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()
