"""From publish to enforced, through a whole sidecar: calls are answered by what the operator says."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from tidegate_testing import configs
from tidegate_testing.following import Pod, until
from tidegate_testing.publisher import CHAT, Cluster, Publisher, edition, running_publisher
from tidegate_testing.sidecar import LOCAL

from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, Denial, DenialCode
from tidegate_sidecar.app import Listening, run_sidecar
from tidegate_sidecar.config.operator_source import OperatorSource
from tidegate_sidecar.settings import Settings
from tidegate_sidecar.telemetry.metrics import Metrics

POOL = configs.pool(configs.provider("one", "http://127.0.0.1:1"))
DENYING = CompiledConfig(denials=(Denial(code=DenialCode.SUSPENDED, reason="closed for the night"),))
ALLOWING = configs.config(POOL, allow_models=(configs.allow("other-*"),))


@asynccontextmanager
async def sidecar(
    pod: Pod, operator: Publisher, on_listening: Callable[[Listening], None] = lambda _: None
) -> AsyncIterator[Listening]:
    metrics = Metrics()
    source = OperatorSource(pod.settings(operator.url, operator.bundle.trust), metrics)
    stop = asyncio.Event()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()

    def listens(it: Listening) -> None:
        on_listening(it)
        listening.set_result(it)

    settings = Settings(listen=LOCAL, admin=LOCAL, grace_ms=1_000)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_sidecar(
                settings,
                source,
                records=lambda _: None,
                metrics=metrics,
                on_listening=listens,
                stop=stop,
            )
        )
        try:
            yield await listening
        finally:
            stop.set()


async def call(listening: Listening) -> str:
    body = {"model": "gpt-test", "messages": [{"role": "user", "content": "hello"}]}
    url = f"http://{listening.app[0]}/openai/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return str((await response.json())["error"]["code"])


async def test_what_is_published_is_enforced_on_the_next_call(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster) as operator, sidecar(pod, operator) as running:
        assert await call(running) == "config_pending"
        for config, code in ((DENYING, "suspended"), (ALLOWING, "model_not_allowed"), (DENYING, "suspended")):
            operator.board.publish(edition((CHAT, config)))
            await operator.ack(lambda ack, config=config: ack.digest == wire.digest(config))  # type: ignore[misc] # mypy reads no defaults of lambdas
            assert await call(running) == code


async def test_a_sidecar_that_was_killed_takes_no_call_before_it_has_what_it_had(
    cluster: Cluster, pod: Pod
) -> None:
    """Or the first calls after its restart would be refused for want of a configuration."""
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, DENYING)))
        async with sidecar(pod, operator):
            await operator.ack(lambda ack: ack.digest == wire.digest(DENYING))
        had: list[bool] = []
        async with sidecar(pod, operator, lambda it: had.append(it.live.pipeline is not None)) as running:
            assert had == [True]
            assert await call(running) == "suspended"


async def test_a_configuration_that_breaks_the_build_stays_outside(cluster: Cluster, pod: Pod) -> None:
    """It is read without error and cannot be made into a pipeline: what is in force stays, the operator hears why."""
    broken = configs.config(
        POOL, rate_limits=(configs.limit(per_ms=0, requests=0), configs.limit("second", burst=0))
    )
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, DENYING)))
        async with sidecar(pod, operator) as running:
            await operator.ack(lambda ack: ack.digest == wire.digest(DENYING))
            operator.board.publish(edition((CHAT, broken)))
            ack = await operator.ack(lambda ack: bool(ack.refused))
            assert ack.refused == wire.digest(broken)
            assert "it cannot be built" in ack.why
            assert await call(running) == "suspended"
            assert running.live.problem == ack.why
            operator.board.publish(edition((CHAT, ALLOWING)))
            await operator.ack(lambda ack: ack.digest == wire.digest(ALLOWING))
            await until(lambda: not running.live.problem)


async def test_metrics_say_how_old_the_configuration_is(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster) as operator, sidecar(pod, operator) as running:
        assert b"\ntidegate_config_age_seconds " not in running.metrics.expose()
        before_s = time.monotonic()
        operator.board.publish(edition((CHAT, DENYING)))
        await operator.ack(lambda ack: ack.digest == wire.digest(DENYING))
        exposed = running.metrics.expose().decode()
        assert "tidegate_operator_connected 1.0" in exposed
        ages = re.findall(r"^tidegate_config_age_seconds (\S+)$", exposed, re.MULTILINE)
        assert [0 <= float(age) <= time.monotonic() - before_s for age in ages] == [True]
