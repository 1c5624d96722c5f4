"""The body of a request, read within a size and a time."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from tidegate_sidecar.proxy.downstream import AppGoneError
from tidegate_sidecar.routing.refusal import Case, Refusal
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


async def read_all(request: web.BaseRequest, settings: Settings) -> bytes:
    """The whole body, decoded.

    Raises:
        BodyError: too large, too slow, or not decodable.
        AppGoneError: the application hung up meanwhile.
    """
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding not in _PLAIN and encoding not in _WINDOWS:
        raise BodyError(
            _invalid(f"The content-encoding {encoding[:40]!r} is not understood; send gzip, deflate or none.")
        )
    limit = settings.max_body_bytes
    length = request.content_length
    if length is not None and length > limit:
        raise BodyError(_too_large(limit))
    try:
        async with asyncio.timeout(settings.body_read_ms / 1_000):
            await _invite(request)
            body = await _within(request, limit)
        return body if encoding in _PLAIN else _decoded(body, _WINDOWS[encoding], limit)
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


async def _within(request: web.BaseRequest, limit: int) -> bytes:
    content = request.content
    first = await content.readany()
    if content.at_eof() and len(first) <= limit:
        return first  # the usual case: one piece, no copy
    body = bytearray(first)
    while len(body) <= limit and (piece := await content.readany()):
        body += piece
    if len(body) > limit:
        raise BodyError(_too_large(limit))
    return bytes(body)


def _decoded(body: bytes, window: int, limit: int) -> bytes:
    """What `body` stands for; `zlib.error` where it is broken or not whole."""
    decoder = zlib.decompressobj(window)
    plain = decoder.decompress(body, limit + 1)
    if len(plain) > limit:
        raise BodyError(_too_large(limit))
    if not decoder.eof or decoder.unused_data:
        raise zlib.error("not one whole stream")
    return plain


def _invalid(message: str) -> Refusal:
    return Refusal(case=Case.INVALID, message=message)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        case=Case.TOO_LARGE,
        message=f"The body is larger than {limit} bytes, the most that this sidecar takes (TIDEGATE_MAX_BODY_BYTES).",
        details={"limit_bytes": limit},
    )
