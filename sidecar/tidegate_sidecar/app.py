"""Wiring: settings and a source of configurations become a running sidecar.

The process has one TaskGroup, here: everything that runs beside requests is a task of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tidegate_sidecar.admin import Admin
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.config.source import ConfigSource
from tidegate_sidecar.credentials import mounted
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.proxy.drain import InFlight
from tidegate_sidecar.proxy.exchange import Exchange, Services
from tidegate_sidecar.proxy.holding import Held
from tidegate_sidecar.proxy.server import Listener, listening
from tidegate_sidecar.proxy.upstream import SessionLeg
from tidegate_sidecar.settings import Address, Settings
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.telemetry.records import RecordSink

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a sidecar listens, and what it is made of."""

    app: tuple[Address, ...]
    admin: tuple[Address, ...]
    live: Live
    metrics: Metrics
    in_flight: InFlight


async def run_sidecar(
    settings: Settings,
    source: ConfigSource,
    *,
    records: RecordSink,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
    on_listening: Callable[[Listening], None] | None = None,
    stop: asyncio.Event | None = None,
) -> bool:
    """Serve until SIGTERM or SIGINT (or until `stop` is set, where it is given), then drain.

    Args:
        settings: addresses, bounds and the environment that keys are read from.
        source: configurations, followed for as long as the process lives.
        records: takes a record of each call.
        metrics: where to count; its own by default.
        clock: time; the system's by default.
        on_listening: called once both ports are open; a configuration may still be pending then.
        stop: set it to stop; without it the process' signals do.

    Returns:
        Whether all calls had ended when the process stopped.

    Raises:
        ListenError: an address cannot be used.
    """
    clock = clock or Clock()
    metrics = metrics or Metrics()
    stopping = stop or _on_signals()
    live = Live(clock, metrics)
    in_flight, held = InFlight(), Held(settings.max_held_bytes)
    metrics.held_bytes.read = lambda: {(): held.count}
    keys = mounted.MountedKeys(settings.keys_dir, settings.keys_secret)
    if settings.keys_dir:
        mounted.look(keys, metrics, clock)  # before the first call can come
    at_hand = source.at_hand()
    async with AsyncExitStack() as stack:
        leg = await stack.enter_async_context(SessionLeg(settings.provider_ca_file))
        exchange = Exchange(
            Services(
                live=live,
                leg=leg,
                keyring=Keyring(settings.environment, keys),
                metrics=metrics,
                records=records,
                in_flight=in_flight,
                held=held,
                settings=settings,
                clock=clock,
                random=random.Random().random,  # noqa: S311 - weights and jitter, no secret
            )
        )
        admin = await stack.enter_async_context(
            listening(Admin(live, metrics, in_flight).handle, settings.admin)
        )
        app = await stack.enter_async_context(listening(exchange.handle, settings.listen))
        if at_hand is not None:
            # Before the loop has come to read what the first connection brings, and not before the port is ours.
            live.apply(at_hand)
        async with asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(live.follow(source), name="config")]
            if settings.keys_dir:
                looking = mounted.follow(keys, settings.reload_interval_ms, metrics, clock)
                following.append(tasks.create_task(looking, name="keys"))
            if on_listening is not None:
                on_listening(
                    Listening(
                        app=app.addresses,
                        admin=admin.addresses,
                        live=live,
                        metrics=metrics,
                        in_flight=in_flight,
                    )
                )
            await stopping.wait()
            drained = await _drain(app, in_flight, settings.grace_ms)
            for task in following:
                task.cancel()
    return drained


async def _drain(app: Listener, in_flight: InFlight, grace_ms: int) -> bool:
    """Take no new connection, let calls in flight finish; those that take longer than the grace are cut."""
    app.stop_accepting()
    count = in_flight.count
    if count:
        _log.info("stopping: %d calls in flight have %d ms to finish", count, grace_ms)
    cut = await in_flight.wait_idle(grace_ms)
    if cut:
        _log.warning("stopping with %d calls cut: they took longer than %d ms", cut, grace_ms)
    return cut == 0


def _on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process as by default."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        _log.info("%s: stopping", number.name)
        loop.remove_signal_handler(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopping
