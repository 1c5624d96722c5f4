"""Lines leave by a thread: whatever a reader does, calls go on, and every record is written or counted as dropped."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tidegate_sidecar.telemetry.line_writer import LineWriter
from tidegate_sidecar.telemetry.records import CallRecord

SMALLEST_PIPE = 4_096


class Pipe:
    """A real pipe of the smallest size, with both its ends."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
        self.reader: IO[bytes] = os.fdopen(reading, "rb", buffering=0)
        self.writer: IO[bytes] = os.fdopen(writing, "wb", buffering=0)

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def wait_for(self, writer: LineWriter) -> None:
        """Flush until something has come: the thread may not be through yet with what it was given before."""
        while not select.select([self.reader], [], [], 0.01)[0]:
            writer.flush()

    def lines(self, count: int) -> list[bytes]:
        """Read so many, a few bytes at a time."""
        found = b""
        while found.count(b"\n") < count:
            piece = self.reader.read(100)
            assert piece, "the other end was closed"
            found += piece
        return found.splitlines()


class Dropped:
    """Counts, from whatever thread; a test may wait for a number."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self, count: int) -> None:
        with self._changed:
            self.count += count
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, timeout=10)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def call(number: int, size: int = 0) -> CallRecord:
    made = CallRecord()
    made.request_id, made.reason = f"tg-{number}", "x" * size
    return made


def numbers(lines: list[bytes]) -> list[int]:
    return [int(json.loads(line)["request_id"].removeprefix("tg-")) for line in lines]


def test_records_leave_in_order_when_they_are_flushed(pipe: Pipe) -> None:
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped) as writer:
        for round_ in range(3):
            for number in range(5):
                writer(call(5 * round_ + number))
            assert not select.select([pipe.reader], [], [], 0)[0], "nothing leaves before"
            pipe.wait_for(writer)
            assert numbers(pipe.lines(5)) == list(range(5 * round_, 5 * round_ + 5))
    assert dropped.count == 0


def test_what_waits_is_written_at_the_end(pipe: Pipe) -> None:
    dropped, found = Dropped(), list[bytes]()
    reading = threading.Thread(target=lambda: found.extend(pipe.lines(200)))
    reading.start()
    with LineWriter(pipe.writer, dropped) as writer:
        for number in range(100):
            writer(call(number, 100))
        writer.flush()
        for number in range(100, 200):
            writer(call(number, 100))
    reading.join(10)
    assert numbers(found) == list(range(200))
    assert dropped.count == 0


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_slow_reader_gets_every_line_whole(pipe: Pipe, *, blocking: bool) -> None:
    """A pipe takes part of what is written; whoever shares it may have made it non-blocking."""
    os.set_blocking(pipe.writer.fileno(), blocking)
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped) as writer:
        for number in range(100):
            writer(call(number, 1_000))
        writer.flush()
        assert numbers(pipe.lines(100)) == list(range(100))
    assert dropped.count == 0


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_reader_that_stalls_stalls_nobody(pipe: Pipe, *, blocking: bool) -> None:
    """What finds no room is dropped, and counted; when reading goes on, the rest is there."""
    os.set_blocking(pipe.writer.fileno(), blocking)
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped, max_records=50) as writer:
        for number in range(50):
            writer(call(number, 1_000))
        writer.flush()  # more than the pipe holds: the thread waits for the reader
        for number in range(50, 200):
            writer(call(number, 1_000))
            writer.flush()
        assert dropped.count == 100
        assert numbers(pipe.lines(50)) == list(range(50))
        reading = threading.Thread(target=lambda: found.extend(pipe.lines(50)))
        found: list[bytes] = []
        reading.start()
    reading.join(10)
    assert numbers(found) == list(range(50, 100))
    assert dropped.count == 100


def test_bytes_that_wait_are_bounded_as_well(pipe: Pipe) -> None:
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped, max_bytes=2_500) as writer:
        for number in range(10):
            writer(call(number, 1_000))
        assert dropped.count == 7, "the third is the first that leaves no room"
        writer.flush()
        assert numbers(pipe.lines(3)) == [0, 1, 2]


def test_the_end_does_not_wait_for_a_reader_that_stalls(pipe: Pipe) -> None:
    """What the reader did not take is counted, on its way or still waiting."""
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped, exit_ms=50) as writer:
        for number in range(20):
            writer(call(number, 1_000))
        writer.flush()
        for number in range(20, 25):
            writer(call(number))
    assert dropped.count == 25, "the pipe holds less than was written at once, which may have arrived or not"


def test_what_had_arrived_before_the_end_is_not_counted(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer.fileno(), False)
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped, exit_ms=200) as writer:
        for number in range(20):
            writer(call(number, 1_000))
    whole = pipe.reader.read(SMALLEST_PIPE).count(b"\n")
    assert (whole, dropped.count) == (3, 17)


def test_a_reader_that_has_gone_costs_its_records_alone(pipe: Pipe) -> None:
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped) as writer:
        pipe.reader.close()
        for number in range(10):
            writer(call(number))
        writer.flush()
        dropped.wait(10)
        for number in range(10):
            writer(call(number))
    assert dropped.count == 20


def test_a_reader_that_goes_while_it_is_written_to_leaves_no_thread_behind(pipe: Pipe) -> None:
    dropped = Dropped()
    with LineWriter(pipe.writer, dropped) as writer:
        for number in range(20):
            writer(call(number, 1_000))
        writer.flush()
        pipe.lines(2)
        pipe.reader.close()
    assert 0 < dropped.count <= 18
    assert not [it for it in threading.enumerate() if it.name == "records"]


def test_a_disk_that_is_full_costs_its_records_alone() -> None:
    dropped = Dropped()
    with Path("/dev/full").open("wb", buffering=0) as full, LineWriter(full, dropped) as writer:
        for number in range(10):
            writer(call(number))
    assert dropped.count == 10


@pytest.fixture
def file_limit() -> Iterator[Any]:
    """Sets how long files may get: a disk that becomes full, and has room again."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before if size is None else (size, before[1]))

    yield limit
    limit(None)


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path, file_limit: Any) -> None:
    path, dropped = tmp_path / "records", Dropped()
    with path.open("wb", buffering=0) as stream, LineWriter(stream, dropped) as writer:
        for number in range(5):
            writer(call(number))
        file_limit(350)  # within the third line
        writer.flush()
        dropped.wait(1)
        file_limit(None)
        writer(call(5))
    first, second, cut, last = path.read_bytes().splitlines()
    assert numbers([first, second, last]) == [0, 1, 5]
    assert b"tg-2" in cut
    assert dropped.count == 3
