"""The one place where a key is taken out of what a provider says.

Some providers quote the key in errors, and some debug endpoints quote the request; what the application is given,
and what is logged of it, passes here first. A key with signs that JSON escapes is taken out in the spellings that
common encoders give it, too.
"""

from __future__ import annotations

import json
from typing import Final

from tidegate_sidecar.providers.base import Headers
from tidegate_sidecar.proxy.upstream import UpstreamResponse

REDACTED: Final = "[redacted]"

_FOR_HTML: Final = "<>&"
_CAUTIOUS: Final = "<>&'+`"
"""What encoders write as \\uXXXX although JSON does not ask for it: Go and PHP for HTML's sake, .NET some more."""


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
    """The key as it is, and as JSON may have it; for most keys that is the same."""
    plain = json.dumps(key)[1:-1]
    found = [key, plain, plain.replace("/", "\\/"), _escaped(key, _FOR_HTML, "x")]
    found += [_escaped(key, _CAUTIOUS + '"', case) for case in "xX"]
    return tuple(dict.fromkeys(found))


def _escaped(key: str, signs: str, case: str) -> str:
    return "".join(f"\\u{ord(sign):04{case}}" if sign in signs else json.dumps(sign)[1:-1] for sign in key)


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
