"""The watches and the net under them as one part of the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import aiohttp

from tidegate_operator.api.kinds import API_VERSION
from tidegate_operator.api.kinds import KINDS as OURS
from tidegate_operator.cluster.client import Access, object_path
from tidegate_operator.cluster.liveness import Liveness
from tidegate_operator.cluster.stream import watching_session
from tidegate_operator.handlers import watching
from tidegate_operator.handlers.common import Common
from tidegate_operator.handlers.news import KINDS, POD
from tidegate_operator.handlers.relisting import Periods, Relisting
from tidegate_operator.index.objects import NAMESPACE
from tidegate_policy.envelope import AsOf

PATHS: Final = {
    **{kind.name: object_path(API_VERSION, kind.plural, "") for kind in OURS.values()},
    NAMESPACE: object_path("v1", "namespaces", ""),
    POD: object_path("v1", "pods", ""),
}
"""Where each kind is listed and watched."""


class Watches:
    """Keeps the index up to date."""

    def __init__(self, common: Common, access: Access, on_fall: Callable[[str, int, int], None]) -> None:
        """Nothing is watched yet; `on_fall` is told kind, version before and now when versions have fallen."""
        settings = common.settings
        self._settings = settings
        self._access = access
        self._news = common.news
        self._metrics = common.metrics
        self._stop = asyncio.Event()
        self._sessions: list[aiohttp.ClientSession] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_running = False
        self.liveness = Liveness(KINDS, now_ns=time.monotonic_ns(), silent_ms=settings.watch_silent_ms)
        periods = Periods(
            relist_ms=settings.relist_ms,
            pause_ms=settings.relist_pause_ms,
            retry_max_ms=settings.retry_max_ms,
        )
        self._relisting = Relisting(
            common.client, common.news, common.metrics, periods, paths=PATHS, on_fall=on_fall
        )

    def lists(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Tasks that list."""
        for kind in PATHS:
            yield f"list of {kind}", self._relisting.follow(kind)

    async def listed(self) -> None:
        """Return when every kind has been listed once."""
        await self._news.listed.wait()

    async def watch(self) -> None:
        """Watch until `stop`.

        Raises:
            WatchingEndedError: kopf ended by itself.
        """
        settings = self._settings
        self.is_running = True
        self.liveness.begin(time.monotonic_ns())
        self._loop = asyncio.get_running_loop()
        await watching.watch(
            watching.registry(self._news, self.liveness, self._log_in),
            watching.kopf_settings(
                length_ms=settings.watch_length_ms,
                inactivity_ms=settings.watch_inactivity_ms,
                request_ms=settings.request_ms,
                retry_max_ms=settings.retry_max_ms,
            ),
            self._sessions,
            self._stop,
        )

    def stop(self) -> None:
        """Let `watch` end."""
        self._stop.set()

    def catch_up(self, ahead: AsOf) -> None:
        """A sidecar says that it has seen more; a list shows whether there is more."""
        mine = self._news.objects.versions
        for kind, version in ahead.versions:
            if kind in PATHS and version > mine.get(kind, 0):
                self._relisting.ask(kind)

    def count(self) -> None:
        """Bring the ages of the watches into the metrics."""
        now_ns = time.monotonic_ns()
        for kind in KINDS:
            self._metrics.watch_age.labels(kind).set(self.liveness.age_ms(kind, now_ns) / 1000)

    def _log_in(self) -> tuple[str, aiohttp.ClientSession]:
        """In kopf's loop."""
        kinds_by_path = {path: kind for kind, path in PATHS.items()}
        session = watching_session(self._access, self.liveness, kinds_by_path, self._kopf_has_listed)
        # kopf closes those that it has given up
        self._sessions[:] = [it for it in self._sessions if not it.closed] + [session]
        return self._access.server, session

    def _kopf_has_listed(self, kind: str) -> None:
        """A list tells what is there; what is there no more, ours has to find out."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._relisting.ask, kind)
