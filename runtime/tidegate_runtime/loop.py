"""The event loop of every process: uvloop, without two of its ways to treat a connection that dies young."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar
from weakref import WeakSet

import uvloop

T = TypeVar("T")

CUT_S: Final = 2.0
"""How long the ends of cut connections are waited for; they take a turn or two of the loop."""

_log = logging.getLogger(__name__)


class EventLoop(uvloop.Loop):
    """uvloop's loop, which lets go of a socket that it was given when no connection came of it.

    uvloop closes the descriptor and leaves the socket object believing that it owns it, where a connection dies between
    its TCP and its TLS: the peer resets it before the first message of the handshake is written (0.23), or the caller is
    cancelled in that moment (up to 0.22, https://github.com/MagicStack/uvloop/issues/738). When the object is collected,
    it closes the same number again, which is another call's connection by then. aiohttp connects in this way.

    And where the caller is cancelled in the moment in which the peer ends the handshake, uvloop keeps the failure in a
    future that nobody awaits any more, and asyncio shows it as an error with a traceback (0.23).
    """

    def __init__(self) -> None:
        """Have no connections."""
        super().__init__()
        self._given: WeakSet[socket.socket] = WeakSet()

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As the base has it; a `sock` that is given is the loop's from here on, also where this fails."""
        given: socket.socket | None = kwargs.get("sock")
        if given is not None:
            self._given.add(given)
        try:
            return await super().create_connection(*args, **kwargs)
        except BaseException:
            if given is not None:
                given.detach()
            raise

    async def cut(self) -> None:
        """End the connections that are open or still closing, of those that were made with a `sock`, as aiohttp makes its own.

        A TLS connection is closed by a message and its answer. Whoever closes a session does not wait for the answer, and uvloop
        cannot close with such a connection: it raises, or waits for ever. So this comes before the loop is closed.
        """
        loose = [given for given in self._given if given.fileno() >= 0]
        for given in loose:
            with suppress(OSError):  # the peer was faster
                given.shutdown(socket.SHUT_RDWR)
        deadline_s = self.time() + CUT_S
        while any(given.fileno() >= 0 for given in loose) and self.time() < deadline_s:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(CUT_S / 1_000)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """As the base has it, except for a lost connection whose caller has gone: there is nobody left to be told."""
        if _is_of_a_caller_that_has_gone(context):
            _log.debug("a connection was lost that nobody waits for any more: %r", context["exception"])
        else:
            super().call_exception_handler(context)


def _is_of_a_caller_that_has_gone(context: dict[str, Any]) -> bool:
    # A task is work of ours, and its error is always told; a bare future of a lost connection is the loop's own.
    future = context.get("future")
    return (
        isinstance(future, asyncio.Future)
        and not isinstance(future, asyncio.Task)
        and isinstance(context.get("exception"), ConnectionError)
    )


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it in a new loop, and close the loop when it is through."""
    return uvloop.run(_and_cut(main), loop_factory=EventLoop)


async def _and_cut(main: Coroutine[Any, Any, T]) -> T:
    try:
        return await main
    finally:
        loop = asyncio.get_running_loop()
        if isinstance(loop, EventLoop):
            await loop.cut()
