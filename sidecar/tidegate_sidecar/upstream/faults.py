"""What goes wrong between us and a provider, as values that decisions are made with."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

STALE_MS: Final = 1_000
"""A reused connection that ends within this time after a request was written had most likely ended before it."""


class FaultKind(Enum):
    """What went wrong, apart from what an answer says."""

    DNS = "dns_failed"
    """The host's name leads nowhere, or no name server said where."""
    CONNECT = "connect_failed"
    CONNECT_TIMEOUT = "connect_timed_out"
    TLS = "tls_failed"
    """The certificate is not trusted, or the handshake failed in another way."""
    NOT_PUBLIC = "not_public"
    """The host has no public address, and only public ones may be connected to."""
    PROXY = "proxy_failed"
    """The proxy on the way was not reached, or would not lead to the host."""
    TOO_MANY = "too_many_connections"
    """We have as many connections to the place as we may have. No news of the provider's health."""
    UPLOAD = "upload_failed"
    """The rest of the request is not to be had any more. No news of the provider's health."""
    CLOSED = "closed"
    """The connection ended before the answer did."""
    GARBAGE = "garbage"
    """What came is no HTTP/1.1 answer."""


class ConnectionFault(NamedTuple):
    """Why there is no (whole) answer.

    Attributes:
        kind: what went wrong.
        reason: the same in words for people, to be read behind the provider's name. It never quotes a header or a body.
        sent: a byte of the request may have left. If not, no provider has seen any of it.
        answer_began: a byte of an answer was seen.
        after_ms: time since the first byte of the request was written; 0 if none was.
        is_reused: the connection had carried another request before.
    """

    kind: FaultKind
    reason: str
    sent: bool = False
    answer_began: bool = False
    after_ms: int = 0
    is_reused: bool = False


class ConnectError(Exception):
    """No connection was made. The message is the fault's reason."""

    def __init__(self, fault: ConnectionFault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


def is_stale(fault: ConnectionFault) -> bool:
    """Whether a connection had ended while it was idle, which is no failure of the provider.

    The request is then sent again, once and on a new connection. That is so only if a REUSED connection closed

    - before the first byte of the request was written, or
    - within `STALE_MS` of writing, with no byte of an answer: providers close idle connections without a warning, and
      the request crosses the end of the connection on its way (RFC 9112, section 9.3.1).

    Any other end may have been charged for, and is a failed attempt.
    """
    if fault.kind is not FaultKind.CLOSED or not fault.is_reused or fault.answer_began:
        return False
    return not fault.sent or fault.after_ms <= STALE_MS
