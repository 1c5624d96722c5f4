"""Server-sent events, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.providers.base import SseEvent
from tidegate_sidecar.providers.sse import MAX_EVENT_BYTES, EventSplitter, EventTooLargeError, events

LINE = st.sampled_from(
    [b"data: {}", b"data:x", b"event: ping", b": comment", b"id: 7", b"data: a b", b"x", b"data"]
)
END = st.sampled_from([b"\n", b"\r\n"])


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Whole events, each as it stands on the wire."""
    end = draw(END)
    blocks = draw(st.lists(st.lists(LINE, min_size=1, max_size=4), max_size=8))
    return [end.join(lines) + end + end for lines in blocks]


@st.composite
def chunked(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=12)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_chunking_gives_the_same_bytes(data: st.DataObject) -> None:
    stream = b"".join(data.draw(streams()))
    splitter = EventSplitter()
    given_back = [splitter.feed(piece) for piece in data.draw(chunked(stream))]
    assert b"".join(given_back) == stream
    assert splitter.held_bytes == 0


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_only_whole_events_are_given_back(data: st.DataObject) -> None:
    blocks = data.draw(streams())
    stream = b"".join(blocks)
    ends = {0}
    for block in blocks:
        ends.add(max(ends) + len(block))
    splitter, passed = EventSplitter(), 0
    for piece in data.draw(chunked(stream)):
        passed += len(splitter.feed(piece))
        assert passed in ends


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_chunking_gives_the_same_events(data: st.DataObject) -> None:
    stream = b"".join(data.draw(streams()))
    splitter, found = EventSplitter(), []
    for piece in data.draw(chunked(stream)):
        found += events(splitter.feed(piece))
    assert found == events(stream)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_come_out_as_they_went_in(pieces: list[bytes]) -> None:
    splitter = EventSplitter()
    out = b"".join(splitter.feed(piece) for piece in pieces)
    assert b"".join(pieces).startswith(out)
    assert len(out) + splitter.held_bytes == sum(map(len, pieces))
    events(out)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"data: x\n\n", [SseEvent("", b"x")]),
        (b"data:x\n\n", [SseEvent("", b"x")]),
        (b"data:  x\n\n", [SseEvent("", b" x")]),
        (b"event: ping\ndata: {}\n\n", [SseEvent("ping", b"{}")]),
        (b"event: ping\r\ndata: {}\r\n\r\n", [SseEvent("ping", b"{}")]),
        (b"event: ping\rdata: {}\r\r", [SseEvent("ping", b"{}")]),
        (b"data: a\ndata: b\n\n", [SseEvent("", b"a\nb")]),
        (b": comment\n\n", []),
        (b"data:\n\n", []),
        (b"event: ping\n\n", []),
        (b"\n\n\n", []),
    ],
)
def test_events_are_read_as_the_standard_says(block: bytes, expected: list[SseEvent]) -> None:
    assert events(block) == expected


def test_an_event_without_end_is_not_held_for_ever() -> None:
    splitter = EventSplitter()
    for _ in range(MAX_EVENT_BYTES // 2**16):
        assert splitter.feed(b"x" * 2**16) == b""
    with pytest.raises(EventTooLargeError):
        splitter.feed(b"x")
