"""Bodies: how that of a request is had, and how large ones of either side are understood.

A request's is read within bounds of bytes and time, decoded, and refused in the caller's dialect where it cannot be had. What is
large is read in several turns of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Final, TypeVar

from tidegate_sidecar.dialects.base import Problem
from tidegate_sidecar.downstream.request import AppRequest, BrokenBodyError
from tidegate_sidecar.messages.answer_documents import document_in_slices
from tidegate_sidecar.messages.encodings import (
    BrokenEncodingError,
    TooLargeError,
    UnknownEncodingError,
    decode_in_slices,
)
from tidegate_sidecar.messages.message import AT_ONCE_BYTES, Message, read, read_in_slices
from tidegate_sidecar.proxy.holding import Reservation
from tidegate_sidecar.routing.refusal import Case, Refusal, no_room
from tidegate_sidecar.settings import Settings

T = TypeVar("T")

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def body_at_hand(request: AppRequest, settings: Settings, hold: Reservation) -> bytes | Refusal | None:
    """The body of a request that came with its head and in no encoding, the usual case; None: `read_body` gets it."""
    content = request.content
    if not content.is_eof() or "content-encoding" in request.fields:
        return None
    body: bytes = content.read_nowait()
    return _take(hold, len(body), min(settings.max_body_bytes, hold.limit)) or body


async def read_body(
    request: AppRequest, settings: Settings, hold: Reservation, *, is_kept_encoded: bool = False
) -> bytes | Refusal:
    """The whole body, its bytes held by `hold`; a refusal where it is too large, too slow or not decodable.

    It is decoded, unless it is to be sent on with its encoding.
    """
    limit = min(settings.max_body_bytes, hold.limit)
    try:
        async with asyncio.timeout(settings.body_read_ms / 1_000):
            body = await _arriving(request, hold, limit)
    except TimeoutError:
        return Refusal(
            case=Case.TOO_SLOW, message=f"The body did not arrive within {settings.body_read_ms} ms."
        )
    except BrokenBodyError as error:
        return invalid(f"The body cannot be read: {error}")
    encoding = request.fields.get("content-encoding", "")
    if isinstance(body, Refusal) or not encoding or is_kept_encoded:
        return body
    return await _decoded(body, encoding, limit, hold)


async def read_message(body: bytes) -> Message | Problem:
    """The body as a message; a large one takes several turns of the event loop."""
    if len(body) <= AT_ONCE_BYTES:
        return read(body)
    return await _in_turns(read_in_slices(body))


async def read_document(body: bytes) -> object:
    """What an answer says, None where it is no JSON; a large one takes several turns of the event loop."""
    return await _in_turns(document_in_slices(body))


def refused(problem: Problem) -> Refusal:
    """The refusal of a request that cannot be understood."""
    return invalid(problem.message, problem.member)


def invalid(message: str, member: str = "") -> Refusal:
    """A refusal with 400, naming the member that is wrong."""
    return Refusal(case=Case.INVALID, message=message, details={"param": member} if member else {})


async def _in_turns(steps: Generator[None, None, T]) -> T:
    """The result of `steps`, other calls having their turn between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)


async def _arriving(request: AppRequest, hold: Reservation, limit: int) -> bytes | Refusal:
    """The body as it comes, piece by piece."""
    announced = request.fields.get("content-length", "")
    length = int(announced) if announced.isdecimal() else None
    # Before it is sent: a client that waits to be invited need not send it in vain.
    if length is not None and (refusal := _take(hold, length, limit)):
        return refusal
    is_invited = request.content.is_eof() or request.is_http10
    if not is_invited and request.fields.get("expect", "").lower() == "100-continue":
        request.app.write(_CONTINUE)  # RFC 9110 section 10.1.1; curl waits for it before a large body
    content = request.content
    body = bytearray()
    while piece := await content.readany():
        if len(body) + len(piece) > limit:
            return _too_large(limit)
        if length is None and not hold.grow(len(piece)):
            return no_room(hold.limit)
        body += piece
    return bytes(body)


def _take(hold: Reservation, count: int, limit: int) -> Refusal | None:
    """Hold `count` bytes; what never has room is told first."""
    if count > limit:
        return _too_large(limit)
    return None if hold.grow(count) else no_room(hold.limit)


async def _decoded(body: bytes, encoding: str, limit: int, hold: Reservation) -> bytes | Refusal:
    """What `body` stands for. A few bytes can stand for a thousand times as many, which nobody has counted yet."""
    hold.shrink(len(body))  # nobody keeps it when this is done
    most = min(limit, hold.room)
    try:
        plain = await _in_turns(decode_in_slices(body, encoding, most))
    except UnknownEncodingError as error:
        return Refusal(case=Case.UNKNOWN_ENCODING, message=str(error))
    except TooLargeError:
        return _too_large(limit) if most == limit else no_room(hold.limit)
    except BrokenEncodingError as error:
        return invalid(f"The body is not in the content-encoding that its head says: {error}.")
    return plain if hold.grow(len(plain)) else no_room(hold.limit)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        case=Case.TOO_LARGE,
        message=f"The body is larger than {limit} bytes, the most that this sidecar takes (the lesser one of "
        "TIDEGATE_MAX_BODY_BYTES and TIDEGATE_MAX_HELD_BYTES).",
        details={"limit_bytes": limit},
    )
