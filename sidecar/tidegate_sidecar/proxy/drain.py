"""Calls in flight: how many, and when there are none."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final

CUT_S: Final = 1.0
"""How long calls that are cut get to settle; they await nothing, so this is never reached."""


class InFlight:
    """Counts calls, and lets a shutdown wait for the last one. `with in_flight:` around a call, within its task.

    Attributes:
        draining: the process is about to stop.
        cutting: calls that took too long are being cancelled; it is us who hang up, not the application.
    """

    def __init__(self) -> None:
        self.draining = False
        self.cutting = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def __enter__(self) -> None:
        self._tasks.add(_this_task())
        self._idle.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.discard(_this_task())
        if not self._tasks:
            self._idle.set()

    async def wait_idle(self, grace_ms: int) -> int:
        """Wait until no call is in flight; cut those that still are after `grace_ms` and return their number."""
        self.draining = True
        try:
            async with asyncio.timeout(grace_ms / 1_000):
                await self._idle.wait()
        except TimeoutError:
            return await self._cut()
        return 0

    async def _cut(self) -> int:
        self.cutting = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CUT_S)
        return len(tasks)


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "calls are handled in tasks"  # noqa: S101 - a programming error
    return task
