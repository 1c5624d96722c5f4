"""Event streams, cut anywhere: WHATWG HTML section 9.2.6."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects.base import Event
from tidegate_sidecar.dialects.sse import (
    LARGE_EVENT_BYTES,
    MAX_LARGE_EVENT_VALUES,
    EventSplitter,
    EventTooLargeError,
)

LINE = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"data:  x ",
        b"data",
        b"event: ping",
        b"event:",
        b": comment",
        b"id: 7",
        b"x",
        b":",
    ]
)
END = st.sampled_from([b"\n", b"\r\n", b"\r"])
BOM = b"\xef\xbb\xbf"


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Events of all forms, each line with an end of its own, blank lines between them and more, perhaps no last one."""
    lines = draw(st.lists(st.one_of(LINE, st.just(b"")), max_size=24))
    return (
        draw(st.sampled_from([b"", BOM]))
        + b"".join(line + draw(END) for line in lines)
        + draw(st.just(b"") | LINE)
    )


@st.composite
def pieces(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def split(stream: list[bytes]) -> list[Event]:
    splitter = EventSplitter()
    found = [event for piece in stream for event in splitter.feed(piece)]
    return [*found, *splitter.end()]


def told(events: list[Event]) -> list[tuple[bytes, bytes]]:
    return [(name, data) for _, name, data in events if data]


def by_the_standard(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Name and data of each event with data, by the standard's algorithm, line by line; the last needs no blank line."""
    found: list[tuple[bytes, bytes]] = []
    name, data = b"", list[bytes]()
    for line in [*re.split(rb"\r\n|\r|\n", stream.removeprefix(BOM)), b""]:
        if not line:
            if joined := b"\n".join(data):
                found.append((name, joined))
            name, data = b"", []
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)
        elif field == b"event":
            name = value[1:] if value.startswith(b" ") else value
    return found


@given(st.data())
def test_any_cutting_of_any_stream_gives_its_bytes_and_its_events(data: st.DataObject) -> None:
    stream = data.draw(streams())
    found = split(data.draw(pieces(stream)))
    assert b"".join(raw for raw, _, _ in found) == stream
    assert told(found) == by_the_standard(stream)


@given(st.lists(st.binary(max_size=40) | st.text("\r\n:da e", max_size=8).map(str.encode), max_size=10))
def test_any_bytes_come_out_as_they_went_in(stream: list[bytes]) -> None:
    assert b"".join(raw for raw, _, _ in split(stream)) == b"".join(stream)


@given(st.data())
def test_an_event_is_given_out_with_the_piece_that_ends_it(data: st.DataObject) -> None:
    """Nothing is held but what no blank line has followed yet, so a provider that pauses between events holds up none."""
    blank = re.compile(rb"(?>\r\n|\r|\n)(?:\r\n|\r|\n)")
    splitter, passed, fed = EventSplitter(), 0, b""
    for piece in data.draw(pieces(data.draw(streams()))):
        passed += sum(len(raw) for raw, _, _ in splitter.feed(piece))
        fed += piece
        assert splitter.held_bytes == len(fed) - passed
        assert not blank.search(fed, passed)


@pytest.mark.parametrize(
    ("block", "name", "data"),
    [
        (b"data: x\n\n", b"", b"x"),
        (b"data:x\n\n", b"", b"x"),
        (b"data:  x \n\n", b"", b" x "),
        (b"event: ping\ndata: {}\n\n", b"ping", b"{}"),
        (b"event:ping\ndata:{}\n\n", b"ping", b"{}"),
        (b"data: {}\nevent: ping\n\n", b"ping", b"{}"),
        (b"event: ping\r\ndata: {}\r\n\r\n", b"ping", b"{}"),
        (b"event: ping\rdata: {}\r\r", b"ping", b"{}"),
        (b"data: x\n\r\n", b"", b"x"),
        (b"data: x\r\n\n", b"", b"x"),
        (b"data: x\r\n\r", b"", b"x"),
        (b"data: x\r\n\r\n", b"", b"x"),
        (b"data: a\ndata: b\n\n", b"", b"a\nb"),
        (b"data: a\n: comment\nid: 7\nretry: 5\nnothing\ndata: b\n\n", b"", b"a\nb"),
        (b"\n\ndata: x\n\n", b"", b"x"),
        (b"datas: x\n\n", b"", b""),
        (b": comment\n\n", b"", b""),
        (b"data:\n\n", b"", b""),
        (b"event: ping\n\n", b"ping", b""),
    ],
)
def test_an_event_is_read_as_the_standard_says(block: bytes, name: bytes, data: bytes) -> None:
    """Also behind another event, where the common forms are read at once."""
    for before in (b"", b"data: before\n\n", b": before\r\n\r\n"):
        splitter = EventSplitter()
        splitter.feed(before)
        events = splitter.feed(block)
        assert b"".join(raw for raw, _, _ in events) == block
        assert events[-1][1:] == (name, data)
        assert splitter.held_bytes == 0


def test_many_events_in_one_piece_are_each_given_out() -> None:
    block = b"data: 1\n\nevent: a\ndata: 2\n\n\n\ndata: 3\n\ndata: fo"
    splitter = EventSplitter()
    assert told(splitter.feed(block)) == [(b"", b"1"), (b"a", b"2"), (b"", b"3")]
    assert splitter.feed(b"ur\n\n") == [(b"data: four\n\n", b"", b"four")]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_byte_order_mark_is_no_part_of_the_first_name_and_is_passed_on(cut: int) -> None:
    stream = BOM + b"data: x\n\n"
    assert split([stream[:cut], stream[cut:]]) == [(stream, b"", b"x")]


def test_a_later_byte_order_mark_is_a_part_of_its_line() -> None:
    assert told(split([b"data: x\n\n" + BOM + b"data: y\n\n"])) == [(b"", b"x")]


def test_the_last_event_of_a_body_needs_no_blank_line() -> None:
    for last in (b"data: [DONE]\n", b"data: [DONE]"):
        splitter = EventSplitter()
        assert splitter.feed(last) == []
        assert splitter.end() == [(last, b"", b"[DONE]")]
        assert (splitter.held_bytes, splitter.end()) == (0, [])


def test_an_event_of_many_megabytes_in_small_pieces_is_one_event() -> None:
    large = b"data: " + b"x" * 8 * 2**20
    splitter = EventSplitter()
    for start in range(0, len(large), 512):
        assert splitter.feed(large[start : start + 512]) == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\n") == [(large + b"\n\n", b"", large[6:])]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(st.data())
def test_what_is_larger_than_the_bound_is_refused_however_it_is_cut(end: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(30, 60))
    stream = b"data: x" + end + end + b"data: " + b"x" * (size - 6 - 2 * len(end)) + end + end
    splitter, refusal = EventSplitter(max_event_bytes=45), ""
    try:
        for piece in data.draw(pieces(stream)):
            splitter.feed(piece)
            assert splitter.held_bytes <= 45
    except EventTooLargeError as error:
        refusal = str(error)
    if abs(size - 45) > 1:  # a cut within CR LF gives the LF to the next event
        assert refusal == ("an event of the stream is larger than 45 bytes" if size > 45 else "")


@pytest.mark.parametrize("piece", [100_000, 600_000])
@pytest.mark.parametrize("value", [b"[],", b"1,", b"{},"])
def test_a_large_event_may_not_be_made_of_very_many_values(value: bytes, piece: int) -> None:
    """It is parsed in one go, while everybody else waits; a picture or a long text has few of them."""
    for count, is_refused in ((MAX_LARGE_EVENT_VALUES // 3, False), (3 * MAX_LARGE_EVENT_VALUES, True)):
        event = b"data: [" + value * count + b'"' + b"x" * LARGE_EVENT_BYTES + b'"]\n\n'
        splitter, refusal, events = EventSplitter(), "", []
        try:
            for at in range(0, len(event), piece):
                events += splitter.feed(event[at : at + piece])
        except EventTooLargeError as error:
            refusal = str(error)
        assert ("values" in refusal) is is_refused
        assert [it[0] for it in events] == ([] if is_refused else [event])


@pytest.mark.parametrize("nothing", [b"\n", b"\r\n", b": hello\n\n", b":\r", b":\n"])
def test_a_flood_of_comments_and_blank_lines_is_a_few_events(nothing: bytes) -> None:
    flood = nothing * 50_000
    said = b"data: x\n\n"
    splitter = EventSplitter()
    events = splitter.feed(said + flood) + splitter.feed(flood + said) + splitter.feed(said) + splitter.end()
    assert len(events) < 10
    assert b"".join(it[0] for it in events) == said + flood + flood + said + said
    assert [it[2] for it in events if it[2]] == [b"x"] * 3
