"""Receiver: whoever waits for an answer, as a connection knows it."""

from __future__ import annotations

from typing import Protocol

from tidegate_sidecar.upstream.faults import ConnectionFault


class Receiver(Protocol):
    """Is told `on_head`, then `on_body` any number of times, then `on_end`; at any point `on_failure` may stand for the rest.

    One read of the socket leads to one call of each at most. Within any of them the receiver may pause or close the
    connection, or let it linger.
    """

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The final head, 200 or above; interim ones are passed over. Names and values are the bytes that came."""
        ...

    def on_body(self, piece: bytes) -> None:
        """All that one read has brought of the body; never empty."""
        ...

    def on_end(self) -> None:
        """The answer is over, framing proper. Its connection is idle or closed already."""
        ...

    def on_failure(self, fault: ConnectionFault) -> None:
        """There is no (more) answer. Nothing follows, and the connection is closed."""
        ...
