"""The one place where keys are taken out of what a provider says (PURE).

Some providers quote the key in errors, and some debug endpoints quote the request; what the application is given,
and what is logged of it, passes here first. A key with signs that JSON escapes is taken out in the spellings that
common encoders give it, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tidegate_sidecar.dialects.base import RawHeaders

REDACTED: Final = b"[redacted]"

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


def spellings(key: str) -> tuple[bytes, ...]:
    """The key as it is, and as JSON may have it."""
    if _PLAIN.fullmatch(key):
        return (key.encode(),)
    texts = [key]
    for replacements in _ENCODERS:
        text = key
        for sign, written in replacements:
            text = text.replace(sign, written)
        texts.append(text)
    return tuple(text.encode() for text in dict.fromkeys(texts))


def without(secrets: Iterable[bytes], data: bytes) -> bytes:
    """`data` with every one of `secrets` replaced."""
    for secret in secrets:
        if secret in data:
            data = data.replace(secret, REDACTED)
    return data


def headers_without(secrets: Iterable[bytes], headers: RawHeaders) -> RawHeaders:
    """`headers` with every one of `secrets` replaced in their values."""
    values = b"\n".join([value for _, value in headers])
    for secret in secrets:
        if secret in values:
            headers = [(name, value.replace(secret, REDACTED)) for name, value in headers]
    return headers


class StreamRedactor:
    """Takes secrets out of bytes that come in pieces, however a secret is cut into them."""

    __slots__ = ("_held", "_secrets")

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        """Take these out."""
        self._secrets = secrets
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be passed on; what may be the beginning of a secret waits for the next piece."""
        data = self._held + piece if self._held else piece
        end = len(data)
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, REDACTED)
                end = len(data)
        for secret in self._secrets:
            # The usual case: pieces end in a line break or a brace, and keys have neither.
            if data[-1:] in secret:
                end = min(end, _beginning_of(secret, data))
        if end == len(data):
            self._held = b""
            return data
        self._held = data[end:]
        return data[:end]

    def finish(self) -> bytes:
        """What was held, when nothing follows."""
        held, self._held = self._held, b""
        return held


def _beginning_of(secret: bytes, data: bytes) -> int:
    """Where at the end of `data` a part begins that `secret` begins with too; the end where there is none."""
    end = len(data)
    at = max(0, end - len(secret) + 1)
    while (at := data.find(secret[:1], at)) >= 0:
        if secret.startswith(data[at:]):
            return at
        at += 1
    return end
