"""Wiring: settings become a running injector. The process has one TaskGroup, here."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tidegate_operator.certificates.bundle import KeyPair
from tidegate_operator.inject.metrics import Metrics
from tidegate_operator.inject.pod import Platform
from tidegate_operator.inject.serving import LiveCertificate
from tidegate_operator.inject.settings import Settings
from tidegate_operator.inject.webhook import WebhookServer
from tidegate_operator.settings import Address
from tidegate_operator.telemetry.health import Health, HealthServer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a running injector listens."""

    webhook: Address
    health: Address


async def run_injector(
    settings: Settings, *, on_listening: Callable[[Listening], None] | None = None
) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        OSError: an address cannot be used.
        BaseExceptionGroup: a part has failed.
    """
    stopping = asyncio.Event()
    _on_signals(stopping)
    await Injector(settings).run(stopping, on_listening or (lambda _: None))


class Injector:
    """The parts of the process, wired."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts; nothing runs yet."""
        self._settings = settings
        self._metrics = Metrics()
        self._certificate = LiveCertificate(
            settings.certificates,
            self._certificate_loaded,
            interval_s=settings.reload_ms / 1_000,
            client_ca=settings.client_ca,
        )
        self._webhook = WebhookServer(self._platform, self._certificate.context, self._metrics)
        self._health = HealthServer(self._live, self._ready, self._metrics.expose)
        self._is_listening = False

    async def run(self, stopping: asyncio.Event, on_listening: Callable[[Listening], None]) -> None:
        """Run until `stopping` is set."""
        settings = self._settings
        try:
            async with asyncio.TaskGroup() as tasks:
                health = await self._health.start(settings.health.host, settings.health.port)
                following = tasks.create_task(self._certificate.run(), name="certificate")
                starting = tasks.create_task(
                    self._start(lambda it: on_listening(Listening(webhook=it, health=Address.of(health)))),
                    name="start",
                )
                await stopping.wait()
                starting.cancel()
                await self._drain()
                following.cancel()
        finally:
            await self._webhook.stop(0)
            await self._health.stop()

    async def _start(self, on_listening: Callable[[Address], None]) -> None:
        await self._certificate.wait_loaded()
        listen = self._settings.listen
        address = Address.of(await self._webhook.start(listen.host, listen.port))
        self._is_listening = True
        # What was imported stays. Walking through all of it would hold up the reviews of that moment.
        gc.collect()
        gc.freeze()
        _log.info("reviewing on %s, injecting %s", address, self._settings.template.image)
        on_listening(address)

    async def _drain(self) -> None:
        """Say that this replica goes, answer whoever has not heard it yet, then close."""
        self._webhook.is_draining = True
        if self._is_listening:
            await asyncio.sleep(self._settings.drain_ms / 1_000)
        await self._webhook.stop(self._settings.grace_ms / 1_000)

    def _platform(self) -> Platform:
        return Platform(
            template=self._settings.template,
            trust=self._certificate.trust,
            former_trust=self._certificate.former_trust,
            key=self._certificate.key,
        )

    def _certificate_loaded(self, pair: KeyPair) -> None:
        self._metrics.serves_until(pair.until_s)

    def _live(self) -> Health:
        return Health(problems=(), facts=self._facts())

    def _ready(self) -> Health:
        problems = []
        if self._webhook.is_draining:
            problems.append("stopping")
        elif not self._is_listening:
            problems.append(self._certificate.problem or "starting")
        return Health(problems=tuple(problems), facts=self._facts())

    def _facts(self) -> dict[str, object]:
        return {"certificate": self._certificate.problem or "in use"}


def _on_signals(stopping: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set the event; a second signal ends the process as by default."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        _log.info("%s: stopping", number.name)
        loop.remove_signal_handler(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
