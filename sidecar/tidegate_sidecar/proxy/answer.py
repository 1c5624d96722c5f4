"""What the application is given, whoever made it: a head, first bytes, and for a stream the rest.

A provider's answer, a fixed message and a remembered answer are all an `Answer`; `deliver` alone writes it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tidegate_sidecar.dialects.base import RawHeaders


class Sink(Protocol):
    """Takes the pieces of an answer that comes bit by bit. Nothing is awaited: who cannot keep up says `pause`."""

    def on_piece(self, piece: bytes) -> None:
        """More of the body."""
        ...

    def on_end(self, last: bytes) -> None:
        """The end of it, with its last bytes if there are any."""
        ...

    def on_cut(self) -> None:
        """It ends here and is not whole: the one who reads must see that."""
        ...


class Rest(Protocol):
    """What follows the first bytes of an answer, pushed into a sink."""

    def start(self, sink: Sink) -> None:
        """Push into `sink` from now on, what has come meanwhile first."""
        ...

    def pause(self) -> None:
        """Push no more for now; the provider is held back."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    async def over(self) -> None:
        """Wait until nothing follows. Cancelling it lets go of the provider's connection."""
        ...


class Answer(NamedTuple):
    """An answer that is certain to be the one.

    Attributes:
        status: of the response.
        headers: of the response, without those of framing.
        first: all of the body where there is no `rest`.
        rest: the source of what follows.
        own: headers of ours that go with it; those of a provider that are named like ours are dropped.
    """

    status: int
    headers: RawHeaders
    first: bytes
    rest: Rest | None = None
    own: RawHeaders = ()


class Whole(NamedTuple):
    """An answer that was read to its end, its body decoded where that is possible."""

    status: int
    headers: RawHeaders
    body: bytes
    is_encoded: bool = False
    """The body is in an encoding that nobody here unpacks, and its header says which."""
