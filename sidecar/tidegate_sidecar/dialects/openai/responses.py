"""The Responses API: OpenAI API reference, "Responses", "Streaming events"."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError
from typing import Final

from orjson import loads

from tidegate_sidecar.dialects.asking import model_and_stream
from tidegate_sidecar.dialects.base import NO_USAGE, Asked, Event, Judged, Problem, Usage
from tidegate_sidecar.dialects.judging import is_error
from tidegate_sidecar.dialects.members import object_in
from tidegate_sidecar.dialects.openai.event_data import DONE, no_object, read_leniently
from tidegate_sidecar.dialects.openai.taxonomy import judge_event
from tidegate_sidecar.dialects.openai.usage import usage_in

_STATE: Final = ("previous_response_id", "conversation", "background", "prompt")
"""Members that name, or make, something that only the account knows which the request goes to: an earlier response, a
conversation, a response that is asked for later, a prompt that is kept there."""

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_CONTENT: Final = frozenset({"response.output_item.done", "response.image_generation_call.partial_image"})
"""Events with a part of the answer, beside those whose names end in `.delta`; openings carry none."""


def asked(document: Mapping[str, object]) -> Asked | Problem:
    """The model, whether a stream is wanted, and what only one account knows."""
    said = model_and_stream(document)
    if isinstance(said, Problem):
        return said
    state = next((name for name in _STATE if document.get(name)), "")
    return said._replace(state=state) if state else said


class ResponseReader:
    """Reads one stream of events, which say in `type` what they are."""

    __slots__ = ("_has_ended", "failure", "has_content", "is_complete", "usage")

    def __init__(self) -> None:
        self.usage: Usage = NO_USAGE
        self.has_content = False
        self.is_complete = False
        self.failure: Judged | None = None
        self._has_ended = False

    @property
    def may_end(self) -> bool:
        """After the event that says how the response ended. OpenAI sends nothing behind it, others send `[DONE]`."""
        return self._has_ended or self.is_complete

    def read(self, event: Event) -> None:
        data = event[2]
        if not data:
            return  # a comment, or fields that are no data
        try:
            document = loads(data)
        except JSONDecodeError:
            document = read_leniently(data)
        if type(document) is not dict:
            if document is not DONE:
                raise no_object(data)
            self.is_complete = True
            return
        kind = document.get("type")
        if type(kind) is not str:
            kind = event[1].decode("latin-1")
        if kind in _ENDS:
            self._end(kind, object_in(document, "response"))
        elif self.failure is None and (kind == "error" or is_error(document)):
            self.failure = judge_event(document)
        elif not self.has_content:
            self.has_content = kind.endswith(".delta") or kind in _CONTENT

    def _end(self, kind: str, response: Mapping[str, object]) -> None:
        self._has_ended = True
        usage = usage_in(response)
        if usage != NO_USAGE:
            self.usage = usage
        if kind != "response.failed":
            self.has_content = True  # an answer that is empty is still the answer
        elif self.failure is None:
            self.failure = judge_event(response)
