"""The window that breakers and retry budgets look back at."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.policies.window import BUCKETS, Window


@settings(deadline=None)
@given(
    st.integers(1, 10**10),
    st.lists(st.tuples(st.integers(0, 3 * 10**10), st.integers(0, 2)), max_size=60),
)
def test_a_window_counts_what_happened_in_its_last_ten_buckets(
    span_ns: int, steps: list[tuple[int, int]]
) -> None:
    window = Window(span_ns, 3)
    bucket_ns = max(1, span_ns // BUCKETS)
    log: list[tuple[int, int]] = []
    now_ns = 0
    for gap, kind in steps:
        now_ns += gap % (2 * span_ns)
        totals = window.add((kind,), now_ns)
        log.append((now_ns // bucket_ns, kind))
        for each in range(3):
            expected = sum(1 for at, it in log if it == each and now_ns // bucket_ns - at < BUCKETS)
            assert totals[each] == window.totals(now_ns)[each] == expected


def test_a_long_silence_forgets_everything() -> None:
    window = Window(1_000, 1)
    window.add((0,), 5)
    assert window.totals(2**70)[0] == 0
    window.add((0,), 2**70)
    assert window.totals(2**70)[0] == 1


def test_what_is_cleared_is_gone() -> None:
    window = Window(1_000, 2)
    window.add((1,), 5)
    window.clear()
    assert window.totals(5)[1] == 0
    window.add((1,), 5)
    assert window.totals(999)[1] == 1


def test_what_is_counted_together_is_counted_once_each() -> None:
    window = Window(1_000, 3)
    assert list(window.add((0, 2), 5)) == [1, 0, 1]
