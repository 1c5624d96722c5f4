"""A body that is passed on while it arrives, within a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.messages.upload import WHOLE, Body, Upload


class Transport:
    """Takes pieces, and pauses the upload at each that it is told to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ends: list[str] = []
        self.upload: Body | None = None
        self.pauses_after = -1

    def write(self, piece: bytes) -> None:
        self.written.append(piece)
        if self.upload is not None and len(self.written) == self.pauses_after:
            self.upload.pause()


def make(max_buffered_bytes: int = 10) -> tuple[Upload, Transport, list[str]]:
    rooms: list[str] = []
    upload = Upload(max_buffered_bytes, lambda: rooms.append("room"), length_bytes=None)
    transport = Transport()
    transport.upload = upload
    return upload, transport, rooms


def test_pieces_are_written_as_they_are_fed() -> None:
    upload, transport, _ = make()
    upload.start(transport.write, transport.ends.append)
    upload.feed(b"one")
    assert transport.written == [b"one"]
    upload.feed(b"two")
    upload.finish()
    assert transport.written == [b"one", b"two"]
    assert transport.ends == [WHOLE]


def test_what_was_fed_before_the_start_is_written_at_the_start() -> None:
    upload, transport, _ = make()
    upload.feed(b"one")
    upload.finish()
    assert upload.is_repeatable
    upload.start(transport.write, transport.ends.append)
    assert (transport.written, transport.ends) == ([b"one"], [WHOLE])
    assert not upload.is_repeatable


def test_an_empty_upload_ends_whole() -> None:
    upload, transport, _ = make()
    upload.start(transport.write, transport.ends.append)
    upload.finish()
    assert (transport.written, transport.ends) == ([], [WHOLE])


def test_a_full_upload_is_not_fed_until_there_is_room() -> None:
    upload, transport, rooms = make(max_buffered_bytes=6)
    upload.feed(b"four")
    assert not upload.is_full
    upload.feed(b"four")
    assert upload.is_full
    with pytest.raises(BufferError):
        upload.feed(b"more")
    assert upload.buffered_bytes == 8
    upload.start(transport.write, transport.ends.append)
    assert rooms == ["room"]
    assert upload.buffered_bytes == 0


def test_a_paused_upload_writes_nothing_and_goes_on_where_it_stopped() -> None:
    upload, transport, rooms = make(max_buffered_bytes=4)
    upload.start(transport.write, transport.ends.append)
    transport.pauses_after = 1
    upload.feed(b"one")
    upload.feed(b"two")
    upload.feed(b"three")
    upload.finish()
    assert transport.written == [b"one"]
    assert upload.is_full
    transport.pauses_after = 2
    upload.resume()
    assert transport.written == [b"one", b"two"]
    assert transport.ends == []
    upload.resume()
    assert transport.written == [b"one", b"two", b"three"]
    assert transport.ends == [WHOLE]
    assert rooms == []  # nothing more is fed after the end


def test_a_failure_is_told_at_once_and_drops_what_is_left() -> None:
    upload, transport, _ = make()
    upload.start(transport.write, transport.ends.append)
    upload.pause()
    upload.feed(b"one")
    upload.fail("the application is gone")
    assert (transport.written, transport.ends) == ([], ["the application is gone"])
    assert upload.buffered_bytes == 0
    upload.feed(b"late")
    upload.fail("again")
    upload.finish()
    upload.resume()
    assert (transport.written, transport.ends) == ([], ["the application is gone"])


def test_a_failure_before_the_start_is_told_at_the_start() -> None:
    upload, transport, _ = make()
    upload.fail("the application is gone")
    upload.fail("again")
    upload.start(transport.write, transport.ends.append)
    assert (transport.written, transport.ends) == ([], ["the application is gone"])


def test_nothing_is_fed_after_the_end() -> None:
    upload, _, _ = make()
    upload.finish()
    with pytest.raises(BufferError):
        upload.feed(b"more")


def test_whoever_feeds_when_told_of_room_keeps_the_order() -> None:
    pieces = [bytes([number]) for number in range(50)]

    def feed() -> None:
        while pieces and not upload.is_full:
            upload.feed(pieces.pop(0))

    upload = Upload(3, feed)
    written: list[bytes] = []

    def write(piece: bytes) -> None:
        written.append(piece)
        upload.pause()

    feed()
    upload.start(write, lambda _: None)
    while len(written) < 50:
        upload.resume()
    assert b"".join(written) == bytes(range(50))


@given(steps=st.lists(st.sampled_from(["feed", "pause", "resume", "start", "finish", "fail"]), max_size=40))
def test_in_any_order_of_events_the_bound_holds_and_the_end_is_told_once(steps: list[str]) -> None:
    upload, transport, _ = make(max_buffered_bytes=3)
    transport.upload = None
    fed = bytearray()
    is_over = is_started = False
    for number, step in enumerate(steps):
        if step == "feed" and not is_over and not upload.is_full:
            upload.feed(bytes([number, number]))
            fed += bytes([number, number])
        elif step == "pause":
            upload.pause()
        elif step == "resume":
            upload.resume()
        elif step == "start" and not is_started:
            is_started = True
            upload.start(transport.write, transport.ends.append)
        elif step == "finish":
            is_over = True
            upload.finish()
        elif step == "fail":
            is_over = True
            upload.fail("gone")
        assert upload.buffered_bytes <= 3 + 2
        assert fed.startswith(b"".join(transport.written))
    assert len(transport.ends) <= 1
    if transport.ends == [WHOLE]:
        assert b"".join(transport.written) == fed
