"""Streams that a rule looks at: event by event, or as a whole. No other stream knows of this.

Theory of operation. A filter of events says at once what becomes of them, or that it has to be decided first. Then the
provider is held back, what it has sent already waits in a queue, and the coroutine of the call awaits the decision: before
the commit point in place of the answer (`Undecided`), behind it in `over`. It is cancelled with the call, and where the stream
ends meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tidegate_sidecar.dialects.base import Event, RawHeaders
from tidegate_sidecar.proxy.failure import Failure, error_in_stream, not_judged
from tidegate_sidecar.proxy.filters import AnswerFilter, Emit, End, Hold
from tidegate_sidecar.proxy.stream_body import OPENING_BYTES, StreamBody

if TYPE_CHECKING:
    from tidegate_sidecar.proxy.attempt import Attempt


def stream_of(attempt: Attempt, headers: RawHeaders) -> StreamBody:
    """What reads the stream that answers `attempt`."""
    rule = attempt.filter
    if rule is None:
        return StreamBody(attempt, headers)
    return JudgedStream(attempt, headers) if rule.needs_whole else FilteredStream(attempt, headers, rule)


class JudgedStream(StreamBody):
    """Held to its end, within the bound of a whole answer: a rule judges it before anything is delivered."""

    __slots__ = ()

    def _consider(self, now_ns: int) -> None:
        attempt, reader = self._attempt, self._reader
        asker, size = attempt.asker, self._opening_bytes
        if reader.failure is not None:
            super()._consider(now_ns)
        elif size > asker.max_answer_bytes or not asker.hold.grow_answer(size, len(self._opening[-1])):
            attempt.fail(not_judged("its stream is larger than what rules can look at", attempt.status))
        elif reader.is_complete:
            super()._consider(now_ns)
        else:
            self._renew(now_ns)


class FilteredStream(StreamBody):
    """Passed on as far as a filter lets it, which sees each event."""

    __slots__ = ("_filter", "_has_all", "_has_told_end", "_queue", "_scope", "_undecided")

    def __init__(self, attempt: Attempt, headers: RawHeaders, rule: AnswerFilter) -> None:
        super().__init__(attempt, headers)
        self._filter = rule
        self._queue: list[Event] = []
        self._has_all = self._has_told_end = False
        self._undecided: Hold | None = None
        self._scope: asyncio.Timeout | None = None

    # what the coroutine of the call does

    async def over(self) -> None:
        while not self._is_ended:
            await (self._woken() if self._undecided is None else self.decide())

    async def decide(self) -> None:
        """Have decided what becomes of what is held, and go on."""
        hold, self._undecided = self._undecided, None
        if hold is None or not self._is_held:
            return
        scope = asyncio.timeout(None)
        try:
            said = await self._within(scope, hold)
            self._is_held = False
            now_ns = self._attempt.asker.now_ns()
            self._obey(said, now_ns)
            self._go_through_queue(now_ns)
            self._go_on()
        except Exception as error:  # noqa: BLE001 - no rule may leave a call without an end
            if not scope.expired():
                self._attempt.fault(error)

    async def _within(self, scope: asyncio.Timeout, hold: Hold) -> Emit | End:
        async with scope:
            self._scope = scope
            try:
                return await hold.decide()
            finally:
                self._scope = None

    # what the attempt says

    def on_failure(self, failure: Failure) -> None:
        if failure.fault is None or not self._reader.is_complete:  # or it waits for a decision alone
            super().on_failure(failure)

    def on_due(self, now_ns: int) -> None:
        if self._is_held and not self._is_slow:
            self._end_by(not_judged("a rule did not decide on it in time", self._attempt.status))
        else:
            super().on_due(now_ns)

    # the way of an event

    def _show(self, events: list[Event], now_ns: int) -> None:
        self._queue += events
        self._go_through_queue(now_ns)

    def _finish(self) -> None:
        self._has_all = True
        self._go_through_queue(self._attempt.asker.now_ns())

    def _go_through_queue(self, now_ns: int) -> None:
        """Let the filter see what has come, and at last the end of it, as far as it takes it now."""
        reader = self._reader
        while not (self._is_held or self._is_ended):
            if self._queue:
                events, self._queue = self._queue, []
                self._obey(self._filter.feed(events), now_ns)
            elif not (self._has_all or reader.is_complete):
                return
            elif not self._has_told_end:
                self._has_told_end = True
                self._obey(self._filter.end(), now_ns)
            else:
                self._close_stream(now_ns)

    def _obey(self, said: Emit | Hold | End, now_ns: int) -> None:
        """Do what the filter says."""
        if isinstance(said, Emit):
            self._emit(said.data, now_ns)
        elif isinstance(said, Hold):
            self._hold(said)
        else:
            self._end_as_told(said, now_ns)

    def _emit(self, data: bytes, now_ns: int) -> None:
        reader, attempt = self._reader, self._attempt
        if not self._is_committed:
            self._opening.append(data)
            self._opening_bytes += len(data)
            if reader.failure is not None:
                self._consider(now_ns)  # nobody has seen anything: it is a failed attempt
                self._is_ended = True
            elif (data and reader.has_content) or self._opening_bytes > OPENING_BYTES:
                self._commit(now_ns)
            else:
                self._renew(now_ns)
            return
        if reader.failure is not None and attempt.failure is None:
            if not data:
                self._end_by(
                    error_in_stream(reader.failure, attempt.status)
                )  # or nobody would tell the application
                return
            self._note_failure(reader.failure, now_ns)
        self._renew(now_ns)
        if data:
            self.push(data)

    def _hold(self, hold: Hold) -> None:
        attempt = self._attempt
        self._is_held, self._undecided = True, hold
        self._hold_back()
        if self._is_committed:
            self._wake()
        else:
            attempt.due_ns = attempt.answer_due_ns
            attempt.postpone(self.decide)

    def _end_as_told(self, said: End, now_ns: int) -> None:
        attempt = self._attempt
        attempt.drop()
        if self._is_committed:
            attempt.ended_by = said.refusal
            self.end(said.data)
        elif said.refusal is not None:
            self._is_ended = True
            attempt.commit(said.refusal)
        else:
            self._opening.append(said.data)
            self._commit(now_ns)
            self.end(b"")

    def _close_stream(self, now_ns: int) -> None:
        if not self._is_committed:
            self._commit(now_ns)
        self.end(b"")
        self._attempt.finish_early(now_ns)

    def _end_by(self, failure: Failure) -> None:
        super()._end_by(failure)
        self._is_held, self._is_ended = False, True
        if self._scope is not None:
            self._scope.reschedule(0)  # nobody waits any more for what is being decided
