"""One run: a sidecar, a provider, applications, new configurations meanwhile; then the proof that nothing is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic, process_time
from typing import Any, Final

from tidegate_testing.sidecar import LOCAL, PushedConfig
from tidegate_testing.tasks import until

from tidegate_enduring.application import WrongError
from tidegate_enduring.calls import Callers
from tidegate_enduring.configurations import Rules, configuration
from tidegate_enduring.provider import Provider
from tidegate_sidecar.app import Listening, run_sidecar
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.records import CallRecord, Ending

LANES: Final = 96
"""Applications at a time."""

RELOAD_S: Final = 0.25
EARLY: Final = 10
"""The memory that a run takes is looked at after this part of its calls, and at its end."""

STOP_S: Final = 10.0


def open_sockets() -> int:
    """Of this process."""
    return sum(_leads_to(descriptor).startswith("socket:") for descriptor in Path("/proc/self/fd").iterdir())


def _leads_to(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""  # it was closed while they were listed


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


class Tally:
    """What came of a run."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.errors: list[str] = []

    def __call__(self, record: CallRecord) -> None:
        self.records[record.ending] += 1
        for attempt in record.attempts:
            self.attempts[attempt.result] += 1
        if record.ending is Ending.INTERNAL and len(self.errors) < 5:
            self.errors.append(
                f"the call {record.request_id} ended by a fault of ours: {record.reason!r} {record.attempts}"
            )


class _Heard(logging.Handler):
    """Errors that anybody logs."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._tally.errors) < 5 and "is refused" not in record.getMessage():
            self._tally.errors.append(self.format(record))


async def endure(calls: int, seed: int) -> str:
    """Make so many calls; what came of them, in words.

    Raises:
        WrongError: something was left of them, or went wrong on the way.
    """
    tally, heard = Tally(), logging.getLogger()
    handler = _Heard(tally)
    heard.addHandler(handler)
    before, sockets = asyncio.all_tasks(), open_sockets()
    began, began_cpu = monotonic(), process_time()
    try:
        told = await _endure(calls, seed, tally)
        left = asyncio.all_tasks() - before
        if left:
            raise WrongError(f"{len(left)} tasks are left: {list(left)[:3]}")
        await until(lambda: open_sockets() <= sockets)
    finally:
        heard.removeHandler(handler)
    if tally.errors:
        raise WrongError("\n".join(tally.errors))
    seconds, cpu_us = monotonic() - began, (process_time() - began_cpu) * 1e6
    return (
        f"{told}\n{calls} calls in {seconds:.0f} s, {cpu_us / calls:.0f} us of CPU each, both ends included"
    )


async def _endure(calls: int, seed: int, tally: Tally) -> str:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: tally.errors.append(repr(context)))
    provider, rules, random = Provider(Random(seed)), Rules(Random(seed + 1)), Random(seed + 2)  # noqa: S311 - no secret
    server = await provider.listen()
    host, port = server.sockets[0].getsockname()[:2]
    url = f"http://{host}:{port}/v1"
    source, stop = PushedConfig(configuration(random, url)), asyncio.Event()
    listening: asyncio.Future[Listening] = loop.create_future()
    settings = Settings(
        listen=LOCAL,
        admin=LOCAL,
        environment={},
        max_calls_in_flight=LANES - 6,
        max_held_bytes=4 * 2**20,
        max_body_bytes=2**20,
        max_response_bytes=2**17,
        max_idle_app_connections=LANES - 10,
        app_stall_ms=500,
        grace_ms=5_000,
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(
            run_sidecar(
                settings,
                source,
                records=tally,
                on_listening=listening.set_result,
                stop=stop,
                registry=rules.registry,
            )
        )
        sidecar = await listening
        await source.taken()
        address = sidecar.app[0]
        callers = Callers(Random(seed + 3), (address.host, address.port))  # noqa: S311 - no secret
        reloading = tasks.create_task(_reload(source, random, url))
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(callers.lane(lambda: callers.begun >= calls // EARLY))
        early_mib = resident_mib()
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(callers.lane(lambda: callers.begun >= calls))
        late_mib = resident_mib()
        reloading.cancel()
        await _settle(sidecar, provider, rules, tally)
        stop.set()
        await running
        for connection in tuple(provider.connections):
            connection.end()
        await until(lambda: not provider.connections)
        server.close()
        await server.wait_closed()
    memory = f"memory: {early_mib:.0f} MiB after {calls // EARLY} calls, {late_mib:.0f} MiB after all"
    return f"{_told(callers, provider, tally)}\n{memory}"


async def _reload(source: PushedConfig, random: Random, url: str) -> None:
    """Change the configuration, over and over; some of them are wrong, and change nothing."""
    while True:
        await asyncio.sleep(RELOAD_S)
        if random.random() < 0.1:
            source.refuse("it is refused by the source")
        else:
            source.push(configuration(random, url))


async def _settle(sidecar: Listening, provider: Provider, rules: Rules, tally: Tally) -> None:
    """Everything is given back, soon after the last application has gone."""
    counts: dict[str, Callable[[], int]] = {
        "calls in flight": lambda: sidecar.in_flight.count,
        "connections that are not idle": lambda: sidecar.origins.open_count - sidecar.origins.idle_count,
        "waits for the clock": lambda: sidecar.ticker.count,
        "bytes held": lambda: sidecar.held.count,
        "grants of limits": lambda: _outstanding(sidecar),
        "grants of quotas": lambda: rules.store.outstanding,
        "probes": lambda: _probes(sidecar),
    }
    deadline = monotonic() + STOP_S
    while any(count() for count in counts.values()):
        if monotonic() > deadline:
            raise WrongError(
                f"there are left: { {name: count() for name, count in counts.items() if count()} }"
            )
        await asyncio.sleep(0.01)
    counted = sum(
        sample.value
        for metric in sidecar.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "ai_requests_total"
    )
    if counted != sum(tally.records.values()):
        raise WrongError(f"{counted:.0f} calls were counted, {sum(tally.records.values())} records written")
    if provider.problem:
        raise WrongError(provider.problem)
    gc.collect()


def _outstanding(sidecar: Listening) -> int:
    pipeline = sidecar.live.pipeline
    assert pipeline is not None
    return sum(rule.outstanding for rule in pipeline.rules if isinstance(rule, RateLimiter))


def _probes(sidecar: Listening) -> int:
    pipeline = sidecar.live.pipeline
    assert pipeline is not None
    states = [state for it in pipeline.pools for state in it.providers]
    return sum(breaker._is_probing for state in states for _, breaker in state.breakers.each())


def _told(callers: Callers, provider: Provider, tally: Tally) -> str:
    def listed(counter: Any) -> str:
        return ", ".join(
            f"{name} {count}" for name, count in sorted(counter.items(), key=lambda item: -item[1])
        )

    return "\n".join(
        [
            f"records: {listed(tally.records)}",
            f"attempts: {listed(tally.attempts)}",
            f"answers: {listed(callers.statuses)}; {callers.cut} of them broke off",
            f"requests that the provider saw: {provider.asked}",
        ]
    )
