"""How long one waits for what: the first content, the next event, the end of a stream, a whole answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import RETRY, TIMEOUTS, config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import Connection, ask

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.telemetry.records import Ending

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async with raw_provider() as provider:
        yield provider


def one(raw: RawProvider, **timeouts: int) -> CompiledConfig:
    """Times are 10 s to the first content, 10 s between events, 20 s for whole answers, 60 s for streams."""
    times = replace(TIMEOUTS, stream_ms=60_000)
    return config(
        pool(
            provider("only", raw.url),
            retry=replace(RETRY, max_attempts=1),
            timeouts=replace(times, **timeouts),
        )
    )


async def begin(raw: RawProvider, app: Connection) -> ProviderCall:
    """A stream of which the application has the first event."""
    await app.post(ask(stream=True))
    call = await raw.next()
    await call.begin_stream()
    await call.event(delta("first"))
    await app.read_until(delta("first"))
    return call


async def cut(sidecar: Sidecar, app: Connection, call: ProviderCall) -> str:
    """Why the stream is cut, as the application is told, which the provider sees too."""
    rest = await app.read_until(b"\r\n0\r\n\r\n")
    assert b'"code":"provider_timeout"' in rest
    await call.gone()
    await sidecar.records.wait(1)
    record = sidecar.records.last
    assert (record.ending, record.code) == (Ending.FAILED, "provider_timeout")
    assert [it.result for it in record.attempts] == ["Timeout"]
    assert record.reason.encode() in rest
    return record.reason


@pytest.mark.parametrize(
    "came",
    [None, b"", b": working on it\n\n", ROLE, ROLE + b": working on it\n\n"],
    ids=["no head", "a head and nothing more", "a comment", "an opening", "an opening and a comment"],
)
async def test_the_first_content_has_a_deadline(raw: RawProvider, came: bytes | None) -> None:
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat(stream=True))
        call = await raw.next()
        if came is not None:
            await call.begin_stream()
            if came:
                await call.event(came)
            await sidecar.looked()
        clock.advance(ms=9_999)
        await sidecar.looked()
        assert not asking.done()
        clock.advance(ms=1)
        answer = await asking
        assert (answer.status, answer.code) == (504, "provider_timeout")
        assert "no content came within 10000 ms (timeouts.firstToken)" in answer.text
        await call.gone()


async def test_the_first_content_ends_it(raw: RawProvider) -> None:
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True))
        call = await raw.next()
        clock.advance(ms=9_000)
        await call.begin_stream()
        await call.event(ROLE + delta("first"))
        await app.read_until(delta("first"))
        clock.advance(ms=9_000)
        await sidecar.looked()
        await call.event(delta("second", "stop") + DONE)
        await call.end_stream()
        await app.read_until(DONE)
        await sidecar.records.wait(1)
        assert sidecar.records.last.ending is Ending.SERVED


async def test_a_stream_that_falls_silent_is_cut(raw: RawProvider) -> None:
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        call = await begin(raw, app)
        clock.advance(ms=10_000)
        assert await cut(sidecar, app, call) == "nothing more came within 10000 ms (timeouts.streamIdle)"


@pytest.mark.parametrize(
    "sign", [delta("more"), ROLE, b": still here\n\n", b": still here\n", b"event: ping\n\n"]
)
async def test_every_event_and_comment_says_that_a_stream_lives(raw: RawProvider, sign: bytes) -> None:
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        call = await begin(raw, app)
        for _ in range(3):
            clock.advance(ms=9_000)
            await call.event(sign)
            if sign.endswith(b"\n\n"):
                await app.read_until(sign)
            await sidecar.looked()
        await sidecar.looked()
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()
        assert b"error" not in await app.read_until(DONE)
        await sidecar.records.wait(1)
        assert sidecar.records.last.ending is Ending.SERVED


async def test_half_an_event_says_nothing(raw: RawProvider) -> None:
    """A provider that writes a byte a minute is not alive."""
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        call = await begin(raw, app)
        clock.advance(ms=9_000)
        await call.event(b'data: {"choices"')
        await sidecar.looked()
        clock.advance(ms=1_000)
        assert "timeouts.streamIdle" in await cut(sidecar, app, call)


async def test_a_stream_that_never_ends_is_cut_at_its_own_deadline(raw: RawProvider) -> None:
    """`timeouts.request` is not for streams: one that goes on for long is answered all the while."""
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, await sidecar.connect() as app:
        call = await begin(raw, app)
        for _ in range(6):
            clock.advance(ms=9_900)
            await call.event(delta("more"))
            await app.read_until(delta("more"))
            await sidecar.looked()
        clock.advance(ms=600)
        assert await cut(sidecar, app, call) == "the stream was not over within 60000 ms (timeouts.stream)"


async def test_a_stream_that_does_not_begin_has_the_deadline_of_answers_too(raw: RawProvider) -> None:
    clock = FakeClock()
    slow = one(raw, first_token_ms=30_000)
    async with running_sidecar(slow, clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat(stream=True))
        call = await raw.next()
        clock.advance(ms=20_000)
        answer = await asking
        assert (answer.status, answer.code) == (504, "provider_timeout")
        assert "no answer came within 20000 ms (timeouts.request)" in answer.text
        await call.gone()


@pytest.mark.parametrize("has_begun", [False, True], ids=["no head", "half an answer"])
async def test_a_whole_answer_has_the_calls_deadline(raw: RawProvider, *, has_begun: bool) -> None:
    """A model that thinks for minutes sends nothing until it is done: firstToken is for streams alone."""
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat())
        call = await raw.next()
        if has_begun:
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")
            await sidecar.looked()
        clock.advance(ms=19_999)
        await sidecar.looked()
        assert not asking.done()
        clock.advance(ms=1)
        answer = await asking
        assert (answer.status, answer.code) == (504, "provider_timeout")
        assert "within 20000 ms (timeouts.request)" in answer.text
        assert "retry-after" in answer.headers
        await call.gone()


async def test_the_deadline_of_answers_is_the_calls_and_not_an_attempts(raw: RawProvider) -> None:
    clock = FakeClock()
    both = pool(
        provider("first", raw.url), provider("second", raw.url, priority=1), retry=RETRY, timeouts=TIMEOUTS
    )
    async with running_sidecar(config(both), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat())
        call = await raw.next()
        clock.advance(ms=15_000)
        await call.answer(b"{}", status=500)
        call = await raw.next()
        clock.advance(ms=5_000)
        assert (await asking).status == 504
        await call.gone()
        assert [it.result for it in sidecar.records.last.attempts] == ["ServerError", "Timeout"]


async def test_an_error_that_is_never_whole_is_passed_on_as_far_as_it_came(raw: RawProvider) -> None:
    """Its status has said enough."""
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat())
        call = await raw.next()
        await call.send(b"HTTP/1.1 400 X\r\ncontent-length: 99\r\n\r\nyour prompt is")
        await sidecar.looked()
        clock.advance(ms=5_000)
        answer = await asking
        assert (answer.status, answer.body) == (400, b"your prompt is")
        await call.gone()


async def test_what_comes_in_time_is_served(raw: RawProvider) -> None:
    clock = FakeClock()
    async with running_sidecar(one(raw), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat())
        call = await raw.next()
        clock.advance(ms=19_999)
        await sidecar.looked()
        await call.answer(COMPLETION)
        assert (await asking).json == COMPLETION
