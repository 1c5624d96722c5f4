"""The exchange alone, behind a real server: for tests that put something else in the place of one of its parts."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.app import request_ids
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.egress import Egress
from tidegate_sidecar.config.live import Live
from tidegate_sidecar.config.registry import DEFAULT, Registry
from tidegate_sidecar.config.source import Loaded
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.downstream.hosts import HostRules
from tidegate_sidecar.downstream.in_flight import InFlight
from tidegate_sidecar.downstream.listener import listening_app
from tidegate_sidecar.downstream.server import AppHandler, AppServer
from tidegate_sidecar.proxy.exchange import Exchange, Services
from tidegate_sidecar.proxy.holding import MemoryBudget
from tidegate_sidecar.proxy.ticker import Ticker
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.metrics import Metrics
from tidegate_sidecar.upstream.origins import Origins
from tidegate_sidecar.upstream.resolver import Lookup, system_lookup
from tidegate_testing.sidecar import IDENTITY, LOCAL, Records
from tidegate_testing.tasks import no_task_left, running
from tidegate_testing.wire import Connection, ask


class RunningExchange:
    """An exchange that listens."""

    def __init__(self, services: Services, host: str, port: int, records: Records) -> None:
        self.services = services
        self.records = records
        self.address = (host, port)

    async def connect(self) -> Connection:
        return await Connection.open(*self.address)

    async def ask(self, *, path: str = "/openai/v1/chat/completions", head: str = "", **more: Any) -> bytes:
        """One call on a connection of its own, and all that comes back."""
        async with await self.connect() as app:
            await app.post(ask(**more), path=path, head=f"connection: close\r\n{head}")
            return await app.rest()


@asynccontextmanager
async def running_exchange(
    config: CompiledConfig,
    *,
    clock: Clock | None = None,
    wrap: Callable[[AppHandler], AppHandler] = lambda handler: handler,
    registry: Registry = DEFAULT,
    lookup: Lookup = system_lookup,
    **settings: Any,
) -> AsyncIterator[RunningExchange]:
    """Serve `config`; `wrap` may stand between the server and the exchange."""
    clock, metrics, records = clock or Clock(), Metrics(), Records()
    limits, ticker, origins = Settings(**settings), Ticker(clock), Origins(clock=clock, lookup=lookup)
    live = Live(clock, metrics, registry, Egress.of(limits))
    live.apply(Loaded(config=config, identity=IDENTITY))
    services = Services(
        live=live,
        origins=origins,
        keyring=Keyring({}),
        metrics=metrics,
        records=records,
        in_flight=InFlight(),
        held=MemoryBudget(limits.max_held_bytes),
        hosts=HostRules(["x"]),
        ticker=ticker,
        settings=limits,
        clock=clock,
        random=random.Random(0).random,  # noqa: S311 - the same choices in each run
        request_ids=request_ids(),
    )
    exchange = Exchange(services)
    server = AppServer(wrap(exchange.handle), on_fault=exchange.refuse_head, now_ns=clock.monotonic_ns())
    for tick in (origins.tick, server.tick):
        ticker.listen(tick)
    async with no_task_left(), AsyncExitStack() as stack:
        stack.push_async_callback(origins.close)
        await stack.enter_async_context(running(ticker.run()))
        listener = await stack.enter_async_context(listening_app(server, LOCAL))
        address = listener.addresses[0]
        yield RunningExchange(services, address.host, address.port, records)
