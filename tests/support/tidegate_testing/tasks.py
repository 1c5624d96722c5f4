"""Waiting for what must happen, and proof that a block leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tidegate_testing.wire import DEADLINE_S


async def until(holds: Callable[[], object]) -> None:
    """Give the loop turns until something holds that nobody announces."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - the real program has no event for it
            await asyncio.sleep(0)


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """All tasks that begin within the block are over soon after it; a peer needs a moment to see a closed connection."""
    before = asyncio.all_tasks()
    yield
    # A fixture ends in another task than it began in.
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=20)
    assert not left, f"tasks are left behind: {left}"


@asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something that never ends beside the block."""
    task = asyncio.get_running_loop().create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
