"""kopf's thread: whoever ends the process waits for it."""

from __future__ import annotations

import asyncio
from typing import cast

import kopf

from tidegate_operator.cluster.stream import WatchSessions
from tidegate_operator.handlers.watch_engine import _Engine


class Short(_Engine):
    """Ends at once: nothing is watched."""

    async def _watch(self) -> None:
        return


async def test_a_thread_that_has_ended_can_be_waited_for() -> None:
    """Its class must not take a name of `threading.Thread` for something else: `join` would fail at the process' end."""
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    sessions = cast("WatchSessions", None)  # none is made
    engine = Short(kopf.OperatorRegistry(), kopf.OperatorSettings(), sessions, ended)
    engine.start()
    async with asyncio.timeout(30):
        assert await ended is None
        await asyncio.to_thread(engine.join, 10)
    assert not engine.is_alive()
