"""Several filters of one answer as one, each seeing what the one before it has let through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tidegate_sidecar.dialects.base import Event
from tidegate_sidecar.dialects.sse import EventSplitter
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.filters import AnswerFilter, AskAgain, Emit, End, Hold
from tidegate_sidecar.routing.refusal import Refusal

_Said = Emit | Hold | End


def chained(filters: Sequence[AnswerFilter], *, is_stream: bool) -> AnswerFilter:
    """`filters` in their order; `is_stream` tells what the answer is that they will see."""
    return filters[0] if len(filters) == 1 else _Chain(filters, is_stream=is_stream)


class _Chain:
    """Filters in a row. If one of them needs the whole of a stream, the others get it as a whole when their turn comes."""

    def __init__(self, filters: Sequence[AnswerFilter], *, is_stream: bool) -> None:
        self._filters = filters
        self._is_stream = is_stream
        self.needs_whole = any(it.needs_whole for it in filters)

    def feed(self, events: Sequence[Event]) -> _Said:
        said = self._filters[0].feed(events)
        for each in self._filters[1:]:
            said = _then(said, partial(_next, each))
        return said

    def end(self) -> _Said:
        said = self._filters[0].end()
        for each in self._filters[1:]:
            said = _then(said, partial(_last, each))
        return said

    async def judge(self, answer: Answer) -> Answer | Refusal | AskAgain:
        verdict: Answer | Refusal | AskAgain = answer
        for each in self._filters:
            if not isinstance(verdict, Answer):
                return verdict
            if verdict.rest is not None:
                raise TypeError("no filter but the last one may give an answer that has a rest")
            if self._is_stream and not each.needs_whole:
                verdict = await _replayed(each, verdict)
            else:
                verdict = await each.judge(verdict)
        return verdict


def _next(each: AnswerFilter, said: Emit | End) -> _Said:
    """What a filter makes of what the one before it has said."""
    return _last(each, said) if isinstance(said, End) else _fed(each, said.data)


def _last(each: AnswerFilter, said: Emit | End) -> _Said:
    """The same where nothing follows."""
    ended = _then(_fed(each, said.data), partial(_with_end, each))
    return _then(ended, partial(_ended_for, said.refusal)) if isinstance(said, End) else ended


def _fed(each: AnswerFilter, data: bytes) -> _Said:
    if not data:
        return Emit(b"")
    splitter = EventSplitter(len(data))
    return each.feed([*splitter.feed(data), *splitter.end()])


def _with_end(each: AnswerFilter, said: Emit | End) -> _Said:
    """What a filter has said of the last events, and what it says at the end of them."""
    return said if isinstance(said, End) else _then(each.end(), partial(_behind, said.data))


def _behind(data: bytes, said: Emit | End) -> Emit | End:
    return said._replace(data=data + said.data)


def _ended_for(refusal: Refusal | None, said: Emit | End) -> End:
    return End(said.data, refusal)


async def _replayed(each: AnswerFilter, answer: Answer) -> Answer | Refusal:
    """What a filter of events makes of a stream that is there as a whole."""
    said = _last(each, Emit(answer.first))
    if isinstance(said, Hold):
        said = await said.decide()
    if isinstance(said, End) and said.refusal is not None:
        return said.refusal
    return answer._replace(first=said.data)


def _then(said: _Said, go_on: Callable[[Emit | End], _Said]) -> _Said:
    """What follows from what was said, now or once it is decided."""
    if not isinstance(said, Hold):
        return go_on(said)
    decide = said.decide

    async def later() -> Emit | End:
        following = go_on(await decide())
        return await following.decide() if isinstance(following, Hold) else following

    return Hold(later)
