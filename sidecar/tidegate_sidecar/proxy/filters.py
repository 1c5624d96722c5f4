"""What rules may do with a request before it is sent, and with an answer before it is delivered.

A filter of requests may wait, and so may one that judges a whole answer; both are bounded by the call's own deadline. A
filter of a stream may not: it takes events as they come and says at once what becomes of them, which may be that somebody
has to decide first (`Hold`). A configuration without filters has none of this in the path of a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from tidegate_sidecar.dialects.base import Dialect, Event
from tidegate_sidecar.messages.message import Message
from tidegate_sidecar.policies.base import Facts
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.routing.refusal import Refusal


class Context(NamedTuple):
    """What filters see of a call, and of an attempt of it.

    Attributes:
        facts: those that policies see; of the attempt where it is its answer that is looked at.
        message: the body as it is to be sent, or was.
        dialect: the application's.
        wants_stream: an event stream is asked for, and is what the application understands.
        request_id: names the call in records and logs.
        would_refuse: to be told what a rule in Shadow mode would have refused; it is written down, and nothing else.
    """

    facts: Facts
    message: Message
    dialect: Dialect
    wants_stream: bool
    request_id: str
    would_refuse: Callable[[Refusal], None]


@runtime_checkable
class RequestFilter(Protocol):
    """A rule that looks at requests once their call is admitted."""

    async def on_request(self, context: Context) -> Refusal | Answer | Message | None:
        """A refusal, an answer in place of a provider's, the message to go on with, or None: it goes on as it is.

        Another message asks for the same model, and for a stream where the first one did.
        """
        ...


@runtime_checkable
class AnswerRule(Protocol):
    """A rule that looks at answers."""

    def on_answer(self, context: Context) -> AnswerFilter:
        """What looks at the answer to one attempt, which is about to be made."""
        ...


class Emit(NamedTuple):
    """Whole events to be passed on; empty: nothing for now."""

    data: bytes


class End(NamedTuple):
    """The answer ends after these events, whatever the provider would have said.

    Attributes:
        data: with an end that the application's SDK understands.
        refusal: why, for the record. Where the application has seen nothing yet it is told this, and none of `data`.
    """

    data: bytes
    refusal: Refusal | None = None


class Hold(NamedTuple):
    """Nothing is passed on, and the provider is held back, until it is decided what becomes of what was held.

    Attributes:
        decide: decides; awaited by the call, and cancelled with it or where the stream ends meanwhile.
    """

    decide: Callable[[], Awaitable[Emit | End]]


class AskAgain(NamedTuple):
    """The answer will not do.

    Attributes:
        refusal: what the application is told if no other attempt can be made.
        message: what is asked then; None: the same again.
    """

    refusal: Refusal
    message: Message | None = None


class AnswerFilter(Protocol):
    """Looks at one answer. Made for each attempt, so that it may keep state.

    Attributes:
        needs_whole: it judges streams as a whole: nothing of one is delivered before it has.
    """

    needs_whole: bool

    def feed(self, events: Sequence[Event]) -> Emit | Hold | End:
        """The next events of a stream; none while a `Hold` is undecided. Called where `needs_whole` is False."""
        ...

    def end(self) -> Emit | Hold | End:
        """The stream has ended properly: what of it was kept back. Called once, after the last `feed`."""
        ...

    async def judge(self, answer: Answer) -> Answer | Refusal | AskAgain:
        """An answer that is no stream, and a whole stream where `needs_whole` is True."""
        ...
