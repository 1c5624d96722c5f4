"""Event streams: bytes in, whole events out, every byte kept (WHATWG HTML section 9.2, "Server-sent events").

The relay passes on whole events only, so that a stream which is cut can still be ended with a valid error event.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate_sidecar.dialects.base import Event

MAX_EVENT_BYTES: Final = 32 * 2**20
"""Whoever sends more than this without a blank line sends no events. Images and audio come in events of some megabytes."""

LARGE_EVENT_BYTES: Final = 512 * 2**10
MAX_LARGE_EVENT_VALUES: Final = 200_000
"""How many commas and opening brackets a large event may have. Each is a value to whoever parses it, which happens in one go;
what makes real events large are long strings."""

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 13
_LF: Final = 10
_BLANK_LINE: Final = re.compile(rb"[\r\n](?:(?<=\r)\n)?+(?:\r\n?|\n)")
"""The end of a line and an empty line. CR LF is one end of a line, never two."""

_NOTHING: Final = re.compile(rb"(?>(?:(?::[^\r\n]*+)?(?:\r\n?|\n))*)")
"""Comments and blank lines."""
_LONG_NOTHING_BYTES: Final = 256
"""So many bytes of them are one event: each by itself would cost as much as an event that says something."""

_OVERLAP: Final = 3
"""Bytes that are searched again when more come: all of CR LF CR LF but its last."""

_BEGIN_NOTHING: Final = b":\r\n"
_DATA: Final = b"data: "
_EVENT: Final = b"event: "


class EventTooLargeError(ValueError):
    """An event is larger than the bound of its splitter, or holds too many values."""


class EventSplitter:
    """Cuts one stream into its events, wherever the network cut it.

    An event reaches to the end of the blank line after it; blank lines before an event belong to it. The bytes of all
    events, one after the other, are the bytes of the stream. Lines end with LF, CR or CR LF, in any mix.
    """

    __slots__ = ("_has_begun", "_has_cr", "_held", "_max_event_bytes", "_values")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Hold at most `max_event_bytes` of an event that is not whole yet, and up to one piece more."""
        self._max_event_bytes = max_event_bytes
        self._held = bytearray()
        self._values = 0  # of what is held, once that is large
        self._has_cr = False
        self._has_begun = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the event that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return the events that are whole now.

        Raises:
            EventTooLargeError: an event is larger than the bound, or holds too many values. The stream cannot be read any further.
        """
        if _CR in data:
            self._has_cr = True
        held = self._held
        if not held:
            return self._split(data)
        searched = max(0, len(held) - _OVERLAP)
        held += data  # in place: a piece costs its own bytes, not those of the event before it
        if len(held) > LARGE_EVENT_BYTES:
            self._check_values(data)
        if not self._end_of_event(held, searched):
            self._check_size(len(held))
            return []
        joined = bytes(held)
        held.clear()
        self._values = 0
        return self._split(joined)

    def end(self) -> list[Event]:
        """What follows the last blank line when the body has ended: one event or none.

        It may be half an event. What a reader cannot read of it says only that the stream was cut.
        """
        if not self._held:
            return []
        rest = bytes(self._held)
        self._held.clear()
        return [self._read(rest)]

    def _split(self, data: bytes) -> list[Event]:
        """The events in `data`, which begins with one. What is left is held."""
        events: list[Event] = []
        common_event = _crlf_event if self._has_cr else _lf_event
        begin = 0
        while begin < len(data):
            event = common_event(data, begin) if self._has_begun else None
            if event is None:
                nothing = _NOTHING.match(data, begin) if data[begin] in _BEGIN_NOTHING else None
                if nothing is not None and nothing.end() - begin >= _LONG_NOTHING_BYTES:
                    events.append((nothing[0], b"", b""))
                    begin = nothing.end()
                    continue
                end = self._end_of_event(data, begin)
                if not end:
                    self._check_size(len(data) - begin)
                    self._held += data[begin:]
                    break
                event = self._read(data[begin:end])
            events.append(event)
            size = len(event[0])
            self._check_size(size)
            begin += size
        return events

    def _end_of_event(self, data: bytes | bytearray, start: int) -> int:
        """Where the first blank line from `start` on ends; 0: there is none yet."""
        if self._has_cr:
            found = _BLANK_LINE.search(data, start)
            return found.end() if found else 0
        at = data.find(b"\n\n", start)
        return at + 2 if at >= 0 else 0

    def _read(self, raw: bytes) -> Event:
        text = raw if self._has_begun else raw.removeprefix(_BOM)
        self._has_begun = True
        name = b""
        data: list[bytes] = []
        for line in text.splitlines():  # of bytes: at LF, CR and CR LF alone
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
        return raw, name, b"\n".join(data)

    def _check_values(self, data: bytes) -> None:
        """Count the values of what is held, to which `data` was added last."""
        added = data if self._values else self._held
        self._values += 1 + added.count(b",") + added.count(b"[") + added.count(b"{")
        if self._values > MAX_LARGE_EVENT_VALUES:
            raise EventTooLargeError(
                f"an event of the stream has more than {MAX_LARGE_EVENT_VALUES} values, and {LARGE_EVENT_BYTES} bytes"
            )

    def _check_size(self, event_bytes: int) -> None:
        if event_bytes > self._max_event_bytes:
            raise EventTooLargeError(f"an event of the stream is larger than {self._max_event_bytes} bytes")


def _lf_event(data: bytes, begin: int) -> Event | None:
    """The event at `begin`, if it is data of one line, or a name and data of one line, with LF alone in all of `data`.

    Nearly all events are. None: it has to be read line by line.
    """
    end = data.find(_LF, begin)
    if end < 0:
        return None
    if data.startswith(_DATA, begin):
        if data[end + 1 : end + 2] == b"\n":
            return data[begin : end + 2], b"", data[begin + 6 : end]
    elif data.startswith(_EVENT, begin) and data.startswith(_DATA, end + 1):
        line_end = data.find(_LF, end + 7)
        if line_end >= 0 and data[line_end + 1 : line_end + 2] == b"\n":
            return data[begin : line_end + 2], data[begin + 7 : end], data[end + 7 : line_end]
    return None


def _crlf_event(data: bytes, begin: int) -> Event | None:
    """The same for data of one line with CR LF, as some frameworks for servers write it."""
    end = data.find(_CR, begin)
    if (
        data.startswith(_DATA, begin)
        and data[end : end + 4] == b"\r\n\r\n"
        and data.find(_LF, begin, end) < 0
    ):
        return data[begin : end + 4], b"", data[begin + 6 : end]
    return None
