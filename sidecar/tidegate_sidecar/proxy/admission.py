"""The shell around policies: waits for rights that have to be got from elsewhere and for turns in queues, asks again, gives up in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Final

from tidegate_sidecar.policies.base import Admitted, Facts, Needs, PolicySet, Rejected, Wait

ACQUIRE_S: Final = 0.05
"""How long a call waits for rights from a store."""

ASKED_AGAIN: Final = 2
"""How often policies are asked again after rights or a turn have come, since others may have taken them by then."""


class Acquisitions:
    """Rights that are being got at the moment: calls that need the same wait for the same answer."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[bool | None]] = {}

    async def get(self, needs: Needs) -> bool:
        """Get what is needed, or wait for the one who does; False where it was not to be had in time.

        Whoever comes first asks, and what comes of it holds for all that wait. If that call is cancelled, the next of
        them asks in its place.
        """
        while True:
            running = self._running.get(needs.key)
            if running is None:
                return await self._acquire(needs)
            try:
                async with asyncio.timeout(ACQUIRE_S):
                    is_there = await asyncio.shield(running)
            except TimeoutError:
                return False
            if is_there is not None:
                return is_there

    async def _acquire(self, needs: Needs) -> bool:
        running = self._running[needs.key] = asyncio.get_running_loop().create_future()
        is_there: bool | None = False
        try:
            async with asyncio.timeout(ACQUIRE_S):
                await needs.acquire()
            is_there = True
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            # A value: whoever waits could not tell a future that is cancelled from a call that is.
            is_there = None
            raise
        finally:
            del self._running[needs.key]
            running.set_result(is_there)
        return True


async def admit(
    policies: PolicySet, facts: Facts, now_ns: Callable[[], int], acquisitions: Acquisitions, *, due_ns: int
) -> Admitted | Rejected:
    """Ask `policies`, waiting for what they need, until they have granted or refused; nobody queues beyond `due_ns`."""
    verdict = policies.admit(facts, now_ns())
    for _ in range(ASKED_AGAIN):
        if isinstance(verdict, Admitted | Rejected):
            return verdict
        if isinstance(verdict, Needs):
            is_there = await acquisitions.get(verdict)
        else:
            is_there = await _turn(
                verdict, within_s=min(verdict.max_wait_ms / 1e3, (due_ns - now_ns()) / 1e9)
            )
        if not is_there:
            return verdict.otherwise
        verdict = policies.admit(facts, now_ns())
    return verdict if isinstance(verdict, Admitted | Rejected) else verdict.otherwise


async def _turn(wait: Wait, *, within_s: float) -> bool:
    """Stand in a queue; False where the turn did not come in time."""
    turn = asyncio.get_running_loop().create_future()
    leave = wait.join(lambda: None if turn.done() else turn.set_result(None))
    try:
        async with asyncio.timeout(within_s):
            await turn
    except TimeoutError:
        return False
    finally:
        leave()
    return True
