"""The watches and the net under them as one part of the process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from tidegate_operator.api.kinds import WATCHED
from tidegate_operator.cluster.client import Access, object_path
from tidegate_operator.cluster.liveness import Liveness
from tidegate_operator.cluster.stream import WatchSessions
from tidegate_operator.handlers import watch_engine
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.resync import Periods, Resync
from tidegate_policy.envelope import AsOf

PATHS: Final = {kind.name: object_path(kind.api, kind.plural, "") for kind in WATCHED.values()}
"""Where each kind is listed and watched."""


LONGEST_PAUSE_S: Final = 30.0
STEADY_NS: Final = 60_000_000_000
"""Who has watched for so long does not end soon."""
MAX_THREADS: Final = 4
"""Threads of kopf, that of now and those that could not end."""

_log = logging.getLogger(__name__)


class WatchSupervisor:
    """Keeps the index up to date."""

    def __init__(
        self, dependencies: Dependencies, access: Access, on_fall: Callable[[str, int, int], None]
    ) -> None:
        """Nothing is watched yet; `on_fall` is told kind, version before and now when versions have fallen."""
        settings = dependencies.settings
        self._settings = settings
        self._access = access
        self._informer = dependencies.informer
        self._metrics = dependencies.metrics
        self._stop = asyncio.Event()
        self._ends = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_running = False
        self.problem = ""
        """Why nobody watches at the moment; empty while kopf does."""
        self.liveness = Liveness(WATCHED, now_ns=time.monotonic_ns(), silent_ms=settings.watch.silent_ms)
        periods = Periods(
            relist_ms=settings.lists.relist_ms,
            pause_ms=settings.lists.relist_pause_ms,
            retry_max_ms=settings.api_server.retry_max_ms,
        )
        self._resync = Resync(
            dependencies.client,
            dependencies.informer,
            dependencies.metrics,
            periods,
            paths=PATHS,
            on_fall=on_fall,
        )

    def lists(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Tasks that list."""
        for kind in PATHS:
            yield f"list of {kind}", self._resync.follow(kind)

    async def listed(self) -> None:
        """Return when every kind has been listed once."""
        await self._informer.listed.wait()

    async def watch(self) -> None:
        """Watch until `stop`. Where kopf ends by itself it is begun again, after a pause that grows while it ends soon.

        Raises:
            WatchingEndedError: it left too many of its threads behind, which a new process is rid of.
        """
        self._loop = asyncio.get_running_loop()
        pauses = iter(watch_engine.Pauses(LONGEST_PAUSE_S))
        while True:
            begun_ns = time.monotonic_ns()
            self.liveness.begin(begun_ns)
            self.is_running = True
            self._ends = asyncio.Event()
            try:
                await self._watch_once(self._ends)
            except watch_engine.WatchingEndedError as error:
                if watch_engine.threads() > MAX_THREADS:
                    raise
                if time.monotonic_ns() - begun_ns > STEADY_NS:
                    pauses = iter(watch_engine.Pauses(LONGEST_PAUSE_S))
                await self._pause(next(pauses), error)
            if self._stop.is_set():
                return
            if watch_engine.threads() > MAX_THREADS:
                raise watch_engine.WatchingEndedError(
                    "watches that were begun again left their threads behind"
                )

    async def _pause(self, pause_s: float, error: watch_engine.WatchingEndedError) -> None:
        """Wait before the next beginning; lists tell meanwhile what has changed."""
        self.problem = str(error)
        self._metrics.watch_restarts.inc()
        _log.error("%s; it is begun again in %.1f s, and configurations go on being served", error, pause_s)
        try:
            async with asyncio.timeout(pause_s):
                await self._stop.wait()
        except TimeoutError:
            for kind in PATHS:
                self._resync.ask(kind)

    async def _watch_once(self, ends: asyncio.Event) -> None:
        settings = self._settings
        kinds_by_path = {path: kind for kind, path in PATHS.items()}
        sessions = WatchSessions(self._access, self.liveness, kinds_by_path, self._kopf_has_listed)
        await watch_engine.watch(
            watch_engine.registry(
                self._informer, self.liveness, lambda: (self._access.server, sessions.make())
            ),
            watch_engine.kopf_settings(
                length_ms=settings.watch.length_ms,
                inactivity_ms=settings.watch.inactivity_ms,
                request_ms=settings.api_server.request_ms,
                retry_max_ms=settings.api_server.retry_max_ms,
            ),
            sessions,
            ends,
        )

    def relist(self) -> None:
        """Watch and list everything into the index that is filled now, and forget what versions there were."""
        self._resync.relist()
        self._ends.set()

    def stop(self) -> None:
        """Let `watch` end."""
        self._stop.set()
        self._ends.set()

    def catch_up(self, ahead: AsOf) -> None:
        """A sidecar has been told more; a list shows whether there is more, or etcd was restored."""
        mine = self._informer.filled.objects.versions
        for kind, version in ahead.versions:
            if kind in mine and version > mine[kind]:
                self._resync.ask(kind, at_least=version)

    def count(self) -> None:
        """Bring the ages of the watches into the metrics."""
        now_ns = time.monotonic_ns()
        for kind in WATCHED:
            self._metrics.watch_age.labels(kind).set(self.liveness.age_ms(kind, now_ns) / 1000)

    def _kopf_has_listed(self, kind: str) -> None:
        """A list tells what is there; what is there no more, ours has to find out."""
        self.problem = ""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._resync.ask, kind)
