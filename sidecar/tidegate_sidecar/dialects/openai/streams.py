"""Reading a stream of chunks: OpenAI API reference, "Chat completions", "Streaming".

Whatever the OpenAI SDKs read is read: chunks under any name of the event, and an end that is written `[DONE]` with
anything around it.
"""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any, Final

from orjson import loads

from tidegate_sidecar.dialects.base import NO_USAGE, Event, Judged, UnreadableError, Usage
from tidegate_sidecar.dialects.judging import is_error
from tidegate_sidecar.dialects.openai.event_data import DONE, no_object, read_leniently
from tidegate_sidecar.dialects.openai.taxonomy import judge_event
from tidegate_sidecar.dialects.openai.usage import usage_in

_MOST_CHOICES: Final = 1_024
"""OpenAI gives 128 at most; each is remembered until it is finished."""

_CONTENT: Final = (
    "content",
    "tool_calls",
    "reasoning_content",
    "reasoning",
    "refusal",
    "function_call",
    "audio",
    "reasoning_details",
    "images",
)
"""Members of a delta that are a part of the answer; the last two are OpenRouter's."""


class ChunkReader:
    """Reads one stream of chunks."""

    __slots__ = ("_finished", "_seen", "failure", "has_content", "is_complete", "usage")

    def __init__(self) -> None:
        self.usage: Usage = NO_USAGE
        self.has_content = False
        self.is_complete = False
        self.failure: Judged | None = None
        self._seen: set[int] = set()
        self._finished: set[int] = set()

    @property
    def may_end(self) -> bool:
        """After `[DONE]`; also where every choice that was seen has its reason, since not all servers send `[DONE]`."""
        return self.is_complete or (bool(self._seen) and len(self._finished) == len(self._seen))

    def read(self, event: Event) -> None:
        data = event[2]
        if not data:
            return  # a comment, or fields that are no data
        try:
            chunk = loads(data)
        except JSONDecodeError:
            chunk = read_leniently(data)
        if type(chunk) is not dict:
            if chunk is not DONE:
                raise no_object(data)
            self.is_complete = True
            return
        choices = chunk.get("choices")
        if choices:
            self._read_choices(choices)
        if chunk.get("usage") or "x_groq" in chunk:
            usage = usage_in(chunk)
            if usage != NO_USAGE:
                self.usage = usage
        if self.failure is None and (is_error(chunk) or (event[1] == b"error" and not choices)):
            self.failure = judge_event(chunk)

    def _read_choices(self, choices: object) -> None:
        if type(choices) is not list:
            return
        for choice in choices:
            if type(choice) is not dict:
                continue
            index = choice.get("index")
            if type(index) is not int:
                index = 0
            if index not in self._seen:
                if len(self._seen) == _MOST_CHOICES:
                    raise UnreadableError(f"a stream of more than {_MOST_CHOICES} choices")
                self._seen.add(index)
            if choice.get("finish_reason"):
                self._finished.add(index)
                self.has_content = True  # an answer that is empty is still the answer
            elif not self.has_content:
                self.has_content = _has_content(choice)


def _has_content(choice: dict[str, Any]) -> bool:
    """Whether a choice carries a part of the answer; openings say only who speaks."""
    delta = choice.get("delta")
    if type(delta) is dict and any(delta.get(name) for name in _CONTENT):
        return True
    return bool(choice.get("text") or choice.get("message"))
