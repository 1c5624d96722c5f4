"""Calls in flight: how many, and when there are none."""

from __future__ import annotations

import asyncio
from types import TracebackType


class InFlight:
    """Counts calls, and lets a shutdown wait for the last one. `with in_flight:` around a call."""

    def __init__(self) -> None:
        self.count = 0
        self.draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self.count += 1
        self._idle.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.count -= 1
        if self.count == 0:
            self._idle.set()

    async def wait_idle(self, grace_ms: int) -> bool:
        """Wait until no call is in flight; False when some still are after `grace_ms`."""
        self.draining = True
        try:
            async with asyncio.timeout(grace_ms / 1_000):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
