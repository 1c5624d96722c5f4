"""An application that waits for a model that thinks is told that the stream lives, if nobody else could answer any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import RETRY, TIMEOUTS, anthropic, config, pool, provider
from tidegate_testing.provider import (
    BLOCK_START,
    DONE,
    MESSAGE_END,
    MESSAGE_START,
    RawProvider,
    delta,
    raw_provider,
    text_delta,
)
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_policy.model import CompiledConfig, RetryOn
from tidegate_sidecar.dialects.anthropic import Anthropic
from tidegate_sidecar.dialects.openai import OpenAI
from tidegate_sidecar.telemetry.records import Ending

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
PING = OpenAI().ping
LONG = replace(TIMEOUTS, first_token_ms=50_000, stream_idle_ms=50_000, request_ms=90_000, stream_ms=90_000)
AFTER_MS = 15_000


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async with raw_provider() as provider:
        yield provider


def once(raw: RawProvider) -> CompiledConfig:
    """A provider in each dialect, asked once."""
    both = (provider("gpt", raw.url), anthropic("claude", raw.url))
    return config(pool(*both, retry=replace(RETRY, max_attempts=1), timeouts=LONG))


@pytest.mark.parametrize("opening", [b"", ROLE, b": working on it\n\n", ROLE + b": working on it\n\n"])
async def test_comes_every_fifteen_seconds_behind_the_providers_head(
    raw: RawProvider, opening: bytes
) -> None:
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True), head="connection: close\r\n")
        call = await raw.next()
        await call.begin_stream()
        if opening:
            await call.event(opening)
        await sidecar.looked()
        clock.advance(ms=AFTER_MS)
        head = await app.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        first = opening + PING
        assert await app.read_until(PING + b"\r\n") == b"%x\r\n%b\r\n" % (len(first), first)
        clock.advance(ms=AFTER_MS)
        assert await app.read_until(PING + b"\r\n") == b"%x\r\n%b\r\n" % (len(PING), PING)
        await call.event(delta("a", "stop") + DONE)
        await call.end_stream()
        assert (await app.rest()).endswith(delta("a", "stop") + DONE + b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)
        record = sidecar.records.last
        assert (record.ending, record.first_token_ms) == (Ending.SERVED, 2 * AFTER_MS)


async def test_is_the_dialects_own_ping_where_it_has_one(raw: RawProvider) -> None:
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask("claude-test", stream=True, max_tokens=9), path="/anthropic/v1/messages")
        call = await raw.next()
        await call.begin_stream()
        await call.event(MESSAGE_START)
        await sidecar.looked()
        clock.advance(ms=AFTER_MS)
        ping = Anthropic().ping
        assert ping == b'event: ping\ndata: {"type": "ping"}\n\n'
        assert MESSAGE_START + ping in await app.read_until(ping)
        last = BLOCK_START + text_delta("a") + MESSAGE_END
        await call.event(last)
        await call.end_stream()
        assert last in await app.read_until(b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)
        assert sidecar.records.last.ending is Ending.SERVED


@pytest.mark.parametrize("opening", [b"", ROLE], ids=["a head", "an opening"])
async def test_is_not_shown_while_somebody_else_could_answer(raw: RawProvider, opening: bytes) -> None:
    """It would commit to a provider that has not answered."""
    clock = FakeClock()
    both = pool(
        provider("first", raw.url),
        provider("second", raw.url, priority=1),
        retry=replace(RETRY, max_attempts=2),
        timeouts=LONG,
    )
    async with running_sidecar(config(both), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True), head="connection: close\r\n")
        call = await raw.next()
        await call.begin_stream()
        if opening:
            await call.event(opening)
        await sidecar.looked()
        for _ in range(3):
            clock.advance(ms=AFTER_MS)
            await sidecar.looked()
        call.cut()
        call = await raw.next()
        await call.begin_stream()
        await sidecar.looked()  # of the last attempt, and the call has waited long enough
        await app.read_until(PING + b"\r\n")
        await call.event(delta("a", "stop") + DONE)
        await call.end_stream()
        await app.rest()
        await sidecar.records.wait(1)
        assert [it.result for it in sidecar.records.last.attempts] == ["Incomplete", "ok"]


@pytest.mark.parametrize("retry_on", [(), (RetryOn.CONNECT_FAILURE,)])
async def test_is_shown_with_the_first_attempt_where_no_failure_of_a_stream_is_retried(
    raw: RawProvider, retry_on: tuple[RetryOn, ...]
) -> None:
    clock = FakeClock()
    limited = replace(RETRY, max_attempts=3, retry_on=retry_on)
    served = config(pool(provider("only", raw.url), retry=limited, timeouts=LONG))
    async with running_sidecar(served, clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True), head="connection: close\r\n")
        call = await raw.next()
        await call.begin_stream()
        await sidecar.looked()
        clock.advance(ms=AFTER_MS)
        await app.read_until(PING)
        await call.event(delta("a", "stop") + DONE)
        await call.end_stream()
        await app.rest()
        await sidecar.records.wait(1)


@pytest.mark.parametrize("begun", [False, True], ids=["no head", "a head of something else"])
async def test_is_not_shown_for_what_is_no_stream(raw: RawProvider, *, begun: bool) -> None:
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True))
        call = await raw.next()
        if begun:
            await call.begin_stream(headers={"content-type": "application/json"})
        await sidecar.looked()
        for _ in range(3):
            clock.advance(ms=AFTER_MS)
            await sidecar.looked()
        clock.advance(ms=AFTER_MS)
        assert (await app.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 504 ")
        await sidecar.records.wait(1)
        await call.gone()


async def test_is_not_shown_for_a_whole_answer(raw: RawProvider) -> None:
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask())
        call = await raw.next()
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 2\r\n\r\n{")
        await sidecar.looked()
        clock.advance(ms=4 * AFTER_MS)
        await sidecar.looked()
        await call.send(b"}")
        assert (await app.read_until(b"{}")).startswith(b"HTTP/1.1 200 OK\r\n")
        await sidecar.records.wait(1)
        call.close()


async def test_commits_so_that_what_fails_then_is_told_within_the_stream(raw: RawProvider) -> None:
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True))
        call = await raw.next()
        await call.begin_stream()
        await sidecar.looked()
        clock.advance(ms=AFTER_MS)
        await app.read_until(PING)
        clock.advance(ms=50_000)
        rest = await app.read_until(b"\r\n0\r\n\r\n")
        assert b"no content came within 50000 ms (timeouts.firstToken)" in rest
        await call.gone()
        await sidecar.records.wait(1)
        assert sidecar.records.last.code == "provider_timeout"


async def test_is_over_with_the_first_content(raw: RawProvider) -> None:
    """From there on the application sees what the provider says, as without us."""
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True), head="connection: close\r\n")
        call = await raw.next()
        await call.begin_stream()
        await call.event(delta("a"))
        await app.read_until(delta("a"))
        for _ in range(3):
            clock.advance(ms=AFTER_MS)
            await sidecar.looked()
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()
        assert PING not in await app.rest()
        await sidecar.records.wait(1)
