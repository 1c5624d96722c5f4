"""An exchange that serves what is made up, and proof that nothing is left of its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tidegate_testing.exchange import RunningExchange, running_exchange
from tidegate_testing.sidecar import IDENTITY
from tidegate_testing.tasks import until

from made_up.quotas import QuotaPolicy
from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.registry import DEFAULT, FilterKind, PolicyKind
from tidegate_sidecar.config.source import Loaded


@asynccontextmanager
async def serving(
    config: CompiledConfig,
    *,
    policies: tuple[PolicyKind, ...] = (),
    filters: tuple[FilterKind, ...] = (),
    **more: Any,
) -> AsyncIterator[RunningExchange]:
    """Serve `config` with the kinds that are built in and these."""
    registry = replace(DEFAULT, policies=(*DEFAULT.policies, *policies), filters=filters)
    async with running_exchange(config, registry=registry, **more) as running:
        yield running
        await settled(running)


async def settled(running: RunningExchange) -> None:
    """Nothing is in flight, held, waited for or taken, and every connection is idle or closed."""
    services = running.services
    await until(lambda: services.in_flight.count == 0)
    assert services.held.count == 0
    await until(lambda: services.ticker.count == 0)
    await until(lambda: services.origins.open_count == services.origins.idle_count)
    for rule in pipeline_of(running).rules:
        if isinstance(rule, QuotaPolicy):
            assert rule.rights.free >= rule.quota.calls
            assert not rule.rights.waiting


def put(running: RunningExchange, config: CompiledConfig) -> None:
    """Put another configuration in force, or have it refused."""
    running.services.live.apply(Loaded(config=config, identity=IDENTITY))


def pipeline_of(running: RunningExchange) -> Pipeline:
    pipeline = running.services.live.pipeline
    assert pipeline is not None
    return pipeline


def quota_of(running: RunningExchange, name: str) -> QuotaPolicy:
    """A quota as it is in force."""
    return next(
        it for it in pipeline_of(running).rules if isinstance(it, QuotaPolicy) and it.quota.name == name
    )


def head_of(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[0].decode()


def body_of(answer: bytes) -> bytes:
    """The body, whole or in chunks."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found
