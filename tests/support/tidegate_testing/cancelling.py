"""Cancels a handler at its n-th suspension, for every n there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from enum import Enum
from typing import Any

from tidegate_sidecar.downstream.request import AppRequest
from tidegate_sidecar.downstream.server import AppHandler


class Moment(Enum):
    """When, seen from what the handler waits for."""

    WAITING = "while it waits"
    WAKING = "when what it waited for has just happened"
    """The result is there and is never seen: what was acquired in that very moment must not be lost."""


class Cancelling:
    """Stands between a server and a handler.

    Attributes:
        at: the suspension at which the next call is cancelled, counted from 1; 0: never.
        moment: when exactly.
        has_cancelled: whether the last call has come so far.
    """

    def __init__(self, moment: Moment) -> None:
        self.at = 0
        self.moment = moment
        self.has_cancelled = False

    def wrap(self, handler: AppHandler) -> AppHandler:
        async def handle(request: AppRequest) -> Any:
            self.has_cancelled = False
            return await _Watched(handler(request), self)

        return handle

    def suspended(self, count: int, waits_for: Any) -> None:
        """The handler waits for a future, or for its next turn where there is none."""
        if count != self.at:
            return
        self.has_cancelled = True
        task = asyncio.current_task()
        assert task is not None
        if self.moment is Moment.WAKING and isinstance(waits_for, asyncio.Future):
            # Registered before the task's own callback, so that it is cancelled between the event and its waking up.
            waits_for.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


class _Watched:
    def __init__(self, awaitable: Awaitable[Any], cancelling: Cancelling) -> None:
        self._awaitable = awaitable
        self._cancelling = cancelling

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        count = 0
        step: Any = inner.send
        argument: Any = None
        while True:
            try:
                waits_for = step(argument)
            except StopIteration as stop:
                return stop.value
            count += 1
            self._cancelling.suspended(count, waits_for)
            try:
                argument = yield waits_for
                step = inner.send
            except BaseException as error:  # noqa: BLE001 - handed on to the handler, which it is meant for
                argument, step = error, inner.throw
