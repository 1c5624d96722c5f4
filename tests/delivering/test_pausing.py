"""Between two polls: nothing when the last was worth it, otherwise chance within a time that grows and is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tidegate_testing import configs
from tidegate_testing.following import Pod, scripted
from tidegate_testing.publisher import first_bundle

from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Envelope, Tag
from tidegate_policy.model import CompiledConfig, WorkloadIdentity
from tidegate_policy.poll import AS_OF, format_as_of
from tidegate_sidecar.config.operator_poll import (
    Answer,
    Failed,
    Fresh,
    NotModified,
    OperatorPoll,
    Standing,
)
from tidegate_sidecar.config.operator_source import OperatorSource
from tidegate_sidecar.config.operator_trust import OperatorTrust
from tidegate_sidecar.config.source import Loaded, Refused
from tidegate_sidecar.telemetry.metrics import Metrics

SECOND_NS = 1_000_000_000
ENVELOPE = Envelope(config=CompiledConfig(), identity=WorkloadIdentity())
FRESH = Fresh(ENVELOPE, Tag("0" * 64, "1"))
SAME = NotModified(None, None)


def source(folder: Path, failures: int, *, configured: bool, in_vain: int | None = None) -> OperatorSource:
    settings = Pod(folder).settings("https://operator.test", "", reconnect_ms=5_000, reconnect_max_ms=60_000)
    made = OperatorSource(settings, Metrics())
    made._failures, made._in_vain = failures, failures if in_vain is None else in_vain
    if configured:
        made._accept(ENVELOPE, FRESH.tag)
    return made


@pytest.mark.parametrize(
    ("answer", "failures", "took_s", "limit_ms"),
    [
        (FRESH, 0, 0, 0),
        (SAME, 0, 55, 0),
        (SAME, 0, 0.5, 5_000),
        (Failed(problem="x"), 1, 0, 5_000),
        (Failed(problem="x"), 2, 0, 10_000),
        (Failed(problem="x"), 5, 0, 60_000),
        (Failed(problem="x"), 10_000, 0, 60_000),
        (Failed(problem="x", is_nobody_there=True), 1, 0, 5_000),
        (Failed(problem="x", is_nobody_there=True), 10_000, 0, 5_000),
        (Failed(problem="x", retry_s=1), 1, 0, 1_000),
        (Failed(problem="x", retry_s=1), 4, 0, 8_000),
        (Failed(problem="x", retry_s=3_600), 1, 0, 60_000),
    ],
)
def test_the_pause_of_a_sidecar_that_has_a_configuration(
    tmp_path: Path, answer: Answer, failures: int, took_s: float, limit_ms: int
) -> None:
    assert (
        source(tmp_path, failures, configured=True)._pause_limit_ms(answer, int(took_s * SECOND_NS))
        == limit_ms
    )


@pytest.mark.parametrize(("failures", "limit_ms"), [(1, 500), (2, 1_000), (30, 60_000)])
def test_a_sidecar_without_configuration_asks_sooner(tmp_path: Path, failures: int, limit_ms: int) -> None:
    pending = source(tmp_path, failures, configured=False)
    assert pending._pause_limit_ms(Failed(problem="x"), 0) == limit_ms


@pytest.mark.parametrize(("failures", "limit_ms"), [(1, 500), (2, 1_000), (30, 5_000)])
def test_where_nobody_listens_it_goes_on_asking_soon(tmp_path: Path, failures: int, limit_ms: int) -> None:
    pending = source(tmp_path, failures, configured=False)
    assert pending._pause_limit_ms(Failed(problem="x", is_nobody_there=True), 0) == limit_ms


def test_an_operator_that_comes_back_and_is_busy_is_not_kept_waiting_for_the_time_it_was_gone(
    tmp_path: Path,
) -> None:
    back = source(tmp_path, 30, configured=True, in_vain=1)
    assert back._pause_limit_ms(Failed(problem="x", retry_s=1), 0) == 1_000


async def test_a_port_that_is_closed_is_told_from_an_operator_that_fails(pod: Pod) -> None:
    async def fail(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500)

    bundle = first_bundle()
    async with scripted(bundle, fail) as url:
        assert not await poll_once(pod, url, bundle.trust)
    assert await poll_once(pod, url, bundle.trust)


async def poll_once(pod: Pod, url: str, trust: str) -> bool:
    """Whether nobody is there."""
    settings = pod.settings(url, trust)
    async with aiohttp.ClientSession() as session:
        poll = OperatorPoll(session, settings, OperatorTrust(settings.ca, settings.state_dir))
        answer = await poll(Standing())
    assert isinstance(answer, Failed)
    return answer.is_nobody_there


async def test_an_operator_that_never_waits_is_not_asked_in_circles(pod: Pod) -> None:
    """Something in between answers each poll with 304 at once."""
    bundle = first_bundle()
    config = configs.config()
    headers = {"etag": str(Tag(wire.digest(config), "1")), AS_OF: format_as_of(AsOf())}
    asked: list[asyncio.Event] = []
    second = asyncio.Event()

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        asked.append(second)
        if len(asked) == 1:
            whole = Envelope(config=config, identity=WorkloadIdentity())
            return web.Response(body=wire.encode(whole), headers=headers)
        second.set()
        return web.Response(status=304, headers=headers)

    drawn: asyncio.Queue[float] = asyncio.Queue()

    def draw() -> float:
        drawn.put_nowait(0.999)
        return 0.999

    async with scripted(bundle, answer) as url:
        settings = pod.settings(url, bundle.trust, reconnect_ms=600_000, reconnect_max_ms=600_000)
        updates = OperatorSource(settings, Metrics(), random=draw).updates()
        assert (await anext(updates)) is not None
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
            rest = tasks.create_task(_rest(updates))
            await second.wait()
            await drawn.get()
            rest.cancel()
        assert len(asked) == 2


async def _rest(updates: AsyncIterator[Loaded | Refused]) -> None:
    async for _ in updates:
        pass
