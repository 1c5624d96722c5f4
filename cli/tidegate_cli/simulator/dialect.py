"""What the server needs of a dialect. `openai.py` and `anthropic.py` are the two: modules that have these functions.

PURE. Everything a dialect builds is a finished value; when it is sent, and whether all of it, is not its business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_cli.simulator.answer import Answer
    from tidegate_cli.simulator.prompt import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as the dialect writes its answer.

    Attributes:
        number: of the call in this simulator, counted from 1; ids in the answer are made of it.
        created_s: Unix time in seconds.
        prompt: what was asked.
        answer: what is said.
    """

    number: int
    created_s: int
    prompt: Prompt
    answer: Answer


class Events(NamedTuple):
    """The encoded events of a stream.

    Attributes:
        opening: sent right after the head, before the model has said anything.
        deltas: one tuple of events per piece of text.
        closing: what a complete stream ends with.
    """

    opening: tuple[bytes, ...]
    deltas: tuple[tuple[bytes, ...], ...]
    closing: tuple[bytes, ...]


class Dialect(Protocol):
    """Requests and answers of one kind of provider."""

    @property
    def REQUEST_ID_HEADER(self) -> str:  # noqa: N802 - a constant of the module
        """Header that carries the id of the request in every answer."""

    def read_prompt(self, body: bytes) -> Prompt:
        """What the request asks; raises `RequestError`."""

    def key_in(self, headers: Mapping[str, str]) -> str | None:
        """The provider key in the headers (names in any case); None: there is none."""

    def request_id(self, number: int) -> str:
        """The id of the request with this number."""

    def completion(self, call: Call) -> dict[str, Any]:
        """The whole answer as one object."""

    def events(self, call: Call) -> Events:
        """The answer as a stream."""

    def error(self, status: int, message: str, *, number: int, param: str | None = None) -> dict[str, Any]:
        """The body of an answer with an error status."""

    def stream_error(self, *, number: int) -> bytes:
        """An event that ends a stream with an overloaded provider."""

    def garbage_event(self) -> bytes:
        """A well-framed event whose data is not JSON."""

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The list of models."""
