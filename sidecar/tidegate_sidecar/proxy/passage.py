"""An attempt that is let through: whatever comes back is the answer, and what can be read of it is read in passing."""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.dialects.base import RawHeaders, UnreadableError
from tidegate_sidecar.dialects.sse import EventSplitter, EventTooLargeError
from tidegate_sidecar.proxy.answer_bodies import PassingBody, WholeBody
from tidegate_sidecar.proxy.attempt import Attempt
from tidegate_sidecar.proxy.failure import timed_out
from tidegate_sidecar.proxy.headers import media_type, value_of
from tidegate_sidecar.proxy.holding import SMALL_BYTES
from tidegate_sidecar.proxy.redact import headers_without

_EVENT_STREAM: Final = b"text/event-stream"
_MS_NS: Final = 1_000_000


class Passage(Attempt):
    """One request that goes out as it is."""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        kept = headers_without(self.secrets, headers)
        is_encoded = value_of(kept, b"content-encoding").lower() not in (b"", b"identity")
        if media_type(kept) == _EVENT_STREAM:
            self._body = PassingBody(self, kept) if is_encoded else _PassingEvents(self, kept)
        else:
            self._body = WholeBody(self, kept, is_encoded=is_encoded, is_error=False)


class _PassingEvents(PassingBody):
    """Each piece at once, as it came; what cannot be understood ends the reading and nothing else."""

    __slots__ = ("_counted_bytes", "_idle_ns", "_splitter")

    def __init__(self, attempt: Attempt, headers: RawHeaders) -> None:
        super().__init__(attempt, headers)
        attempt.reader = attempt.stream_reader()
        self._splitter: EventSplitter | None = None
        if attempt.reader is not None:
            self._splitter = EventSplitter(attempt.asker.max_answer_bytes)
        self._counted_bytes = 0
        self._idle_ns = attempt.asker.timeouts.stream_idle_ms * _MS_NS
        self._renew()

    def on_piece(self, piece: bytes) -> None:
        self._renew()
        self._read(piece)
        super().on_piece(piece)

    def pause(self) -> None:
        """As long as it is the application who is slow, nothing of the provider is late."""
        super().pause()
        self._attempt.due_ns = self._attempt.stream_due_ns

    def resume(self) -> None:
        super().resume()
        self._renew()

    def on_due(self, now_ns: int) -> None:
        timeouts = self._attempt.asker.timeouts
        if now_ns >= self._attempt.stream_due_ns:
            self.on_failure(timed_out("the stream was not over", timeouts.stream_ms, "stream"))
        else:
            self.on_failure(timed_out("nothing more came", timeouts.stream_idle_ms, "streamIdle"))

    def _renew(self) -> None:
        now_ns = self._attempt.asker.now_ns()
        if self._attempt.first_event_ns is None:
            self._attempt.first_event_ns = now_ns
        self._attempt.due_ns = min(self._attempt.stream_due_ns, now_ns + self._idle_ns)

    def _read(self, piece: bytes) -> None:
        if self._splitter is None:
            return
        reader = self._attempt.reader
        assert reader is not None, "made with this body"  # noqa: S101 - a programming error
        try:
            for event in self._splitter.feed(piece):
                if event[2]:
                    reader.read(event)
        except (EventTooLargeError, UnreadableError):
            self._splitter = None
        else:
            self._count(self._splitter.held_bytes)

    def _count(self, held_bytes: int) -> None:
        """Hold what is read of an event that is not whole yet, as far as there is room for it."""
        held_bytes = held_bytes if held_bytes > SMALL_BYTES else 0
        hold, more = self._attempt.asker.hold, held_bytes - self._counted_bytes
        if more > 0 and not hold.grow(more):
            held_bytes, self._splitter = 0, None
            more = -self._counted_bytes
        if more < 0:
            hold.shrink(-more)
        self._counted_bytes = held_bytes
