"""The event loop of every process: uvloop, without its one way to close a descriptor that belongs to somebody else."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class EventLoop(uvloop.Loop):
    """uvloop's loop, which lets go of a socket that it was given when no connection came of it.

    uvloop closes the descriptor and leaves the socket object believing that it owns it, where a connection dies between
    its TCP and its TLS: the peer resets it before the first message of the handshake is written (0.23), or the caller is
    cancelled in that moment (up to 0.22, https://github.com/MagicStack/uvloop/issues/738). When the object is collected,
    it closes the same number again, which is another call's connection by then. aiohttp connects in this way.
    """

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As the base has it; a `sock` that is given is the loop's from here on, also where this fails."""
        try:
            return await super().create_connection(*args, **kwargs)
        except BaseException:
            if (given := kwargs.get("sock")) is not None:
                given.detach()
            raise


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it in a new loop, and close the loop when it is through."""
    return uvloop.run(main, loop_factory=EventLoop)
