"""The phase in which rules look at a request, once it is admitted and before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tidegate_sidecar.messages.message import Message
from tidegate_sidecar.policies.base import Facts
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.decisions import note_shadow
from tidegate_sidecar.proxy.filters import Context, RequestFilter
from tidegate_sidecar.proxy.ticker import Deadline, Ticker
from tidegate_sidecar.routing.refusal import Case, Refusal, no_room

if TYPE_CHECKING:
    from tidegate_sidecar.proxy.call import Call

_MS_NS: Final = 1_000_000


async def filtered(
    filters: Sequence[RequestFilter], call: Call, *, ticker: Ticker, request_ms: int
) -> Refusal | Answer | None:
    """What `filters` make of a call: a refusal, an answer, or nothing; the message may be another one afterwards.

    All of them together have until the call's deadline.
    """
    deadline = Deadline(ticker, call.started_ns + request_ms * _MS_NS)
    try:
        async with deadline:
            for each in filters:
                verdict = await each.on_request(context_of(call, call.facts))
                if isinstance(verdict, Message):
                    verdict = take(call, verdict)
                if verdict is not None:
                    return verdict
    except TimeoutError:
        if not deadline.is_over:
            raise
        return Refusal(
            case=Case.TIMEOUT,
            message=f"The rules that look at requests did not decide within {request_ms} ms (timeouts.request).",
        )
    return None


def context_of(call: Call, facts: Facts) -> Context:
    """What filters see of `call`, with the facts of the call or of an attempt."""
    return Context(
        facts,
        call.message,
        call.dialect,
        call.wants_stream,
        call.record.request_id,
        lambda refusal: note_shadow(call.record, refusal),
    )


def take(call: Call, message: Message) -> Refusal | None:
    """Go on with another message; a refusal where there is no room for it.

    Raises:
        ValueError: it asks for something else than the call has been admitted for, which is a fault of the rule.
    """
    if call.endpoint.asked(message.document) != (call.model, call.wants_stream, call.state):
        raise ValueError("a rule has changed which model is asked for, whether a stream is, or whose state")
    more = len(message.body) - len(call.message.body)
    if more > 0 and not call.hold.grow(more):
        return no_room(call.hold.limit)
    if more < 0:
        call.hold.shrink(-more)
    call.message = message
    return None
