"""A sidecar's source of configurations as a pod has it, a consumer that follows it, and operators that misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.loading import load
from tidegate_operator.publish import tls
from tidegate_policy.keys import KeyReport
from tidegate_policy.model import CompiledConfig
from tidegate_runtime.http_server import HttpServer
from tidegate_sidecar.config.operator_source import OperatorSource
from tidegate_sidecar.config.source import Loaded, Refused
from tidegate_sidecar.settings import OperatorSettings
from tidegate_sidecar.telemetry.metrics import Metrics


@dataclass
class Follower:
    """Follows a source as `Live` does; `verdict` says why a configuration cannot be used."""

    source: OperatorSource
    metrics: Metrics
    verdict: Callable[[Loaded], str] = field(default=lambda _: "")
    updates: asyncio.Queue[Loaded | Refused] = field(default_factory=asyncio.Queue)
    count: int = 0

    async def run(self) -> None:
        if (at_hand := self.source.at_hand()) is not None:
            self._take(at_hand)
        async for update in self.source.updates():
            self._take(update)

    def _take(self, update: Loaded | Refused) -> None:
        self.count += 1
        if isinstance(update, Loaded):
            update.outcome(self.verdict(update))
        self.updates.put_nowait(update)

    async def next(self) -> Loaded | Refused:
        async with asyncio.timeout(20):
            return await self.updates.get()

    async def loaded(self) -> Loaded:
        update = await self.next()
        assert isinstance(update, Loaded), update
        return update

    async def refused(self) -> str:
        update = await self.next()
        assert isinstance(update, Refused), update
        return update.problem

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


@dataclass
class Pod:
    """What a pod has: files that the platform puts there, and a sidecar's settings."""

    folder: Path

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    def settings(self, url: str, ca: str, **changes: Any) -> OperatorSettings:
        return OperatorSettings(
            **{
                "url": url.replace("127.0.0.1", "localhost"),
                "ca": ca,
                "token_file": self.token_file,
                "state_dir": self.state_dir,
                "poll_wait_ms": 30_000,
                "answer_ms": 10_000,
                "reconnect_ms": 10,
                "reconnect_max_ms": 20,
                **changes,
            }
        )

    @asynccontextmanager
    async def following(
        self,
        url: str,
        ca: str,
        *,
        verdict: Callable[[Loaded], str] | None = None,
        keys: Callable[[CompiledConfig], KeyReport] = lambda _: KeyReport(),
        **changes: Any,
    ) -> AsyncIterator[Follower]:
        metrics = Metrics()
        follower = Follower(OperatorSource(self.settings(url, ca, **changes), metrics, keys=keys), metrics)
        follower.verdict = verdict or follower.verdict
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(follower.run())
            try:
                yield follower
            finally:
                task.cancel()


@asynccontextmanager
async def scripted(
    bundle: Bundle, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
) -> AsyncIterator[str]:
    """An operator that answers whatever a test wants; its URL."""
    context: ssl.SSLContext = tls.serving_context()
    load(context, bundle.leaf.certificate_pem, bundle.leaf.key_pem)
    server = HttpServer(handler, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown(1)


async def until(predicate: Callable[[], object]) -> None:
    """Wait for something that tells nobody when it happens, such as a metric."""
    async with asyncio.timeout(30):
        while not predicate():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)
