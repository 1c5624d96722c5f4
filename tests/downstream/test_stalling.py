"""A slow but steady reader is never cut; only one that takes nothing for the whole time is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.downstream.stalling import StallWatch

MS = 1_000_000


def test_nothing_taken_for_the_whole_time_is_a_stall() -> None:
    watch = StallWatch(1_000)
    assert [watch.is_stalled(100, 100, ms * MS) for ms in (0, 500, 999, 1_000)] == [False, False, False, True]


def test_a_byte_at_a_time_is_no_stall() -> None:
    watch = StallWatch(1_000)
    assert not any(watch.is_stalled(100, 100 - ms // 999, ms * MS) for ms in range(0, 99_000, 333))


def test_with_nothing_left_to_take_nobody_stalls() -> None:
    watch = StallWatch(1_000)
    assert not any(watch.is_stalled(100, 0, ms * MS) for ms in range(0, 10_000, 500))
    assert not watch.is_stalled(200, 100, 10_000 * MS)
    assert not watch.is_stalled(200, 100, 10_499 * MS)
    assert watch.is_stalled(200, 100, 11_000 * MS)


def test_a_reader_who_takes_just_as_much_as_is_written_is_no_stall() -> None:
    """What is buffered never gets less; by that alone it would look like one."""
    watch = StallWatch(1_000)
    assert not any(watch.is_stalled(1_000 + ms, 1_000, ms * MS) for ms in range(0, 10_000, 500))


def test_writing_more_is_no_progress_of_the_reader() -> None:
    watch = StallWatch(1_000)
    assert not watch.is_stalled(100, 100, 0)
    assert not watch.is_stalled(200, 200, 900 * MS)
    assert watch.is_stalled(300, 300, 1_000 * MS)


@given(
    looks=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(1, 400)), max_size=60),
    stall_ms=st.integers(1, 1_000),
)
def test_a_stall_is_just_the_time_without_progress(looks: list[tuple[int, int, int]], stall_ms: int) -> None:
    """By a model that keeps the whole history: (written more, taken more, milliseconds since the last look)."""
    watch = StallWatch(stall_ms)
    written = taken = now_ms = 0
    last_progress_ms: int | None = None
    for more_written, more_taken, passed_ms in looks:
        now_ms += passed_ms
        written += more_written
        before, taken = taken, min(written, taken + more_taken)
        if last_progress_ms is None or taken != before or taken == written:
            last_progress_ms = now_ms
        expected = taken < written and now_ms - last_progress_ms >= stall_ms
        assert watch.is_stalled(written, written - taken, now_ms * MS) == expected
