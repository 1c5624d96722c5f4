"""Server-sent events: bytes in, whole events out (WHATWG HTML section 9.2, "Server-sent events").

The relay passes on whole events only, so that a stream which is cut can still be ended with a valid error event.
"""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.providers.base import SseEvent

MAX_EVENT_BYTES: Final = 4 * 2**20
"""An event that grows beyond this is no event; the stream is ended with an error instead of being held."""


class EventTooLargeError(ValueError):
    """A provider sent more than `MAX_EVENT_BYTES` without ending the event."""


class EventSplitter:
    """Cuts a byte stream after each blank line.

    `feed` returns the bytes of all events that are whole now, exactly as they came, and keeps the rest.
    """

    __slots__ = ("_held", "_searched")

    def __init__(self) -> None:
        self._held = bytearray()
        self._searched = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of the event that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return those of the events they complete, empty when none.

        Raises:
            EventTooLargeError: the event in progress is larger than `MAX_EVENT_BYTES`.
        """
        if not self._held and data.endswith((b"\n\n", b"\r\n\r\n")):
            return data  # the usual case: a provider writes whole events
        held = self._held
        held += data
        # The end of an event may lie across two pieces: look again at the three bytes before this one.
        start = max(0, self._searched - 3)
        end = max(
            _after(held, b"\n\n", start), _after(held, b"\r\n\r\n", start), _after(held, b"\r\r", start)
        )
        if end <= 0:
            self._searched = len(held)
            if len(held) > MAX_EVENT_BYTES:
                raise EventTooLargeError(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes")
            return b""
        whole = bytes(held[:end])
        del held[:end]
        self._searched = len(held)
        return whole


def _after(held: bytearray, mark: bytes, start: int) -> int:
    at = held.rfind(mark, start)
    return at + len(mark) if at >= 0 else -1


def events(whole: bytes) -> list[SseEvent]:
    """The events in bytes that `EventSplitter.feed` returned; comments and events without data are left out."""
    found = []
    for block in _blocks(whole):
        name = ""
        data = []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
        if joined := b"\n".join(data):
            found.append(SseEvent(name, joined))
    return found


def _blocks(whole: bytes) -> list[bytes]:
    if b"\r" in whole:
        whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return [block for block in whole.split(b"\n\n") if block]
