"""Which headers go on, in either direction (PURE)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tidegate_policy.keys import PLACEHOLDER_KEY
from tidegate_policy.model import Provider
from tidegate_sidecar.providers.base import Headers

# RFC 9110 section 7.6.1: these speak of one connection, not of the message.
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# Said anew for each try, or nobody's business but ours and the application's.
_NOT_SENT: Final = _HOP_BY_HOP | {
    "accept-encoding",
    "content-encoding",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "via",
}

_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})

_LEAST_KEY: Final = 16
"""A shorter key is none that opens anything, and would be found in half of all words."""

_NOT_RETURNED: Final = _HOP_BY_HOP | {"content-encoding", "content-length", "set-cookie", "server", "date"}


def request_headers(
    received: Iterable[tuple[str, str]], provider: Provider, auth: Headers, consumer_header: str
) -> Headers:
    """Headers of a try.

    The application's own, without credentials (unless the provider takes the caller's) and without the header that
    names the consumer, which is between the application and us; then the provider's constants; then its key.
    `accept-encoding` is always identity, so that usage can be read in what comes back.
    """
    received = tuple(received)
    dropped = {header.name.lower() for header in provider.headers} | _named_by_connection(received)
    dropped.add(consumer_header)
    sent = [("accept-encoding", "identity")]
    for name, value in received:
        lower = name.lower()
        if lower in _NOT_SENT or lower in dropped or lower.startswith("x-tidegate-"):
            continue
        if lower in _CREDENTIALS and not provider.caller_credential:
            continue
        sent.append((lower, value))
    sent.extend((header.name, header.value) for header in provider.headers)
    sent.extend(auth)
    return tuple(sent)


def without_placeholder(received: Headers) -> Headers | None:
    """The application's headers without the key that opens nothing; None where it has no other key."""
    placeholders = {
        name for name, value in received if _is_credential(name) and _key(value) == PLACEHOLDER_KEY
    }
    kept = tuple((name, value) for name, value in received if name not in placeholders)
    return kept if not placeholders or any(_is_credential(name) for name, _ in kept) else None


def own_keys(received: Headers) -> tuple[str, ...]:
    """The application's keys, as far as they are long enough to be taken out of an answer."""
    return tuple(
        key for name, value in received if _is_credential(name) and len(key := _key(value)) >= _LEAST_KEY
    )


def _is_credential(name: str) -> bool:
    return name.lower() in _CREDENTIALS


def _key(value: str) -> str:
    """The key in a credential's value: what follows the scheme, where there is one."""
    return value.strip().rpartition(" ")[2]


def response_headers(received: Headers) -> list[tuple[str, str]]:
    """The provider's headers that the application sees."""
    dropped = _NOT_RETURNED | _named_by_connection(received)
    return [
        (name, value)
        for name, value in received
        if (lower := name.lower()) not in dropped and not lower.startswith("x-tidegate-")
    ]


def _named_by_connection(received: Headers) -> set[str]:
    """Headers that the sender declares to be for this connection alone (RFC 9110 section 7.6.1)."""
    return {
        token.strip().lower()
        for name, value in received
        if name.lower() == "connection"
        for token in value.split(",")
    }


def content_type(headers: Headers) -> str:
    """The media type without its parameters, lower case; empty where there is none."""
    for name, value in headers:
        if name.lower() == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""
