"""Wiring: settings become a running operator.

The process has one TaskGroup, here. Its tasks are the parts: the Lease, the lists and the watch, the loop from index to
board, status, certificates. Any of them that fails ends the process with an error: it starts over in a state that is
known, and meanwhile sidecars keep what they have.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from tidegate_operator.api.kinds import WATCHED
from tidegate_operator.cluster.client import Access, Clients
from tidegate_operator.cluster.discovery import wait_for_kinds
from tidegate_operator.cluster.elector import Elector
from tidegate_operator.cluster.last_good import LastGoodStore
from tidegate_operator.cluster.lease import Terms
from tidegate_operator.cluster.secrets import SEALS, SecretStore
from tidegate_operator.handlers.bare_pod_watch import BarePodWatch
from tidegate_operator.handlers.certificate_manager import CertificateManager
from tidegate_operator.handlers.config_pipeline import ConfigPipeline
from tidegate_operator.handlers.config_publisher import ConfigPublisher
from tidegate_operator.handlers.dependencies import Dependencies
from tidegate_operator.handlers.epoch_follower import EpochFollower
from tidegate_operator.handlers.informer import Informer
from tidegate_operator.handlers.last_good_writer import LastGoodWriter
from tidegate_operator.handlers.part import Part
from tidegate_operator.handlers.seal_keeper import SealKeeper
from tidegate_operator.handlers.sidecar_coverage import SidecarCoverage
from tidegate_operator.handlers.status_reporter import WRITERS, StatusReporter
from tidegate_operator.handlers.watch_supervisor import WatchSupervisor
from tidegate_operator.settings import Settings
from tidegate_operator.telemetry.health import Health, HealthServer
from tidegate_operator.telemetry.metrics import Metrics
from tidegate_policy.envelope import AsOf

_log = logging.getLogger(__name__)


async def run_operator(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        NoAccessError: there is no way to reach an API server.
        BaseExceptionGroup: a part has failed; the process has to start over.
    """
    operator = Operator(settings)
    stopping = asyncio.Event()
    _on_signals(stopping)
    await operator.run(stopping)


class Operator:
    """The parts of the process, wired."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts; nothing runs yet.

        Raises:
            NoAccessError: there is no way to reach an API server.
        """
        self._settings = settings
        self._metrics = Metrics()
        self._informer = Informer()
        access = Access(settings.kubeconfig)
        # threads of their own: however many calls of one part wait for their turn, the Lease is renewed
        self._clients = clients = Clients(access, request_ms=settings.api_server.request_ms)
        self._client = clients.make("cluster", at_once=settings.api_server.requests_at_once)
        self._elector = Elector(
            client=clients.make("lease", at_once=1),
            namespace=settings.namespace,
            # two processes of one name would both find themselves in the Lease
            identity=f"{settings.identity}_{secrets.token_hex(4)}",
            address=settings.advertise,
            terms=Terms(
                duration_ms=settings.lease.duration_ms,
                renew_ms=settings.lease.renew_ms,
                retry_ms=settings.lease.retry_ms,
            ),
            metrics=self._metrics,
            kinds=frozenset(kind.name for kind in WATCHED.values() if kind.is_compiled),
            on_change=self._lease_changed,
        )
        dependencies = Dependencies(
            settings=settings,
            client=self._client,
            informer=self._informer,
            elector=self._elector,
            metrics=self._metrics,
        )
        self._epochs = EpochFollower(dependencies)
        self._elector.on_epoch = self._epochs.changed
        self._watches = WatchSupervisor(dependencies, access, self._epochs.versions_fell)
        self._seal_keeper = SealKeeper(
            store=SecretStore(clients.make("seals", at_once=1), settings.namespace, SEALS),
            may_write=lambda: self._elector.is_leading,
            confirm=self._elector.confirm,
            interval_s=settings.certificates.period_ms / 1000,
        )
        self._publisher = ConfigPublisher(dependencies, self._catch_up, lambda: self._seal_keeper.seals)
        last_good = LastGoodStore(clients.make("last-good", at_once=1), settings.namespace, self._metrics)
        self._pipeline = ConfigPipeline(dependencies, self._publisher.board, last_good)
        self._certificates = CertificateManager(
            dependencies, access, clients.make("certificates", at_once=1), self._publisher.use
        )
        statuses = StatusReporter(
            dependencies, clients.make("conditions", at_once=WRITERS), self._pipeline, self._publisher.book
        )
        last_good_writer = LastGoodWriter(
            store=last_good,
            informer=self._informer,
            may_write=lambda: self._elector.is_leading,
            confirm=self._elector.confirm,
            period_ms=settings.compile.last_good_ms,
            retry_ms=settings.status.retry_ms,
            changed=asyncio.Event(),
        )
        coverage = SidecarCoverage(
            client=clients.make("coverage", at_once=1),
            informer=self._informer,
            metrics=self._metrics,
            may_write=lambda: self._elector.is_leading,
            excluded=(settings.namespace, *settings.injector.excluded_namespaces),
            identity=self._elector.identity,
            period_ms=settings.injector.coverage_ms,
            whole_ms=settings.lists.relist_ms,
        )
        self._pipeline.compiled = (statuses.compiled, last_good_writer.changed.set)
        bare_pods = BarePodWatch(
            settings,
            access,
            clients.make("bare-pods", at_once=1),
            lambda: self._elector.is_leading,
            (statuses.bare_pods, coverage),
        )
        self._parts: tuple[Part, ...] = (statuses, last_good_writer, coverage, bare_pods)
        self._health = HealthServer(self._live, self._ready, self._expose)
        self._waiting_for = "nothing has been asked yet"
        self._is_stopping = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set."""
        started: dict[str, asyncio.Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as tasks:

                def start(name: str, work: Coroutine[Any, Any, None]) -> None:
                    started[name] = tasks.create_task(work, name=name)

                await self._health.start(self._settings.health.host, self._settings.health.port)
                start("lease", self._elector.run())
                start("start", self._start(start))
                await stopping.wait()
                await self._drain(started)
        finally:
            await self._close()

    async def _start(self, start: Callable[[str, Coroutine[Any, Any, None]], None]) -> None:
        """Bring up one part after the other, each when what it needs is there."""
        await wait_for_kinds(
            self._client, retry_max_ms=self._settings.api_server.retry_max_ms, tell=self._wait_for
        )
        await self._certificates.prepare()
        for name, work in (
            *self._watches.lists(),
            *self._certificates.tasks(),
            *self._seal_keeper.tasks(),
            *self._publisher.tasks(),
        ):
            start(name, work)
        start("watch", self._watches.watch())
        self._wait_for("kinds have not been listed yet")
        await self._watches.listed()
        await self._pipeline.prepare(self._informer.filled)
        for name, work in self._pipeline.tasks():
            start(name, work)
        for part in self._parts:
            await part.prepare()
            for name, work in part.tasks():
                start(name, work)
        self._wait_for(self._certificates.waiting_for)
        await self._certificates.ready()
        self._wait_for("there is no key for seals yet: the holder of the Lease makes it")
        await self._seal_keeper.ready()
        address = await self._publisher.start()
        if not self._elector.address:
            self._elector.address = str(address)
            if self._settings.in_cluster:
                _log.warning(
                    "TIDEGATE_ADVERTISE is not set: other replicas cannot bring acknowledgements here"
                )
        for name, work in self._epochs.tasks(self._watches.relist, self._pipeline.prepare):
            start(name, work)
        self._wait_for("")
        _log.info("serving configurations on %s", address)

    async def _drain(self, started: Mapping[str, asyncio.Task[None]]) -> None:
        """Stop in the order in which nobody misses anything: another replica leads, sidecars move on, then the rest."""
        self._is_stopping = True
        started["start"].cancel()
        started["lease"].cancel()
        await self._elector.release()
        await self._publisher.stop()
        self._watches.stop()
        if "watch" in started:
            await asyncio.wait([started["watch"]], timeout=self._settings.grace_ms / 1000)
        for task in started.values():
            task.cancel()

    async def _close(self) -> None:
        """Whatever has happened: give back the Lease, close what is open."""
        await self._elector.release()
        await self._publisher.close()
        await self._health.stop()
        self._clients.close()

    def _catch_up(self, ahead: AsOf) -> None:
        """A sidecar has been told more than this replica knows, by an operator."""
        if not self._epochs.is_over(ahead):
            self._watches.catch_up(ahead)

    def _lease_changed(self) -> None:
        for part in (self._certificates, *self._parts):
            part.lead_changed()

    def _wait_for(self, what: str) -> None:
        self._waiting_for = what

    def _live(self) -> Health:
        dead = self._watches.liveness.dead(time.monotonic_ns()) if self._watches.is_running else ()
        problems = (f"nothing watches {', '.join(dead)} any more",) if dead else ()
        return Health(problems=problems, facts=self._facts())

    def _ready(self) -> Health:
        problems = []
        if self._is_stopping:
            problems.append("stopping")
        if self._waiting_for:
            problems.append(self._waiting_for)
        elif self._watches.liveness.unlisted:
            problems.append(f"not watched yet: {', '.join(self._watches.liveness.unlisted)}")
        if self._pipeline.reconciler.compiled is None:
            problems.append("nothing has been compiled yet")
        if not self._elector.epoch:
            problems.append("the Lease has not been read yet")
        silent = self._watches.liveness.silent(time.monotonic_ns()) if self._watches.is_running else ()
        if silent:
            problems.append(f"nothing has been heard for too long of: {', '.join(silent)}")
        return Health(problems=tuple(problems), facts=self._facts())

    def _facts(self) -> dict[str, object]:
        return {
            "leading": self._elector.is_leading,
            "epoch": self._elector.epoch,
            "watching": self._watches.problem or "as it should",
            "versions": dict(self._informer.objects.versions),
        }

    def _expose(self) -> bytes:
        self._watches.count()
        return self._metrics.expose()


def _on_signals(stopping: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set the event; a second signal ends the process as by default."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        _log.info("%s: stopping", number.name)
        loop.remove_signal_handler(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
