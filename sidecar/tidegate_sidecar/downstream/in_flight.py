"""Calls in flight: how many, and when there are none."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

_log = logging.getLogger(__name__)

CUT_S: Final = 1.0
"""How long calls that are cut get to settle; they wait for nothing, so this is never reached."""


class Cuttable(Protocol):
    """A call, as far as this module needs one."""

    def cut(self) -> None:
        """The process stops: end now, whatever is missing."""
        ...


class InFlight:
    """Holds the calls in flight, and lets a shutdown wait for the last one.

    Attributes:
        draining: the process is about to stop.
        cutting: calls that took too long are being cut; it is us who hang up, not the application.
    """

    __slots__ = ("_calls", "_idle", "cutting", "draining")

    def __init__(self) -> None:
        self.draining = False
        self.cutting = False
        self._calls: set[Cuttable] = set()
        self._idle: asyncio.Future[None] | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._calls)

    def begin(self, call: Cuttable) -> None:
        """One more."""
        self._calls.add(call)

    def end(self, call: Cuttable) -> None:
        """One less. Ending twice is ending once."""
        self._calls.discard(call)
        if not self._calls and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def wait_idle(self, grace_ms: int) -> int:
        """Wait until no call is in flight; cut those that still are after `grace_ms` and return their number."""
        self.draining = True
        if await self._end_within(grace_ms / 1_000):
            return 0
        self.cutting = True
        cut = tuple(self._calls)
        for call in cut:
            try:
                call.cut()
            except Exception:  # noqa: BLE001 - the others have to be cut all the same
                _log.exception("a call could not be cut")
        await self._end_within(CUT_S)
        return len(cut)

    async def _end_within(self, seconds: float) -> bool:
        """Whether none is left in time; the last one may end in the very turn of the loop in which the time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._calls and loop.time() < until:
            self._idle = loop.create_future()
            await asyncio.wait((self._idle,), timeout=until - loop.time())
        return not self._calls
