"""The body of a request, read within a size and a time."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tidegate_sidecar.routing.refusal import Case, Refusal
from tidegate_sidecar.settings import Settings

_ENCODINGS: Final = ("", "identity", "gzip", "deflate")
"""What aiohttp decodes as it reads; the limit holds for the decoded size."""


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
    """
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding not in _ENCODINGS:
        raise BodyError(
            _invalid(f"The content-encoding {encoding[:40]!r} is not understood; send gzip, deflate or none.")
        )
    limit = settings.max_body_bytes
    length = request.content_length
    if length is not None and length > limit:
        raise BodyError(_too_large(limit))
    try:
        async with asyncio.timeout(settings.body_read_ms / 1_000):
            first = await request.content.readany()
            if request.content.at_eof():
                if len(first) > limit:
                    raise BodyError(_too_large(limit))
                return first  # the usual case: one piece, no copy
            body = bytearray(first)
            while piece := await request.content.readany():
                body += piece
                if len(body) > limit:
                    raise BodyError(_too_large(limit))
            return bytes(body)
    except TimeoutError as error:
        raise BodyError(_invalid(f"The body did not arrive within {settings.body_read_ms} ms.")) from error
    except (HttpProcessingError, zlib.error, web.RequestPayloadError) as error:
        raise BodyError(
            _invalid("The body does not match its content-encoding or transfer-encoding.")
        ) from error


def _invalid(message: str) -> Refusal:
    return Refusal(case=Case.INVALID, message=message)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        case=Case.TOO_LARGE,
        message=f"The body is larger than {limit} bytes, the most that this sidecar takes (TIDEGATE_MAX_BODY_BYTES).",
        details={"limit_bytes": limit},
    )
