"""The keys of seals: read by every replica, made and changed by the holder of the Lease."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tidegate_operator.certificates.keeper import CertificateStore
from tidegate_operator.handlers.part import Tasks
from tidegate_operator.publish.seals import KEY_BYTES, Seals, next_keys, read_seals

_log = logging.getLogger(__name__)

FIRST_S = 0.5
"""Pause between two looks while there is no key: without one nothing is served."""


@dataclass(slots=True)
class SealKeeper:
    """Keeps the keys.

    Attributes:
        store: the Secret.
        may_write: whether this replica leads.
        confirm: asks the cluster the same, before keys are changed.
        interval_s: pause between two looks.
        seals: in use; None before the first look.
    """

    store: CertificateStore
    may_write: Callable[[], bool]
    confirm: Callable[[], Awaitable[bool]]
    interval_s: float
    wall_s: Callable[[], float] = time.time
    seals: Seals | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def tasks(self) -> Tasks:
        """Look after the keys."""
        yield "keys of seals", self._run()

    async def ready(self) -> None:
        """Return when there is a key."""
        await self._ready.wait()

    async def look(self) -> None:
        """One look. A Secret that cannot be read or holds nonsense changes nothing: the keys in use stay in use."""
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - whatever a store fails with, there is a next look
            _log.warning("the keys of seals could not be looked after: %s: %s", type(error).__name__, error)

    async def _look(self) -> None:
        found = await self.store.read()
        data, version = found if found is not None else ({}, "")
        self._take(read_seals(data))
        if not self.may_write():
            return
        wanted = next_keys(data, int(self.wall_s()), lambda: secrets.token_bytes(KEY_BYTES))
        if wanted is None or not await self.confirm():
            return
        if await self.store.write(wanted, version) is not None:
            _log.info("the keys of seals were changed")
            self._take(read_seals(wanted))

    def _take(self, seals: Seals | None) -> None:
        if seals is not None:
            self.seals = seals
            self._ready.set()

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(FIRST_S if self.seals is None else self.interval_s)
