"""A stream of events on its way: held up to its first content, then passed on as it comes, each event whole.

Only the dialect judges what events mean; this module knows when the application may see them, how long one waits for the
next, and how a stream ends that breaks off: with an error event in the caller's dialect, for which an SDK raises an error.
It would take silence for a whole answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tidegate_sidecar.dialects.base import Event, Judged, UnreadableError
from tidegate_sidecar.dialects.sse import EventSplitter, EventTooLargeError
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.failure import (
    Failure,
    error_in_stream,
    incomplete,
    no_room,
    timed_out,
    unreadable,
)
from tidegate_sidecar.proxy.headers import labelled
from tidegate_sidecar.proxy.holding import SMALL_BYTES
from tidegate_sidecar.proxy.redact import StreamRedactor
from tidegate_sidecar.proxy.rest import PushedRest

if TYPE_CHECKING:
    from tidegate_sidecar.dialects.base import RawHeaders
    from tidegate_sidecar.proxy.attempt import Attempt

OPENING_BYTES: Final = 64 * 2**10
"""How much of a stream is held before its first content; more than that commits to it."""

SIGN_OF_LIFE_NS: Final = 15_000_000_000
"""After so long without content the application is told that the stream lives, if nobody else could answer any more."""

LAST_WORDS_NS: Final = 5_000_000_000
"""How long a provider may go on after an event that says that it failed."""

LOOK_AGAIN_NS: Final = SIGN_OF_LIFE_NS // 10
"""How soon after that it is looked again whether somebody else could."""

_MS_NS: Final = 1_000_000

_FIELD: Final = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n])(?::|(?:data|event|id|retry)(?:[:\r\n]|\Z))")
"""A comment or a field of an event: what no event stream is without."""


class StreamBody(PushedRest):
    """Reads one stream."""

    __slots__ = (
        "_counted_bytes",
        "_headers",
        "_idle_ns",
        "_is_committed",
        "_is_held",
        "_is_slow",
        "_opening",
        "_opening_bytes",
        "_ping_ns",
        "_reader",
        "_redactor",
        "_splitter",
        "_stream_due_ns",
    )

    def __init__(self, attempt: Attempt, headers: RawHeaders) -> None:
        super().__init__(attempt)
        asker = attempt.asker
        timeouts = asker.timeouts
        self._headers = headers
        self._splitter = EventSplitter(asker.max_answer_bytes)
        reader = attempt.reader = attempt.stream_reader()
        assert reader is not None, "a stream is asked for where one can be read"  # noqa: S101 - a programming error
        self._reader = reader
        self._redactor = StreamRedactor(attempt.secrets) if attempt.secrets else None
        self._is_committed = False
        self._is_held = self._is_slow = False  # by a rule; by the application
        self._opening: list[bytes] = []
        self._opening_bytes = self._counted_bytes = 0
        self._idle_ns = timeouts.stream_idle_ms * _MS_NS
        self._stream_due_ns = attempt.stream_due_ns
        self._ping_ns = asker.called_ns + SIGN_OF_LIFE_NS
        attempt.due_ns = min(attempt.opening_due_ns, self._ping_ns)

    # what the attempt says

    def on_piece(self, piece: bytes) -> None:
        if self._redactor is not None:
            piece = self._redactor.feed(piece)
        try:
            events = self._splitter.feed(piece)
        except EventTooLargeError as error:
            self._end_by(unreadable(str(error), self._attempt.status))
            return
        if events:
            if self._counted_bytes:
                self._count(0)
            self._read(events)
        elif (held_bytes := self._splitter.held_bytes) > SMALL_BYTES and not self._count(held_bytes):
            self._end_by(no_room("an event of its stream", self._attempt.status))
        elif piece.startswith(b":") and self._is_committed:
            self._renew(self._attempt.asker.now_ns())  # a comment, without the blank line that ends an event

    def _count(self, held_bytes: int) -> bool:
        """Hold so many bytes of the event that is not whole yet, among all that calls hold; False: there is no room."""
        more = held_bytes - self._counted_bytes
        if more > 0 and not self._attempt.asker.hold.grow(more):
            return False
        if more < 0:
            self._attempt.asker.hold.shrink(-more)
        self._counted_bytes = held_bytes
        return True

    def on_end(self) -> None:
        if self._redactor is not None and (held := self._redactor.finish()):
            self.on_piece(held)
        for event in self._splitter.end():
            self._read_last(event)
        if self._is_ended or self._attempt.begun.done() is not self._is_committed:
            return  # what came last has ended it
        if not self._reader.may_end:
            self._end_by(self._half())
        else:
            self._finish()

    def on_failure(self, failure: Failure) -> None:
        self._end_by(failure)

    def on_due(self, now_ns: int) -> None:
        attempt = self._attempt
        timeouts = attempt.asker.timeouts
        if self._is_committed and self._reader.may_end and attempt.failure is None:
            attempt.drop()
            self.end(b"")  # all of the answer has come, and the provider does not end the body
        elif now_ns >= self._stream_due_ns:
            self._end_by(timed_out("the stream was not over", timeouts.stream_ms, "stream"))
        elif attempt.first_content_ns is not None:
            self._end_by(timed_out("nothing more came", timeouts.stream_idle_ms, "streamIdle"))
        elif now_ns >= attempt.opening_due_ns:
            self._end_by(attempt.overdue(now_ns))
        else:
            self._show_life(now_ns)

    # what deliver does, beside `start`

    def pause(self) -> None:
        """Hold the provider back; as long as it is the application who is slow, no event is late."""
        self._is_slow = True
        self._hold_back()

    def resume(self) -> None:
        self._is_slow = False
        self._go_on()

    def _hold_back(self) -> None:
        super().pause()
        self._attempt.due_ns = self._stream_due_ns

    def _go_on(self) -> None:
        if not (self._is_slow or self._is_held or self._is_ended):
            super().resume()
            self._renew(self._attempt.asker.now_ns())

    # events

    def _read(self, events: list[Event]) -> None:
        attempt, reader = self._attempt, self._reader
        problem: Failure | None = None
        at = 0
        try:
            for event in events:
                if event[2]:
                    reader.read(event)
                at += 1
        except UnreadableError as error:
            label = labelled(self._headers, attempt.encoding)
            problem = unreadable(f"its stream, {label}, holds {error}", attempt.status)
            events = events[:at]
        self._take(events)
        if problem is not None and not self._is_ended:
            self._end_by(problem)

    def _read_last(self, event: Event) -> None:
        """What follows the last blank line: an event that nothing but the end of the body ends, or half of one."""
        raw, name, data = event
        try:
            if data:
                self._reader.read(event)
        except UnreadableError:
            return  # half of one says only that the stream was cut
        if not self._reader.may_end:
            raw += b"\n" if raw.endswith(b"\n") else b"\n\n"  # an event of ours follows
        self._take([(raw, name, data)])

    def _take(self, events: list[Event]) -> None:
        """Note what these events, which have been read, are the first of, and show them."""
        attempt, reader = self._attempt, self._reader
        now_ns = attempt.asker.now_ns()
        if attempt.first_event_ns is None and reader.failure is None and any(event[2] for event in events):
            attempt.first_event_ns = now_ns
            attempt.on_first_event(now_ns)
        if attempt.first_content_ns is None and reader.has_content:
            attempt.first_content_ns = now_ns
        self._show(events, now_ns)

    def _half(self) -> Failure:
        """What a stream is that was ended properly, and its answer was not."""
        attempt = self._attempt
        if attempt.first_content_ns is not None:
            return incomplete("its stream ended without the last event", attempt.status)
        said = b"".join(self._opening).strip()
        if self._is_committed or not said or _FIELD.search(said):
            return incomplete("its stream ended before it said anything", attempt.status)
        came = f"{len(said)} bytes {labelled(self._headers, attempt.encoding)}"
        return unreadable(f"it answered with {came}, where a stream of events was expected", attempt.status)

    def _show(self, events: list[Event], now_ns: int) -> None:
        """Pass events on, or hold them while the application has seen nothing."""
        data = events[0][0] if len(events) == 1 else b"".join([it[0] for it in events])
        reader = self._reader
        if not self._is_committed:
            self._opening.append(data)
            self._opening_bytes += len(data)
            self._consider(now_ns)
            return
        if reader.failure is not None and self._attempt.failure is None:
            self._note_failure(reader.failure, now_ns)
        if reader.is_complete:
            self.end(data)
            self._attempt.finish_early(now_ns)
        else:
            self._renew(now_ns)
            self.push(data)

    def _note_failure(self, judged: Judged, now_ns: int) -> None:
        """The provider's own event tells the application. What it says behind it, mostly the mark of the end, goes on too."""
        self._attempt.failure = error_in_stream(judged, self._attempt.status)
        self._stream_due_ns = min(self._stream_due_ns, now_ns + LAST_WORDS_NS)

    def _consider(self, now_ns: int) -> None:
        """Whether this answer is the one."""
        attempt, reader = self._attempt, self._reader
        if reader.failure is not None:
            words = Answer(attempt.status, self._headers, b"".join(self._opening))
            attempt.fail(error_in_stream(reader.failure, attempt.status, words))
        elif reader.is_complete:
            self._commit_whole()
            attempt.finish_early(now_ns)
        elif reader.has_content or self._opening_bytes > OPENING_BYTES:
            self._commit(now_ns)

    def _commit(self, now_ns: int) -> None:
        self._is_committed = True
        first = b"".join(self._opening)
        self._opening.clear()
        self._renew(now_ns)
        self._attempt.commit(Answer(self._attempt.status, self._headers, first, self))

    def _commit_whole(self) -> None:
        """All of it is there already."""
        self._is_ended = True
        self._attempt.asker.ticker.discard(self._attempt)
        self._attempt.commit(Answer(self._attempt.status, self._headers, b"".join(self._opening)))

    def _finish(self) -> None:
        """The body has ended, and the answer is whole."""
        if self._is_committed:
            self.end(b"")
        else:
            self._commit_whole()

    def _end_by(self, failure: Failure) -> None:
        """It breaks off."""
        if not self._is_committed:
            self._attempt.fail(failure)
        elif not self._is_ended:
            attempt = self._attempt
            attempt.drop()
            if attempt.failure is None:
                attempt.failure = failure
                self.end(attempt.asker.cut_event(failure))
            else:
                self.end(b"")  # the provider has said why

    # time

    def _renew(self, now_ns: int) -> None:
        """An event or a comment is a sign of life of the provider."""
        attempt = self._attempt
        if self._is_slow or self._is_held:
            attempt.due_ns = self._stream_due_ns
        elif attempt.first_content_ns is None:
            attempt.due_ns = min(attempt.opening_due_ns, self._ping_ns)
        else:
            attempt.due_ns = min(self._stream_due_ns, now_ns + self._idle_ns)

    def _show_life(self, now_ns: int) -> None:
        """Tell the application that the stream lives, which commits to it."""
        attempt = self._attempt
        if not (self._is_committed or attempt.may_show_life):
            self._ping_ns = now_ns + LOOK_AGAIN_NS
            self._renew(now_ns)
            return
        self._ping_ns = now_ns + SIGN_OF_LIFE_NS
        if self._is_committed:
            self._renew(now_ns)
            self.push(attempt.asker.ping)
        else:
            self._opening.append(attempt.asker.ping)
            self._commit(now_ns)
