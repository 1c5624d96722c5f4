"""What is wrong with a request that cannot be read, in words of our own: aiohttp's quote what came, and keys with it."""

from __future__ import annotations

import re
from typing import Final

from aiohttp.http_exceptions import (
    BadHttpMethod,
    BadStatusLine,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)

from tidegate_sidecar.downstream.request import AppRequest, HeadFault

SEEN_BYTES: Final = 4_096
"""Of a head that is no HTTP; the header that tells a dialect is among the first."""

MAX_LINE_BYTES: Final = 2**16
MAX_HEADERS: Final = 256
MAX_HEAD_BYTES: Final = 2**20

_FRAMING_MAX: Final = 2**16
_FRAMING_PER_BYTE: Final = 16
"""Chunk sizes, extensions and trailers may have so many bytes, and for each byte of the body so many more: a chunk of a single
byte needs five beside it."""

_BAD_REQUEST: Final = 400
_TIMEOUT: Final = 408
_TOO_LARGE: Final = 431
_NOT_IMPLEMENTED: Final = 501
_VERSION: Final = 505

_NO_HTTP: Final = "The request is not valid HTTP/1.1."
_OTHER_VERSION: Final = "The request speaks another version of HTTP; HTTP/1.1 and HTTP/1.0 are served here."
_NO_LENGTH: Final = "The request's Content-Length is not one decimal number."
_TWO_LENGTHS: Final = (
    "The request has both Content-Length and Transfer-Encoding: it could be read in two ways."
)
_CODING: Final = "The request's Transfer-Encoding is not 'chunked', which is the only one served here."
_HEADER_NAME: Final = (
    "A header of the request has no colon, no name, or a character in its name that names may not have."
)
_HEADER_VALUE: Final = "A header of the request has a control character or a line break in its value."
_CHUNKS: Final = "The request's chunked body is not framed as HTTP wants it."

TOO_LARGE: Final = (
    f"The request's head is too large: its lines may have {MAX_LINE_BYTES} bytes each, {MAX_HEADERS} headers and "
    f"{MAX_HEAD_BYTES} bytes in all."
)
HALF_A_HEAD: Final = "The connection was closed before the request's head was complete."
TOO_MUCH_FRAMING: Final = "The request's chunked body has far more framing than body."
UNSEEN: Final = "The connection was closed before the request was looked at."

_BY_MESSAGE: Final = (
    ("Too many headers received", _TOO_LARGE, TOO_LARGE),
    ("Missing 'Host' header", _BAD_REQUEST, "The request has no Host header, which HTTP/1.1 wants."),
    (
        "Duplicate '",
        _BAD_REQUEST,
        "The request has a header twice that may come only once, such as Host or Content-Type.",
    ),
    ("Duplicate Content-Length", _BAD_REQUEST, _NO_LENGTH),
    ("Invalid character in Content-Length", _BAD_REQUEST, _NO_LENGTH),
    ("Content-Length overflow", _BAD_REQUEST, _NO_LENGTH),
    ("Empty Content-Length", _BAD_REQUEST, _NO_LENGTH),
    ("Content-Length can't be present with", _BAD_REQUEST, _TWO_LENGTHS),
    ("Transfer-Encoding can't be present with", _BAD_REQUEST, _TWO_LENGTHS),
    ("Request has invalid `Transfer-Encoding`", _NOT_IMPLEMENTED, _CODING),
    ("Invalid `Transfer-Encoding`", _NOT_IMPLEMENTED, _CODING),
    ("Invalid header token", _BAD_REQUEST, _HEADER_NAME),
    ("Invalid header value char", _BAD_REQUEST, _HEADER_VALUE),
    ("Missing expected LF after header value", _BAD_REQUEST, _HEADER_VALUE),
    ("Unexpected whitespace after header value", _BAD_REQUEST, _HEADER_VALUE),
    ("Pause on PRI/Upgrade", _VERSION, _OTHER_VERSION),
    ("Bad status line:\n  Invalid HTTP version", _VERSION, _OTHER_VERSION),
    ("Invalid character in chunk size", _BAD_REQUEST, _CHUNKS),
    ("Expected LF after chunk", _BAD_REQUEST, _CHUNKS),
)
"""How messages of aiohttp and llhttp begin. What they quote of the request comes behind, so nobody can forge a row."""

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ ]+ HTTP/1\.[01]\r\n")


def fault_of(error: BaseException, seen: bytes) -> HeadFault:
    """What is wrong with the head that begins with `seen`, by what the parser raised."""
    if isinstance(error, LineTooLong):
        return HeadFault(_TOO_LARGE, TOO_LARGE, seen)
    if isinstance(error, BadHttpMethod):
        return _without_method(seen)
    if isinstance(error, InvalidURLError):
        return HeadFault(_BAD_REQUEST, "The request's target is no URL, or no path.", seen)
    if isinstance(error, HttpProcessingError):
        for beginning, status, message in _BY_MESSAGE:
            if error.message.startswith(beginning):
                return HeadFault(status, message, seen)
    if isinstance(error, BadStatusLine):
        return HeadFault(_BAD_REQUEST, "The request does not begin with METHOD TARGET HTTP/1.1.", seen)
    return HeadFault(_BAD_REQUEST, _NO_HTTP, seen)


def is_mostly_framing(read_bytes: int, body_bytes: int) -> bool:
    """Whether what was read of a body is out of proportion to what there is of it now."""
    return read_bytes - body_bytes > _FRAMING_MAX + _FRAMING_PER_BYTE * body_bytes


def fault_of_request(request: AppRequest) -> HeadFault | None:
    """What is wrong with a request that aiohttp can read and nobody may serve."""
    if not request.is_http1:
        return HeadFault(_VERSION, _OTHER_VERSION, seen_of(request.method, request.target))
    if request.is_chunked and request.fields.get("transfer-encoding", "").strip().lower() != "chunked":
        return HeadFault(_NOT_IMPLEMENTED, _CODING, seen_of(request.method, request.target))
    return None


def too_slow(head_ms: int, seen: bytes) -> HeadFault:
    """The fault of a head that was not complete `head_ms` after its first byte."""
    return HeadFault(
        _TIMEOUT, f"The request's head was not complete {head_ms} ms after its first byte.", seen
    )


def seen_of(method: str, target: str) -> bytes:
    """How a head began that has been read already."""
    return f"{method} {target}"[:SEEN_BYTES].encode(errors="surrogateescape")


def _without_method(seen: bytes) -> HeadFault:
    if seen.startswith(b"\x16\x03"):
        return HeadFault(
            _BAD_REQUEST, "TLS was spoken to a port that speaks plain HTTP: the URL is http://.", seen
        )
    if _METHOD.match(seen):
        return HeadFault(_NOT_IMPLEMENTED, "The request's method is none that HTTP has.", seen)
    return HeadFault(_BAD_REQUEST, _NO_HTTP, seen)
