"""The one place where a key is taken out of what a provider says.

Some providers quote the key in errors, and some debug endpoints quote the request; what the application is given,
and what is logged of it, passes here first. A key with signs that JSON escapes is taken out in the spellings that
common encoders give it, too.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate_sidecar.providers.base import Headers
from tidegate_sidecar.proxy.upstream import UpstreamResponse

REDACTED: Final = "[redacted]"

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]*")
"""What no encoder of JSON writes in another way; most keys are made of it."""


def _numbered(signs: str, case: str = "x") -> tuple[tuple[str, str], ...]:
    return tuple((sign, f"\\u{ord(sign):04{case}}") for sign in signs)


_BACKSLASH: Final = (("\\", "\\\\"),)
_QUOTE: Final = (('"', '\\"'),)
_ENCODERS: Final = (
    _BACKSLASH + _QUOTE,
    _BACKSLASH + _QUOTE + (("/", "\\/"),),  # PHP
    _BACKSLASH + _QUOTE + _numbered("<>&"),  # Go, for the sake of HTML
    _BACKSLASH + _numbered("<>&'+`\"", "X"),  # .NET
    _BACKSLASH + _numbered("<>&'+`\""),
)
"""What each encoder replaces, the backslash before anything that brings more of them."""


class RedactedResponse:
    """An `UpstreamResponse` without `key` in it, wherever the key is and however it is cut into pieces."""

    __slots__ = ("_held", "_inner", "_spellings", "headers", "status")

    def __init__(self, inner: UpstreamResponse, key: str) -> None:
        """Stand in front of `inner`."""
        self._inner = inner
        texts = spellings(key)
        self._spellings = tuple(text.encode() for text in texts)
        self._held = b""
        self.status = inner.status
        self.headers: Headers = tuple((name, _without(texts, value)) for name, value in inner.headers)

    async def read(self) -> bytes:
        """See `UpstreamResponse`. What may be the beginning of the key waits for the next piece."""
        while True:
            piece = await self._inner.read()
            data = self._held + piece if self._held else piece
            for spelling in self._spellings:
                if spelling in data:
                    data = data.replace(spelling, REDACTED.encode())
            if not piece:
                self._held = b""
                return data
            at = min(_beginning_of(spelling, data) for spelling in self._spellings)
            self._held, data = data[at:], data[:at]
            if data:
                return data

    def close(self) -> None:
        """See `UpstreamResponse`."""
        self._inner.close()


def spellings(key: str) -> tuple[str, ...]:
    """The key as it is, and as JSON may have it."""
    if _PLAIN.fullmatch(key):
        return (key,)
    found = [key]
    for replacements in _ENCODERS:
        text = key
        for sign, written in replacements:
            text = text.replace(sign, written)
        found.append(text)
    return tuple(dict.fromkeys(found))


def _without(texts: tuple[str, ...], value: str) -> str:
    for text in texts:
        value = value.replace(text, REDACTED)
    return value


def _beginning_of(key: bytes, data: bytes) -> int:
    """Where at the end of `data` a part begins that the key begins with too; its length where there is none."""
    end = len(data)
    if data[-1:] not in key:
        return end  # the usual case: pieces end in a line break or a brace, keys have neither
    at = max(0, end - len(key) + 1)
    while (at := data.find(key[:1], at)) >= 0:
        if key.startswith(data[at:]):
            return at
        at += 1
    return end
