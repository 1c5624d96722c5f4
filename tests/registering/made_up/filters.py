"""Filters that nobody built in. Which of them a configuration has is said by its `rules`."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from made_up.quotas import KEPT, SOURCE, Config
from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.config.registry import FilterKind
from tidegate_sidecar.dialects.base import Event
from tidegate_sidecar.messages.message import Message, read
from tidegate_sidecar.proxy.answer import Answer, Sink
from tidegate_sidecar.proxy.filters import AnswerFilter, AskAgain, Context, Emit, End, Hold
from tidegate_sidecar.routing.refusal import Case, Refusal

BLOCKED = Refusal(case=Case.INVALID, message="A word that is not said here.", source=SOURCE, rule="words")


def kind(name: str, make: Callable[[], Any]) -> FilterKind:
    """What a registry is told: the filter `name`, made anew for each configuration that has it."""

    def rules(config: CompiledConfig) -> Sequence[str]:
        return [it for it in config.rules if it == name] if isinstance(config, Config) else ()

    return FilterKind(rules=rules, make=lambda *_: make(), identity=str)


def raw(events: Sequence[Event]) -> bytes:
    """The bytes of events."""
    return b"".join(event[0] for event in events)


class Requests:
    """Does with each request what it is told to."""

    def __init__(self, verdict: Callable[[Context], Any]) -> None:
        self._verdict = verdict
        self.seen: deque[Context] = deque(maxlen=KEPT)

    async def on_request(self, context: Context) -> Refusal | Answer | Message | None:
        self.seen.append(context)
        await asyncio.sleep(0)
        verdict = self._verdict(context)
        return (
            await verdict if asyncio.iscoroutine(verdict) or isinstance(verdict, asyncio.Future) else verdict
        )


class Answers:
    """Makes a filter for each answer."""

    def __init__(self, make: Callable[[Context], AnswerFilter]) -> None:
        self._make = make
        self.seen: deque[Context] = deque(maxlen=KEPT)

    def on_answer(self, context: Context) -> AnswerFilter:
        self.seen.append(context)
        return self._make(context)


class Stream:
    """A filter of events: lets everything through; what it does otherwise is said by whoever derives from it."""

    needs_whole = False

    def feed(self, events: Sequence[Event]) -> Emit | Hold | End:
        return Emit(raw(events))

    def end(self) -> Emit | Hold | End:
        return Emit(b"")

    async def judge(self, answer: Answer) -> Answer | Refusal | AskAgain:
        return answer


class UpperCase(Stream):
    """Shouts what is said."""

    def feed(self, events: Sequence[Event]) -> Emit:
        return Emit(b"".join(shouted(event) for event in events))

    async def judge(self, answer: Answer) -> Answer:
        document = json.loads(answer.first)
        for choice in document["choices"]:
            choice["message"]["content"] = choice["message"]["content"].upper()
        return answer._replace(first=json.dumps(document).encode())


def shouted(event: Event) -> bytes:
    """An event of OpenAI's dialect with its text in capitals."""
    _, _, data = event
    if not data.startswith(b"{"):
        return event[0]
    document = json.loads(data)
    for choice in document["choices"]:
        if choice["delta"].get("content"):
            choice["delta"]["content"] = choice["delta"]["content"].upper()
    return b"data: " + json.dumps(document).encode() + b"\n\n"


class Window(Stream):
    """Keeps the last event back until the next one or the end."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, events: Sequence[Event]) -> Emit:
        told = self._kept + raw(events[:-1])
        self._kept = events[-1][0]
        return Emit(told)

    def end(self) -> Emit:
        return Emit(self._kept)


class HoldsAt(Stream):
    """Has it decided by `decide` what becomes of events that hold `word`."""

    def __init__(self, word: bytes, decide: Callable[[bytes], Any]) -> None:
        self._word = word
        self._decide = decide

    def feed(self, events: Sequence[Event]) -> Emit | Hold:
        data = raw(events)
        return Hold(lambda: self._decide(data)) if self._word in data else Emit(data)


class EndsAt(Stream):
    """Ends the answer with `last` before the event that holds `word`."""

    def __init__(self, word: bytes, last: bytes, refusal: Refusal | None) -> None:
        self._word = word
        self._end = End(last, refusal)

    def feed(self, events: Sequence[Event]) -> Emit | End:
        data = raw(events)
        return self._end if self._word in data else Emit(data)


class Whole(Stream):
    """Judges answers as a whole."""

    needs_whole = True

    def __init__(self, verdict: Callable[[Answer], Any]) -> None:
        self._verdict = verdict

    async def judge(self, answer: Answer) -> Answer | Refusal | AskAgain:
        verdict = self._verdict(answer)
        return (
            await verdict if asyncio.iscoroutine(verdict) or isinstance(verdict, asyncio.Future) else verdict
        )


class Slowly:
    """The rest of an answer of ours, pushed piece by piece as a test says."""

    def __init__(self) -> None:
        self.sink: Sink | None = None
        self.is_paused = self.is_cancelled = False
        self._over = asyncio.Event()

    def start(self, sink: Sink) -> None:
        self.sink = sink

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    async def over(self) -> None:
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise

    def end(self, last: bytes) -> None:
        assert self.sink is not None
        self.sink.on_end(last)
        self._over.set()

    def cut(self) -> None:
        assert self.sink is not None
        self.sink.on_cut()
        self._over.set()


def edited(context: Context, member: str, json_text: bytes) -> Message:
    """The request with another member."""
    return context.message.with_member(member, json_text)


def another(body: bytes) -> Message:
    message = read(body)
    assert isinstance(message, Message)
    return message
