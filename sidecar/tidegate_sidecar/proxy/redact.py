"""The one place where our key is taken out of what a provider says.

Some providers quote the key in errors, and some debug endpoints quote the request; what the application is given,
and what is logged of it, passes here first.
"""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.providers.base import Headers
from tidegate_sidecar.proxy.upstream import UpstreamResponse

REDACTED: Final = "[redacted]"


class RedactedResponse:
    """An `UpstreamResponse` without `key` in it, wherever the key is and however it is cut into pieces."""

    __slots__ = ("_held", "_inner", "_key", "headers", "status")

    def __init__(self, inner: UpstreamResponse, key: str) -> None:
        """Stand in front of `inner`."""
        self._inner = inner
        self._key = key.encode()
        self._held = b""
        self.status = inner.status
        self.headers: Headers = tuple((name, value.replace(key, REDACTED)) for name, value in inner.headers)

    async def read(self) -> bytes:
        """See `UpstreamResponse`. What may be the beginning of the key waits for the next piece."""
        key = self._key
        while True:
            piece = await self._inner.read()
            data = self._held + piece if self._held else piece
            if key in data:
                data = data.replace(key, REDACTED.encode())
            if not piece:
                self._held = b""
                return data
            at = _beginning_of(key, data)
            self._held, data = data[at:], data[:at]
            if data:
                return data

    def close(self) -> None:
        """See `UpstreamResponse`."""
        self._inner.close()


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
