"""A sidecar in the test's event loop: the same `run_sidecar` as in a pod, on ports that the system chose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tidegate_policy.model import CompiledConfig, WorkloadIdentity
from tidegate_sidecar.app import Listening, run_sidecar
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.source import Loaded, Refused
from tidegate_sidecar.settings import Address, Settings
from tidegate_sidecar.telemetry.records import CallRecord

IDENTITY = WorkloadIdentity(
    namespace="team-a", workload_kind="Deployment", workload_name="chat", service_account="chat", pod="chat-0"
)
LOCAL = (Address(host="127.0.0.1", port=0),)


class PushedConfig:
    """A `ConfigSource` that a test feeds."""

    def __init__(self, *first: CompiledConfig) -> None:
        self._queue: asyncio.Queue[Loaded | Refused] = asyncio.Queue()
        for config in first:
            self.push(config)

    def push(self, config: CompiledConfig, identity: WorkloadIdentity = IDENTITY) -> None:
        self._queue.put_nowait(Loaded(config=config, identity=identity))

    def refuse(self, problem: str) -> None:
        self._queue.put_nowait(Refused(problem=problem))

    async def updates(self) -> AsyncIterator[Loaded | Refused]:
        while True:
            update = await self._queue.get()
            yield update
            self._queue.task_done()

    async def taken(self) -> None:
        """Wait until everything pushed so far is in force (or refused)."""
        async with asyncio.timeout(5):
            await self._queue.join()


class Records:
    """Collects records; `wait` for as many as a test expects."""

    def __init__(self) -> None:
        self.all: list[CallRecord] = []
        self._more = asyncio.Event()

    def __call__(self, record: CallRecord) -> None:
        self.all.append(record)
        self._more.set()

    async def wait(self, count: int) -> list[CallRecord]:
        async with asyncio.timeout(10):
            while len(self.all) < count:
                self._more.clear()
                await self._more.wait()
        return self.all

    @property
    def last(self) -> CallRecord:
        return self.all[-1]


class Sidecar:
    """A running sidecar and a client that speaks plain HTTP to it."""

    def __init__(
        self, listening: Listening, source: PushedConfig, records: Records, stop: asyncio.Event
    ) -> None:
        self.listening = listening
        self.source = source
        self.records = records
        self.stop = stop
        self.url = f"http://{listening.app[0]}"
        self.admin_url = f"http://{listening.admin[0]}"
        self.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    @property
    def live(self) -> Any:
        return self.listening.live

    async def chat(
        self,
        model: str = "gpt-test",
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        path: str = "/openai/v1/chat/completions",
        **more: Any,
    ) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
        if stream:
            body["stream"] = True
        async with self.client.post(self.url + path, json=body, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def messages(self, model: str = "claude-test", **more: Any) -> Answer:
        more = {"path": "/anthropic/v1/messages", "max_tokens": 64, **more}
        return await self.chat(model, **more)

    async def admin(self, path: str) -> Answer:
        async with self.client.get(self.admin_url + path) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def metric(self, sample: str) -> float:
        """The value of one line of /metrics, 0 where the line is not there."""
        for line in (await self.admin("/metrics")).text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0


class Answer:
    """A response that was read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        import json  # noqa: PLC0415 - shadowed by the property's name otherwise

        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:300]!r}>"


@asynccontextmanager
async def running_sidecar(
    *configs: CompiledConfig,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    on_record: Callable[[CallRecord], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Sidecar]:
    """Run a sidecar with the first of `configs` in force; it is drained at the end of the block."""
    source, records, stop = PushedConfig(*configs), Records(), asyncio.Event()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    chosen = Settings(
        **{"listen": LOCAL, "admin": LOCAL, "grace_ms": 5_000, "environment": environment or {}, **settings}
    )

    def take(record: CallRecord) -> None:
        records(record)
        if on_record is not None:
            on_record(record)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_sidecar(
                chosen, source, records=take, clock=clock, on_listening=listening.set_result, stop=stop
            )
        )
        async with asyncio.timeout(10):
            sidecar = Sidecar(await listening, source, records, stop)
        try:
            if configs:
                await source.taken()
            yield sidecar
        finally:
            await sidecar.client.close()
            stop.set()
