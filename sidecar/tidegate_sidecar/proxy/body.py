"""The body of a request, read within a size, a time and the bytes that all calls together may hold."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from tidegate_sidecar.proxy.downstream import AppGoneError
from tidegate_sidecar.proxy.holding import Hold
from tidegate_sidecar.routing.refusal import Case, Refusal, no_room
from tidegate_sidecar.settings import Settings

_PLAIN: Final = ("", "identity")
_WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Encodings that are understood, as zlib calls them; the limit holds for the decoded size."""


class BodyError(Exception):
    """The body cannot be had; `refusal` tells the application."""

    def __init__(self, refusal: Refusal) -> None:
        """Carry `refusal` to where it is answered."""
        super().__init__(refusal.message)
        self.refusal = refusal


async def read_all(request: web.BaseRequest, settings: Settings, hold: Hold) -> bytes:
    """The whole body, decoded, its bytes held by `hold`.

    Raises:
        BodyError: too large, too slow, not decodable, or more than there is room for at the moment.
        AppGoneError: the application hung up meanwhile.
    """
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding not in _PLAIN and encoding not in _WINDOWS:
        raise BodyError(
            _invalid(f"The content-encoding {encoding[:40]!r} is not understood; send gzip, deflate or none.")
        )
    limit = min(settings.max_body_bytes, hold.limit)
    length = request.content_length
    if length is not None:
        if length > limit:
            raise BodyError(_too_large(limit))
        _take(hold, length)  # before it is sent: who waits to be invited need not send it in vain
    try:
        async with asyncio.timeout(settings.body_read_ms / 1_000):
            await _invite(request)
            body = await _within(request, limit, hold if length is None else None)
        return body if encoding in _PLAIN else _decoded(body, _WINDOWS[encoding], limit, hold)
    except ConnectionError as error:
        raise AppGoneError("the application closed its connection within its request") from error
    except TimeoutError as error:
        raise BodyError(_invalid(f"The body did not arrive within {settings.body_read_ms} ms.")) from error
    except (HttpProcessingError, zlib.error, web.RequestPayloadError) as error:
        raise BodyError(
            _invalid("The body does not match its content-encoding or transfer-encoding.")
        ) from error


async def _invite(request: web.BaseRequest) -> None:
    """Tell a client that waits to be told (curl does so before a large body) to send it (RFC 9110 section 10.1.1)."""
    if request.version >= HttpVersion11 and request.headers.get("expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the response itself has been sent


async def _within(request: web.BaseRequest, limit: int, hold: Hold | None) -> bytes:
    """The body as it came; `hold` takes its bytes where nobody has told how many come."""
    content = request.content
    first = await content.readany()
    _check(0, first, limit, hold)
    if content.at_eof():
        return first  # the usual case: one piece, no copy
    body = bytearray(first)
    while piece := await content.readany():
        _check(len(body), piece, limit, hold)
        body += piece
    return bytes(body)


def _check(length: int, piece: bytes, limit: int, hold: Hold | None) -> None:
    """Whether `piece` may follow `length` bytes; what never has room is told first."""
    if length + len(piece) > limit:
        raise BodyError(_too_large(limit))
    if hold is not None:
        _take(hold, len(piece))


def _decoded(body: bytes, window: int, limit: int, hold: Hold) -> bytes:
    """What `body` stands for; `zlib.error` where it is broken or not whole."""
    hold.shrink(len(body))  # nobody keeps it when this is done
    # A few bytes can stand for a thousand times as many, which nobody has counted yet.
    most = min(limit, hold.room)
    decoder = zlib.decompressobj(window)
    plain = decoder.decompress(body, most + 1)
    if len(plain) > most:
        raise BodyError(_too_large(limit) if most == limit else no_room(hold.limit))
    if not decoder.eof or decoder.unused_data:
        raise zlib.error("not one whole stream")
    _take(hold, len(plain))
    return plain


def _take(hold: Hold, count: int) -> None:
    if not hold.grow(count):
        raise BodyError(no_room(hold.limit))


def _invalid(message: str) -> Refusal:
    return Refusal(case=Case.INVALID, message=message)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        case=Case.TOO_LARGE,
        message=f"The body is larger than {limit} bytes, the most that this sidecar takes (the lesser one of "
        "TIDEGATE_MAX_BODY_BYTES and TIDEGATE_MAX_HELD_BYTES).",
        details={"limit_bytes": limit},
    )
