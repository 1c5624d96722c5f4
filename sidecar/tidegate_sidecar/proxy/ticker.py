"""The one clock tick of the process: whoever waits says until when, and a look every 50 ms finds who has waited too long.

A timer for each deadline of each call costs more than the rest of the call's bookkeeping; deadlines here are seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol

from tidegate_sidecar.clock import Clock

_log = logging.getLogger(__name__)

TICK_S: Final = 0.05
ENDLESS: Final = 1 << 62
"""Later than any deadline."""


class Waiting(Protocol):
    """Somebody who waits for something. `due_ns` may be assigned at any time; `ENDLESS`: not for the clock."""

    due_ns: int

    def on_due(self, now_ns: int) -> None:
        """The time is over."""
        ...


class Ticker:
    """Looks at all who wait, and tells the others who want to hear each tick."""

    __slots__ = ("_clock", "_listeners", "_waiting")

    def __init__(self, clock: Clock) -> None:
        """Measure time by `clock`."""
        self._clock = clock
        self._waiting: set[Waiting] = set()
        self._listeners: list[Callable[[int], None]] = []

    def add(self, waiting: Waiting) -> None:
        """Look at it from now on."""
        self._waiting.add(waiting)

    def discard(self, waiting: Waiting) -> None:
        """Look at it no more; it need not be there."""
        self._waiting.discard(waiting)

    def listen(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the time at each tick."""
        self._listeners.append(listener)

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def tick(self) -> None:
        """Tell those whose time is over. A fault of one of them is logged and stops nobody else."""
        now_ns = self._clock.monotonic_ns()
        for waiting in [it for it in self._waiting if it.due_ns <= now_ns]:
            if waiting in self._waiting:  # one who was told before may have let go of it
                self._tell(waiting.on_due, now_ns)
        for listener in self._listeners:
            self._tell(listener, now_ns)

    async def run(self) -> None:
        """Tick for as long as the process lives."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    @staticmethod
    def _tell(listener: Callable[[int], None], now_ns: int) -> None:
        try:
            listener(now_ns)
        except Exception:  # noqa: BLE001 - the others have waited as long
            _log.exception("a deadline could not be handled")


class Deadline:
    """Bounds what is awaited within it: `async with Deadline(...)` raises TimeoutError where the time is over first.

    Attributes:
        due_ns: when it is over.
    """

    __slots__ = ("_scope", "_ticker", "due_ns")

    def __init__(self, ticker: Ticker, due_ns: int) -> None:
        """Be looked at by `ticker` from the beginning of the block to its end."""
        self._ticker = ticker
        self._scope = asyncio.timeout(None)
        self.due_ns = due_ns

    @property
    def is_over(self) -> bool:
        """It was the time that ended the block, and not a TimeoutError of somebody else."""
        return self._scope.expired()

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        self._ticker.add(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ticker.discard(self)
        await self._scope.__aexit__(kind, error, traceback)

    def on_due(self, now_ns: int) -> None:  # noqa: ARG002 - it is over
        self._ticker.discard(self)
        self._scope.reschedule(0)
