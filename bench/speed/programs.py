"""Processes that the bench starts: each is awaited until it listens, and ended by its id whatever happened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from speed import machine

END_S: Final = 10.0
LOG_TAIL: Final = 3_000
"""Characters of a log that are shown when its program did not start."""
PIECE: Final = 2**16


class BenchError(Exception):
    """Something that the bench needs is missing, does not start or does not do its work; the message says which and why."""


class Records:
    """Reads a pipe that a process writes lines to, as a container runtime does, and counts them."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        """`writer` is for the process; close it here once the process has it."""
        self._tail = b""
        self.count = 0
        threading.Thread(target=self._read, name="records", daemon=True).start()

    @property
    def last(self) -> bytes:
        """The last whole line."""
        return self._tail.rpartition(b"\n")[0].rpartition(b"\n")[2]

    def wait_for(self, count: int, seconds: float = 5.0) -> bool:
        """Whether there are so many within the time."""
        deadline_s = time.monotonic() + seconds
        while self.count < count and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return self.count >= count

    def _read(self) -> None:
        while piece := os.read(self._reader, PIECE):
            self._tail = (self._tail + piece)[-PIECE:]
            self.count += piece.count(b"\n")
        os.close(self._reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A running process, and what it has taken together with those that it has started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pids(self) -> list[int]:
        """Its id first, then those of the processes that it has started."""
        return [self.process.pid, *machine.children(self.process.pid)]

    def cpu_ns(self) -> int:
        """Processor time so far."""
        return sum(map(machine.cpu_ns, self.pids))

    def rss_mib(self) -> float:
        """Memory in use."""
        return sum(map(machine.rss_mib, self.pids))

    def log_tail(self) -> str:
        """What it said last, for people."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]

    def wait_until_listening(self, port: int, seconds: float) -> None:
        """Until somebody takes connections on the port; `BenchError` when the process ends or the time is over."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            if self.process.poll() is not None:
                raise BenchError(
                    f"{self.name} ended with {self.process.returncode} as it started:\n{self.log_tail()}"
                )
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise BenchError(
            f"{self.name} does not listen on port {port} after {seconds:g} s:\n{self.log_tail()}"
        )


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    core: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    records: Records | None = None,
) -> Iterator[Program]:
    """A process on one core, with `PATH` and the given environment and no other; its words go to a log in `folder`.

    Args:
        name: for messages and the log.
        command: the program and its arguments.
        core: where it runs, all its threads and children too.
        folder: where its log is.
        environment: what it is told.
        records: takes its standard output; None: that goes to the log as well.
    """
    log = folder / f"{name.replace(' ', '-').replace(',', '')}.log"
    with log.open("wb") as output, machine.pinned(core):
        process = subprocess.Popen(  # noqa: S603
            [*map(str, command)],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output if records is None else records.writer,
            stderr=output,
            cwd=folder,
        )
    if records is not None:
        os.close(records.writer)
    program = Program(name=name, process=process, log=log)
    try:
        yield program
    finally:
        _end(program)


def _end(program: Program) -> None:
    process = program.process
    if process.poll() is None:
        pids = program.pids
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in pids[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port
