"""Keeps the certificates: the leader changes what is due, everybody takes what is there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from tidegate_operator.certificates.bundle import Bundle, BundleError
from tidegate_operator.certificates.plan import Plan, next_step

_log = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
FIRST_S: Final = 1.0
"""As long as there is no certificate the process cannot serve, so it looks more often."""

STORE_S: Final = 10.0
MAX_STEPS: Final = 8
"""Changes in one pass; even after years more are not due."""

_ADVICE: Final = (
    "restore it, or delete it and restart the operator to begin with a new authority, which only pods that start "
    "afterwards trust"
)


class CertificateStore(Protocol):
    """The Secret. It knows nothing of what is in it; any exception means that it could not be asked."""

    async def read(self) -> tuple[Mapping[str, bytes], str] | None:
        """Data and version (`resourceVersion`); None when there is no such Secret."""
        ...

    async def write(self, data: Mapping[str, bytes], version: str) -> str | None:
        """Replace the data if the Secret still has `version` (empty: if there is none); the new version.

        None: somebody else was faster, and nothing was written.
        """
        ...


class CertificateKeeper:
    """`run` is the body of one task, the same on the leader and its followers."""

    def __init__(
        self,
        store: CertificateStore,
        plan: Plan,
        *,
        may_write: Callable[[], bool],
        confirm: Callable[[], Awaitable[bool]],
        on_bundle: Callable[[Bundle], None],
        wall_s: Callable[[], float] = time.time,
        interval_s: float = INTERVAL_S,
        first_s: float = FIRST_S,
    ) -> None:
        """Know no bundle yet.

        Args:
            store: where the bundle is.
            plan: what there is to be.
            may_write: whether this process leads.
            confirm: asks the cluster the same, before what cannot be undone.
            on_bundle: given each new bundle, to serve its leaf and announce its trust; an `OSError` (bad certificate)
                is logged, and the bundle is given again in the next pass.
            wall_s: seconds since the epoch.
            interval_s: pause between two passes.
            first_s: the same while there is no bundle.
        """
        self._store = store
        self._plan = plan
        self._may_write = may_write
        self._confirm = confirm
        self._on_bundle = on_bundle
        self._wall_s = wall_s
        self._interval_s = interval_s
        self._first_s = first_s
        self._ready = asyncio.Event()
        self.bundle: Bundle | None = None
        """In use."""

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s if self.bundle is not None else self._first_s)

    async def wait_ready(self) -> None:
        """Return once a bundle is in use."""
        await self._ready.wait()

    async def look(self) -> None:
        """One pass. A store that fails or holds nonsense changes nothing: what is in use stays in use."""
        try:
            async with asyncio.timeout(STORE_S):
                await self._pass()
        except Exception as error:  # noqa: BLE001 - whatever a store fails with, there is a next pass
            _log.warning("certificates could not be looked after: %s: %s", type(error).__name__, error)

    async def _pass(self) -> None:
        found = await self._store.read()
        data, version = found if found is not None else ({}, "")
        bundle = self._read(data)
        if bundle is not None:
            self._take(bundle)
        if not self._may_write():
            return
        if bundle is None and self.bundle is not None:
            if not await self._confirm():
                return
            # Deleted or damaged: an authority made anew would be trusted by no pod that runs.
            _log.warning("the Secret of the certificates is put back as this replica knows it")
            await self._store.write(self.bundle.to_data(), version)
            return
        if bundle is not None or not data:
            await self._advance(bundle, version)

    async def _advance(self, bundle: Bundle | None, version: str) -> None:
        """Do what is due, one step after the other."""
        for _ in range(MAX_STEPS):
            step = next_step(bundle, self._plan, int(self._wall_s()))
            if step is None:
                return
            if not await self._confirm():
                _log.info("another replica holds the Lease by now: the certificates are its to change")
                return
            written = await self._store.write(step.to_data(), version)
            if written is None:
                _log.info("another replica has changed the certificates; this one reads them again")
                return
            _log.info("certificates: %s", _difference(bundle, step))
            # Only what is written is served: a replica that dies here leaves nothing that others do not know.
            bundle, version = step, written
            self._take(bundle)

    def _read(self, data: Mapping[str, bytes]) -> Bundle | None:
        try:
            return Bundle.from_data(data) if data else None
        except BundleError as error:
            _log.error("the Secret of the certificates is damaged: %s; %s", error, _ADVICE)
            return None

    def _take(self, bundle: Bundle) -> None:
        if bundle == self.bundle:
            return
        self._on_bundle(bundle)
        self.bundle = bundle
        self._ready.set()


def _difference(before: Bundle | None, after: Bundle) -> str:
    """What a step has done, in words."""
    if before is None or after.authority not in (before.authority, before.successor):
        return f"a new authority and its first certificate: {after.authority}"
    if after.authority != before.authority:
        return f"the announced authority signs from now on: {after.leaf}"
    if after.leaf != before.leaf:
        return f"the certificate was renewed: {after.leaf}"
    if after.successor is not None and before.successor is None:
        return f"a new authority is announced: {after.successor}"
    return "a former authority is not trusted any more"
