"""kopf as the engine that watches, and its only importer.

Used: list-then-watch with reconnects for each kind, and raw events. Not used, each for a reason: create, update and
delete handlers (they write annotations and finalizers, and a finalizer blocks deletions while the operator is down),
indices (their first fill grows with the square of the objects), peering (it pauses all replicas but one), its
admission server, its event posting, and the scanning of all kinds and namespaces.

kopf ends as a whole on errors that it does not expect: a definition is deleted, a right is taken away. Then it is begun
again, with all of its state new, while configurations go on being served (`watch_supervisor.py`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import aiohttp
import kopf

from tidegate_operator.api.kinds import WATCHED, Watched
from tidegate_operator.cluster.liveness import Liveness
from tidegate_operator.cluster.stream import WatchSessions
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.index.pods import INJECTED_LABEL
from tidegate_runtime.loop import EventLoop

INJECTED_PODS: Final = f"{INJECTED_LABEL}=true"

_FIRST_PAUSE_S = 0.1
_CONNECT_S = 10.0
_END_S = 3.0
_LEAVE_S = 5.0
_LEFT_OUT = ("Request attempt #", "OS signals are ignored")
_log = logging.getLogger(__name__)


class WatchingEndedError(Exception):
    """kopf has given up; nobody tells what changes until it is begun again."""


class Spared(logging.Filter):
    """Leaves out lines of kopf: of each try that failed (our own client tells of an outage once), and of signals."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown."""
        return not str(record.msg).startswith(_LEFT_OUT)


class Pauses:
    """Pauses between tries: doubling up to a bound, without end. An outage of any length is waited out."""

    def __init__(self, longest_s: float) -> None:
        """`longest_s` bounds each pause."""
        self._longest_s = longest_s

    def __iter__(self) -> Iterator[float]:
        pause_s = min(_FIRST_PAUSE_S, self._longest_s)
        while True:
            yield pause_s
            pause_s = min(pause_s * 2, self._longest_s)


def kopf_settings(
    *, length_ms: int, inactivity_ms: int, request_ms: int, retry_max_ms: int
) -> kopf.OperatorSettings:
    """Everything of kopf that we set; periods as in `tidegate_operator.settings`."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = None  # the process' end is app.py's business
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = max(1, length_ms // 1000)
    settings.watching.inactivity_timeout = inactivity_ms / 1000
    settings.watching.connect_timeout = min(_CONNECT_S, inactivity_ms / 1000)
    settings.watching.chunk_size = 500
    settings.watching.label_selectors[("", "v1", "pods")] = INJECTED_PODS
    settings.networking.request_timeout = request_ms * 2 / 1000
    settings.networking.connect_timeout = request_ms / 1000
    settings.networking.error_backoffs = Pauses(retry_max_ms / 1000)
    # each object that has an event holds a task until it has been idle for so long
    settings.queueing.idle_timeout = 1.0
    return settings


def registry(
    informer: Informer, liveness: Liveness, login: Callable[[], tuple[str, aiohttp.ClientSession]]
) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own.

    Args:
        informer: takes what happens into the index that it fills now, in the caller's loop.
        liveness: is told of each event.
        login: the server's URL, and a session to it in the loop that it is called in.
    """
    handlers = kopf.OperatorRegistry()
    _register_login(handlers, login)
    for kind in WATCHED.values():
        _register(handlers, informer, liveness, kind)
    return handlers


def _register_login(
    handlers: kopf.OperatorRegistry, login: Callable[[], tuple[str, aiohttp.ClientSession]]
) -> None:
    @kopf.on.login(registry=handlers, id="login")
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        server, session = login()
        return kopf.AiohttpSession(server=server, aiohttp_session=session)


def _register(
    handlers: kopf.OperatorRegistry,
    informer: Informer,
    liveness: Liveness,
    kind: Watched,
) -> None:
    group, _, version = kind.api.rpartition("/")
    loop, index = asyncio.get_running_loop(), informer.filled

    @kopf.on.event(group, version, kind.plural, registry=handlers, id=kind.plural)
    async def take(event: kopf.RawEvent, **_: Any) -> None:
        liveness.heard(kind.name, time.monotonic_ns())
        loop.call_soon_threadsafe(informer.told, index, kind.name, event["type"], event["object"])


async def watch(
    handlers: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    sessions: WatchSessions,
    stop: asyncio.Event,
) -> None:
    """Watch until `stop` is set.

    kopf has a thread and a loop of its own. It takes the signal handlers and the tasks of its loop for its own, ends
    them all when it ends, and sometimes cannot: its watchers can wait for each other for ever. Then its thread is left
    behind: it fills nothing any more.

    Args:
        handlers: what `registry` made.
        settings: what `kopf_settings` made.
        sessions: what the login makes them from; closed at the end.
        stop: set it to end.

    Raises:
        WatchingEndedError: kopf ended by itself.
    """
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    engine = _Engine(handlers, settings, sessions, ended)
    engine.start()
    try:
        async with asyncio.TaskGroup() as waiting:
            stopping = waiting.create_task(_stop_on(stop, engine), name="end of the watch")
            error = await ended
            stopping.cancel()
    finally:
        engine.stop()
    if not stop.is_set():
        raise WatchingEndedError(f"the watching ended: {error!r}") from error
    _log.info("watching has ended")


def threads() -> int:
    """Threads of kopf that live."""
    return sum(isinstance(thread, _Engine) for thread in threading.enumerate())


async def _stop_on(stop: asyncio.Event, engine: _Engine) -> None:
    await stop.wait()
    engine.stop()
    await asyncio.sleep(_LEAVE_S)
    engine.leave()


class _Engine(threading.Thread):
    """kopf in a loop of its own."""

    def __init__(
        self,
        handlers: kopf.OperatorRegistry,
        settings: kopf.OperatorSettings,
        sessions: WatchSessions,
        ended: asyncio.Future[BaseException | None],
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._handlers = handlers
        self._settings = settings
        self._ended = ended
        self._caller = ended.get_loop()
        self._loop = EventLoop()
        self._stopping = asyncio.Event()
        self._sessions = sessions

    def stop(self) -> None:
        """From another thread: end soon."""
        with suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._stopping.set)

    def leave(self) -> None:
        """From the caller's thread: wait for it no longer."""
        self._set(None)

    def run(self) -> None:
        error: BaseException | None = None
        try:
            self._loop.run_until_complete(self._watch())
        except Exception as fault:  # noqa: BLE001 - whatever ends kopf is told to whoever started it
            error = fault
        finally:
            self._tell(error)
            self._loop.close()

    async def _watch(self) -> None:
        tasks = await kopf.spawn_tasks(
            registry=self._handlers,
            settings=self._settings,
            standalone=True,
            clusterwide=True,
            stop_flag=self._stopping,
        )
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.is_set():
            await kopf.run_tasks(tasks, ignored=[task for task in (asyncio.current_task(),) if task])
        else:
            errors = [task.exception() for task in done if not task.cancelled()]
            self._tell(
                next((error for error in errors if error is not None), RuntimeError("a task of kopf is over"))
            )
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.wait(rest, timeout=_END_S)
        await self._sessions.close()
        await self._loop.cut()

    def _tell(self, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the caller is gone
            self._caller.call_soon_threadsafe(self._set, error)

    def _set(self, error: BaseException | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
