"""A stream is the one from its first content on: until then another provider may answer, and the application knows of nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, RETRY, TIMEOUTS, anthropic, config, pool, provider
from tidegate_testing.provider import (
    BLOCK_START,
    DONE,
    MESSAGE_END,
    MESSAGE_START,
    RawProvider,
    delta,
    named,
    raw_provider,
    text_delta,
)
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import Connection, ask

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.proxy.stream_body import OPENING_BYTES
from tidegate_sidecar.telemetry.records import Ending

LONG = replace(
    TIMEOUTS, first_token_ms=100_000, stream_idle_ms=100_000, request_ms=500_000, stream_ms=500_000
)


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async with raw_provider() as provider:
        yield provider


def two(raw: RawProvider, dialect: str) -> CompiledConfig:
    make = provider if dialect == "openai" else anthropic
    return config(
        pool(
            make("first", raw.url),
            make("second", raw.url, priority=1),
            retry=replace(RETRY, max_attempts=2),
            timeouts=LONG,
        )
    )


async def send(app: Connection, dialect: str) -> None:
    if dialect == "openai":
        await app.post(ask(stream=True))
    else:
        await app.post(ask("claude-test", stream=True, max_tokens=9), path="/anthropic/v1/messages")


async def ends(sidecar: Sidecar) -> list[str]:
    """How the attempts of the one call went, once it is over."""
    await sidecar.records.wait(1)
    return [attempt.result for attempt in sidecar.records.last.attempts]


def chunk(**members: object) -> bytes:
    choice = {"index": 0, "delta": members, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def block(**members: object) -> bytes:
    return named("content_block_start", index=0, content_block=members)


OPENINGS = {
    "a comment": ("openai", b": OPENROUTER PROCESSING\n\n"),
    "who speaks": ("openai", chunk(role="assistant")),
    "who speaks, without a word": ("openai", chunk(role="assistant", content="")),
    "what was filtered of the prompt": ("openai", b'data: {"choices":[],"prompt_filter_results":[]}\n\n'),
    "a fresh start": ("anthropic", MESSAGE_START),
    "a block that is empty so far": ("anthropic", MESSAGE_START + BLOCK_START),
    "a thought that is empty so far": ("anthropic", MESSAGE_START + block(type="thinking", thinking="")),
    "a ping": ("anthropic", MESSAGE_START + b'event: ping\ndata: {"type": "ping"}\n\n'),
}
"""The dialect, and what comes before the answer proper."""

LAST = {
    "openai": delta("whole", "stop") + DONE,
    "anthropic": MESSAGE_START + text_delta("whole") + MESSAGE_END,
}


@pytest.mark.parametrize("name", OPENINGS)
@pytest.mark.parametrize("how", ["cut", "ended"])
async def test_a_provider_that_fails_after_its_opening_has_not_answered(
    raw: RawProvider, name: str, how: str
) -> None:
    dialect, opening = OPENINGS[name]
    async with running_sidecar(two(raw, dialect)) as sidecar, await sidecar.connect() as app:
        await send(app, dialect)
        call = await raw.next()
        await call.begin_stream()
        await call.event(opening)
        if how == "cut":
            call.cut()
        else:
            await call.end_stream()
        call = await raw.next()
        await call.answer(LAST[dialect], content_type="text/event-stream")
        answer = await app.read_until(LAST[dialect])
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.partition(b"\r\n\r\n")[2] == LAST[dialect], "nothing of the first is left"
        assert b"x-tidegate-provider: second\r\n" in answer
        assert await ends(sidecar) == ["Incomplete", "ok"]


async def test_garbage_behind_an_opening_is_not_asked_for_again(raw: RawProvider) -> None:
    """It was an answer of 200, which somebody pays for."""
    async with running_sidecar(two(raw, "openai")) as sidecar, await sidecar.connect() as app:
        await send(app, "openai")
        call = await raw.next()
        await call.begin_stream()
        await call.event(chunk(role="assistant"))
        await call.send(b"no chunk\r\n")
        assert b"502 Bad Gateway" in await app.read_until(b"\r\n\r\n")
        assert await ends(sidecar) == ["Unreadable"]
        await call.gone()


CONTENT = {
    "text": ("openai", chunk(content="a")),
    "reasoning": ("openai", chunk(reasoning_content="a")),
    "reasoning by OpenRouter's name": ("openai", chunk(reasoning="a")),
    "a refusal": ("openai", chunk(refusal="a")),
    "a tool's call": ("openai", chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}])),
    "audio": ("openai", chunk(audio={"data": "AAAA"})),
    "an end without a word": ("openai", delta("", "content_filter")),
    "Anthropic's text": ("anthropic", BLOCK_START + text_delta("a")),
    "Anthropic's thoughts": ("anthropic", named("content_block_delta", delta={"thinking": "a"}, index=0)),
    "Anthropic's tools": ("anthropic", block(type="tool_use", id="t", name="f", input={})),
    "thoughts that are kept secret": ("anthropic", block(type="redacted_thinking", data="AAAA")),
}


@pytest.mark.parametrize("name", CONTENT)
async def test_the_first_content_commits(raw: RawProvider, name: str) -> None:
    """All that was held comes with it, in its order; from there on a failure can only be told as the end of the stream."""
    dialect, content = CONTENT[name]
    opening = chunk(role="assistant", content="") if dialect == "openai" else MESSAGE_START
    async with running_sidecar(two(raw, dialect)) as sidecar, await sidecar.connect() as app:
        await send(app, dialect)
        call = await raw.next()
        await call.begin_stream()
        await call.event(opening)
        await call.event(content)
        assert opening + content in (await app.read_until(content)).replace(b"\r\n%x\r\n" % len(content), b"")
        call.cut()
        assert b"The stream from the provider was cut: " in await app.read_until(b"0\r\n\r\n")
        assert await ends(sidecar) == ["Incomplete"]
        assert sidecar.records.last.ending is Ending.FAILED


async def test_an_opening_is_held_up_to_a_bound(raw: RawProvider) -> None:
    """Who says more than that without a word of an answer is passed on, and is the one."""
    comment = b": " + b"x" * 1_000 + b"\n\n"
    async with running_sidecar(two(raw, "openai")) as sidecar, await sidecar.connect() as app:
        await send(app, "openai")
        call = await raw.next()
        await call.begin_stream()
        for _ in range(OPENING_BYTES // len(comment) + 1):
            await call.event(comment)
        assert (await app.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        call.cut()
        assert b"The stream from the provider was cut: " in await app.read_until(b"0\r\n\r\n")
        assert await ends(sidecar) == ["Incomplete"]


async def test_an_error_behind_the_opening_is_a_failed_attempt(raw: RawProvider) -> None:
    async with running_sidecar(two(raw, "openai")) as sidecar, await sidecar.connect() as app:
        await send(app, "openai")
        call = await raw.next()
        await call.begin_stream()
        await call.event(chunk(role="assistant"))
        await call.event(b'data: {"error":{"code":"overloaded","message":"x"}}\n\n')
        await call.gone()
        call = await raw.next()
        await call.answer(LAST["openai"], content_type="text/event-stream")
        await app.read_until(LAST["openai"])
        assert await ends(sidecar) == ["Overloaded", "ok"]


async def test_the_first_token_is_the_first_content(raw: RawProvider) -> None:
    clock = FakeClock()
    async with (
        running_sidecar(two(raw, "openai"), clock=clock.clock) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        asking = tasks.create_task(sidecar.chat(stream=True))
        call = await raw.next()
        await call.begin_stream()
        await call.event(chunk(role="assistant"))
        await sidecar.looked()
        clock.advance(ms=700)
        await call.event(LAST["openai"])
        await call.end_stream()
        assert (await asking).body == chunk(role="assistant") + LAST["openai"]
        assert sidecar.records.last.first_token_ms == 700


@pytest.mark.parametrize(("opening_ms", "state"), [(900, 0), (1_100, 2)], ids=["in time", "too late"])
async def test_a_provider_is_slow_by_its_first_event_of_any_kind(
    raw: RawProvider, opening_ms: int, state: int
) -> None:
    """A model that thinks for a minute is not ill; a provider that does not even begin is."""
    clock = FakeClock()
    strict = replace(BREAKER, minimum_requests=1, slow_first_token_ms=1_000)
    served = config(pool(provider("only", raw.url), breaker=strict, timeouts=LONG))
    async with running_sidecar(served, clock=clock.clock) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True))
        call = await raw.next()
        clock.advance(ms=opening_ms)
        await call.begin_stream()
        await call.event(b": not an event\n\n" + chunk(role="assistant"))
        await sidecar.looked()
        clock.advance(ms=50_000)
        await call.event(delta("a"))
        await app.read_until(delta("a"))
        await call.event(LAST["openai"])
        await call.end_stream()
        await app.read_until(b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)
        sample = 'tidegate_breaker_state{model="gpt-test",pool="team-a/main",provider="only"}'
        assert await sidecar.metric(sample) == state
