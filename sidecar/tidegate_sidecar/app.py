"""Wiring: settings and a source of configurations become a running sidecar.

The process has one TaskGroup, here: everything that runs beside requests is a task of it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import secrets
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tidegate_sidecar.admin import Admin
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.egress import Egress
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.config.registry import DEFAULT, Registry
from tidegate_sidecar.config.source import ConfigSource
from tidegate_sidecar.credentials import mounted
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.downstream.hosts import HostRules
from tidegate_sidecar.downstream.in_flight import InFlight
from tidegate_sidecar.downstream.listener import AppListener, listening, listening_app
from tidegate_sidecar.downstream.server import AppServer
from tidegate_sidecar.proxy.exchange import Exchange, Services
from tidegate_sidecar.proxy.holding import MemoryBudget
from tidegate_sidecar.proxy.ticker import Ticker
from tidegate_sidecar.settings import Address, Settings
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.telemetry.records import RecordSink
from tidegate_sidecar.upstream.origins import Origins
from tidegate_sidecar.upstream.tls import TlsSettings, client_context

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a sidecar listens, and what it is made of."""

    app: tuple[Address, ...]
    admin: tuple[Address, ...]
    live: Live
    metrics: Metrics
    in_flight: InFlight
    held: MemoryBudget
    origins: Origins
    ticker: Ticker


async def run_sidecar(
    settings: Settings,
    source: ConfigSource,
    *,
    records: RecordSink,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
    on_listening: Callable[[Listening], None] | None = None,
    stop: asyncio.Event | None = None,
    flush: Callable[[], None] = lambda: None,
    keys: mounted.MountedKeys | None = None,
    registry: Registry = DEFAULT,
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
        flush: called with each tick: what `records` was given is to be handed on.
        keys: of the folder that `settings` names; its own by default.
        registry: what configurations are made of.

    Returns:
        Whether all calls had ended when the process stopped.

    Raises:
        ListenError: an address cannot be used.
        TlsFileError: a certificate's file for providers cannot be used.
    """
    clock = clock or Clock()
    metrics = metrics or Metrics()
    stopping = stop or _on_signals()
    live = Live(clock, metrics, registry, Egress.of(settings))
    in_flight, held, ticker = InFlight(), MemoryBudget(settings.max_held_bytes), Ticker(clock)
    origins = Origins(clock=clock)
    metrics.held_bytes.read = lambda: {(): held.count}
    metrics.in_flight.read = lambda: {(): in_flight.count}
    metrics.upstream_connections.read = lambda: {
        ("open",): origins.open_count - origins.idle_count,
        ("idle",): origins.idle_count,
    }
    if keys is None:
        keys = mounted.MountedKeys(settings.keys_dir, settings.keys_secret)
    if settings.keys_dir:
        mounted.look(keys, metrics, clock)  # before the first call can come
    if (tls := Egress.of(settings).tls) != TlsSettings():
        client_context(tls)  # a file that is wrong is told before the first call
    at_hand = source.at_hand()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(origins.close)
        exchange = Exchange(
            Services(
                live=live,
                origins=origins,
                keyring=Keyring(settings.environment, keys),
                metrics=metrics,
                records=records,
                in_flight=in_flight,
                held=held,
                hosts=_hosts(settings, settings.listen),
                ticker=ticker,
                settings=settings,
                clock=clock,
                random=random.Random().random,  # noqa: S311 - weights and jitter, no secret
                request_ids=request_ids(),
            )
        )
        server = AppServer(
            exchange.handle,
            on_fault=exchange.refuse_head,
            now_ns=clock.monotonic_ns(),
            max_idle=settings.max_idle_app_connections,
            head_ms=settings.head_read_ms,
            stall_ms=settings.app_stall_ms,
        )
        for listener in (origins.tick, server.tick, lambda _: flush()):
            ticker.listen(listener)
        admin = await stack.enter_async_context(
            listening(
                Admin(live, metrics, in_flight, _hosts(settings, settings.admin)).handle, settings.admin
            )
        )
        app = await stack.enter_async_context(listening_app(server, settings.listen))
        if at_hand is not None:
            # Before the loop has come to read what the first connection brings, and not before the port is ours.
            live.apply(at_hand)
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(live.follow(source), name="config"),
                tasks.create_task(ticker.run(), name="ticker"),
            ]
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
                        held=held,
                        origins=origins,
                        ticker=ticker,
                    )
                )
            await stopping.wait()
            drained = await _drain(app, in_flight, settings.grace_ms)
            for task in following:
                task.cancel()
    return drained


def request_ids() -> Callable[[], str]:
    """Names of calls: unique in the process by a number, and among processes by a beginning that was drawn."""
    prefix, numbers = f"tg-{secrets.token_hex(4)}", itertools.count(1)
    return lambda: f"{prefix}{next(numbers):08x}"


def _hosts(settings: Settings, addresses: tuple[Address, ...]) -> HostRules:
    return HostRules((*(address.host for address in addresses), *settings.allow_hosts))


async def _drain(app: AppListener, in_flight: InFlight, grace_ms: int) -> bool:
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
