"""A sidecar in the test's event loop: the same `run_sidecar` as in a pod, on ports that the system chose.

When the block ends every test has proved that nothing is left behind: no call in flight, no reservation, no probe,
no task, and as many records as calls were counted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
from yarl import URL

from tidegate_policy.model import CompiledConfig, WorkloadIdentity
from tidegate_sidecar.app import Listening, run_sidecar
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.registry import DEFAULT, Registry
from tidegate_sidecar.config.source import Loaded, Missing, Refused
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.settings import Address, Settings
from tidegate_sidecar.telemetry.records import CallRecord
from tidegate_testing.tasks import no_task_left, until
from tidegate_testing.wire import DEADLINE_S, Connection

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

    def lack(self, problem: str) -> None:
        self._queue.put_nowait(Missing(problem=problem))

    def at_hand(self) -> Loaded | None:
        return None

    async def updates(self) -> AsyncIterator[Loaded | Refused]:
        while True:
            update = await self._queue.get()
            yield update
            self._queue.task_done()

    async def taken(self) -> None:
        """Wait until everything pushed so far is in force (or refused)."""
        async with asyncio.timeout(DEADLINE_S):
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
        async with asyncio.timeout(DEADLINE_S):
            while len(self.all) < count:
                self._more.clear()
                await self._more.wait()
        return self.all

    @property
    def last(self) -> CallRecord:
        return self.all[-1]


class Ticks:
    """Hears the ticks of a sidecar's clock."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def __call__(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def next(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        async with asyncio.timeout(DEADLINE_S):
            await future


class Sidecar:
    """A running sidecar and a client that speaks plain HTTP to it."""

    def __init__(
        self, listening: Listening, source: PushedConfig, records: Records, stop: asyncio.Event, ticks: Ticks
    ) -> None:
        self.listening = listening
        self.ticks = ticks
        self.source = source
        self.records = records
        self.stop = stop
        self.url = f"http://{listening.app[0]}"
        self.admin_url = f"http://{listening.admin[0]}"
        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20)
        )

    @property
    def pipeline(self) -> Pipeline:
        pipeline = self.listening.live.pipeline
        assert pipeline is not None
        return pipeline

    async def reload(self, config: CompiledConfig) -> None:
        """Put `config` in force, or have it refused."""
        self.source.push(config)
        await self.source.taken()

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
        return await self.send(json.dumps(body).encode(), path=path, headers=headers)

    async def messages(self, model: str = "claude-test", **more: Any) -> Answer:
        more = {"path": "/anthropic/v1/messages", "max_tokens": 64, **more}
        return await self.chat(model, **more)

    async def send(
        self,
        body: Any,
        *,
        path: str = "/openai/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Exactly these bytes (or pieces of them)."""
        headers = {"content-type": "application/json", **(headers or {})}
        data = BytesIO(body) if isinstance(body, bytes) else body
        url = URL(self.url + path, encoded=True)
        async with self.client.request(method, url, data=data, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def connect(self) -> Connection:
        """A connection on which a test writes and reads the bytes itself."""
        address = self.listening.app[0]
        return await Connection.open(address.host, address.port)

    async def admin(self, path: str) -> Answer:
        async with self.client.get(self.admin_url + path) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def looked(self) -> None:
        """Wait until every deadline that has passed by now was acted upon."""
        await self.ticks.next()

    async def stood_still(self, count: Callable[[], int]) -> None:
        """Wait until nothing more is counted through ten looks at the clock, in which all that can move has moved."""
        async with asyncio.timeout(2 * DEADLINE_S):
            before = -1
            while count() != before:
                before = count()
                for _ in range(10):
                    await self.looked()

    async def busy(self, calls: int = 1) -> None:
        """Wait until so many calls are in flight."""
        await until(lambda: self.listening.in_flight.count >= calls)

    async def metrics(self) -> dict[str, float]:
        """All samples of /metrics by the text before their value."""
        lines = (await self.admin("/metrics")).text.splitlines()
        samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {name: float(value) for name, _, value in samples}

    async def metric(self, sample: str) -> float:
        """The value of one sample, 0 where it is not there."""
        return (await self.metrics()).get(sample, 0.0)

    def assert_settled(self) -> None:
        """Nothing is reserved, counted or held for a call that is over."""
        listening = self.listening
        assert listening.in_flight.count == 0
        pipeline = listening.live.pipeline
        if pipeline is not None:
            limits = [rule for rule in pipeline.rules if isinstance(rule, RateLimiter)]
            assert {rule.limit.name: rule.outstanding for rule in limits} == {
                rule.limit.name: 0 for rule in limits
            }
            for pool in pipeline.pools:
                for state in pool.providers:
                    for model, breaker in state.breakers.each():
                        assert not breaker._is_probing, f"{state.provider.name} keeps a probe of {model!r}"
        samples = {
            sample.name: sample.value
            for metric in listening.metrics.registry.collect()
            for sample in metric.samples
            if sample.name in ("tidegate_calls_in_flight", "tidegate_held_bytes")
        }
        assert samples == {"tidegate_calls_in_flight": 0, "tidegate_held_bytes": 0}
        counted = sum(
            sample.value
            for metric in listening.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "ai_requests_total"
        )
        assert counted == len(self.records.all), "each call has one record and is counted once"
        assert len({record.request_id for record in self.records.all}) == len(self.records.all)


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
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        """Tidegate's word for a refusal, in either dialect."""
        error = self.json["error"]
        return error["code"] if "code" in error else error["tidegate"]["code"]

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:300]!r}>"


@asynccontextmanager
async def running_sidecar(
    *configs: CompiledConfig,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    on_record: Callable[[CallRecord], None] | None = None,
    registry: Registry = DEFAULT,
    **settings: Any,
) -> AsyncIterator[Sidecar]:
    """Run a sidecar with the first of `configs` in force; it is drained at the end of the block."""
    source, records, stop, ticks = PushedConfig(*configs), Records(), asyncio.Event(), Ticks()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    chosen = Settings(
        **{"listen": LOCAL, "admin": LOCAL, "grace_ms": 5_000, "environment": environment or {}, **settings}
    )

    def take(record: CallRecord) -> None:
        records(record)
        if on_record is not None:
            on_record(record)

    failure: BaseException | None = None
    async with no_task_left(), asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_sidecar(
                chosen,
                source,
                records=take,
                clock=clock,
                on_listening=listening.set_result,
                stop=stop,
                flush=ticks,
                registry=registry,
            )
        )
        async with asyncio.timeout(DEADLINE_S):
            sidecar = Sidecar(await listening, source, records, stop, ticks)
        try:
            if configs:
                await source.taken()
            yield sidecar
        except Exception as error:  # noqa: BLE001 - raised again below, not as part of the group
            failure = error
        finally:
            await sidecar.client.close()
            stop.set()
    if failure is not None:
        raise failure
    sidecar.assert_settled()
