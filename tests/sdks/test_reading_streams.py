"""What an SDK makes of its provider's bytes when it is asked directly, it makes of them through the sidecar."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import RETRY, TIMEOUTS, anthropic, config, pool, provider
from tidegate_testing.provider import (
    BLOCK_START,
    DONE,
    MESSAGE_END,
    MESSAGE_START,
    ProviderCall,
    RawProvider,
    delta,
    named,
    raw_provider,
    text_delta,
)
from tidegate_testing.sidecar import Sidecar, running_sidecar

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.telemetry.records import Ending

QUESTION: Any = [{"role": "user", "content": "hello there"}]
LONG = replace(TIMEOUTS, first_token_ms=90_000, stream_idle_ms=90_000, request_ms=90_000, stream_ms=90_000)


def once(raw: RawProvider) -> CompiledConfig:
    both = (provider("gpt", raw.url), anthropic("claude", raw.url))
    return config(pool(*both, retry=replace(RETRY, max_attempts=1), timeouts=LONG))


async def with_openai(url: str) -> list[Any]:
    """What the application is given: the text of each chunk, what was used, the class of an error."""
    import openai  # noqa: PLC0415 - a second of every worker's time, for one of them

    seen: list[Any] = []
    async with openai.AsyncOpenAI(base_url=url, api_key="placeholder", max_retries=0) as client:
        try:
            async for chunk in await client.chat.completions.create(
                model="gpt-test", messages=QUESTION, stream=True
            ):
                seen += [choice.delta.content for choice in chunk.choices]
                seen += [chunk.usage.total_tokens] if chunk.usage else []
        except openai.APIError as error:
            seen.append(type(error).__name__)
    return seen


async def with_anthropic(url: str) -> list[Any]:
    """The same: the type of each event, all text, the class of an error."""
    import anthropic as sdk  # noqa: PLC0415 - the same

    seen: list[Any] = []
    async with sdk.AsyncAnthropic(base_url=url, api_key="placeholder", max_retries=0) as client:
        try:
            async with client.messages.stream(
                model="claude-test", max_tokens=9, messages=QUESTION
            ) as streaming:
                async for event in streaming:
                    seen.append(event.type)  # noqa: PERF401 - what came before an error counts
                seen.append(await streaming.get_final_text())
        except sdk.APIError as error:
            seen.append(type(error).__name__)
    return seen


Ask = Callable[[str], Awaitable[list[Any]]]
BASES: dict[Ask, str] = {with_openai: "/openai/v1", with_anthropic: "/anthropic"}

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
USED = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9},"model":"m"}\n\n'
)
OPENAI = ROLE + delta("caf\u00e9 ") + delta("ol\u00e9") + delta("", "stop") + USED + DONE
ANTHROPIC = MESSAGE_START + BLOCK_START + text_delta("caf\u00e9 ") + text_delta("ol\u00e9") + MESSAGE_END

STREAMS: dict[str, tuple[Ask, bytes]] = {
    "OpenAI's": (with_openai, OPENAI),
    "OpenAI's with both line ends": (with_openai, OPENAI.replace(b"\n", b"\r\n")),
    "OpenAI's with carriage returns": (with_openai, OPENAI.replace(b"\n", b"\r")),
    "OpenAI's with line ends in a mix": (with_openai, OPENAI.replace(b"\n\n", b"\n\r\n")),
    "OpenAI's with two spaces": (with_openai, OPENAI.replace(b"data: {", b"data:  {")),
    "OpenAI's with spaces behind": (with_openai, OPENAI.replace(b"\n\n", b" \n\n")),
    "OpenAI's without spaces": (with_openai, OPENAI.replace(b"data: ", b"data:")),
    "OpenAI's with ids": (with_openai, OPENAI.replace(b"data: ", b"id: 7\ndata: ")),
    "OpenAI's with comments": (with_openai, OPENAI.replace(b"data: ", b": hello\n\ndata: ")),
    "OpenAI's with words behind its end": (with_openai, OPENAI.replace(b"[DONE]", b"[DONE] bye")),
    "OpenAI's without the last blank line": (with_openai, OPENAI.removesuffix(b"\n\n")),
    "OpenAI's without its mark of the end": (with_openai, OPENAI.removesuffix(DONE)),
    "OpenAI's in halves of surrogates": (with_openai, OPENAI.replace(b"\\u00e9 ", b"\\ud83d")),
    "OpenAI's with an error": (with_openai, ROLE + delta("a") + b'data: {"error":{"message":"x"}}\n\n'),
    "Anthropic's": (with_anthropic, ANTHROPIC),
    "Anthropic's with both line ends": (with_anthropic, ANTHROPIC.replace(b"\n", b"\r\n")),
    "Anthropic's with carriage returns": (with_anthropic, ANTHROPIC.replace(b"\n", b"\r")),
    "Anthropic's with pings of text": (
        with_anthropic,
        ANTHROPIC.replace(BLOCK_START, b"event: ping\ndata: pong\n\n" + BLOCK_START),
    ),
    "Anthropic's with comments": (with_anthropic, ANTHROPIC.replace(b"event: ", b": hello\n\nevent: ")),
    "Anthropic's with an error": (
        with_anthropic,
        MESSAGE_START
        + BLOCK_START
        + text_delta("a")
        + named("error", error={"type": "overloaded_error", "message": "x"}),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def no_authorities() -> None:
    """They stay: the SDKs are in this process, and do not begin without. What they load late is loaded before one waits for it."""
    import anthropic as of_anthropic  # noqa: PLC0415 - seconds of every worker's time, for one of them
    import openai  # noqa: PLC0415 - the same

    with openai.OpenAI(api_key="x") as first, of_anthropic.Anthropic(api_key="x") as second:
        _ = first.chat.completions, second.messages


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async with raw_provider() as made:
        yield made


async def opened(sidecar: Sidecar, raw: RawProvider, ask: Ask, tasks: asyncio.TaskGroup) -> Any:
    """A call of the SDK in a task of its own, and the same as it arrives at the provider."""
    asking = tasks.create_task(_asked(ask, sidecar.url + BASES[ask]))
    return asking, await raw.next()


async def _asked(ask: Ask, url: str) -> list[Any]:
    return await ask(url)


@pytest.mark.parametrize("name", STREAMS)
async def test_streams_read_the_same(name: str) -> None:
    ask, stream = STREAMS[name]

    async def answer(call: ProviderCall) -> None:
        await call.begin_stream()
        for at in range(0, len(stream), 50):
            await call.event(stream[at : at + 50])
        await call.end_stream()

    async with raw_provider(answer) as raw, running_sidecar(once(raw)) as sidecar:
        directly = await ask(raw.url if ask is with_openai else raw.url.removesuffix("/v1"))
        assert len(directly) > 2
        assert await ask(sidecar.url + BASES[ask]) == directly
        assert len(raw.calls) == 2
        failed = name.endswith("an error")
        assert (sidecar.records.last.ending is Ending.SERVED) is not failed


LIVES: dict[Ask, tuple[bytes, list[bytes], list[Any]]] = {
    with_openai: (ROLE, [delta("a"), delta("", "stop"), DONE], ["", "a", ""]),
    with_anthropic: (
        MESSAGE_START,
        [BLOCK_START, text_delta("a"), MESSAGE_END],
        [
            *("message_start", "content_block_start", "content_block_delta", "text", "content_block_stop"),
            *("message_delta", "message_stop", "a"),
        ],
    ),
}
"""An opening, what follows, and what the application makes of them."""


@pytest.mark.parametrize("ask", LIVES)
@pytest.mark.parametrize("field", [b"", b"id: 7\n", b"retry: 5\n"], ids=["plain", "id", "retry"])
async def test_signs_of_life_are_passed_over(raw: RawProvider, ask: Ask, field: bytes) -> None:
    """Whatever fields a provider's events have: the application is given what the provider says, and nothing else."""
    clock = FakeClock()
    opening, events, expected = LIVES[ask]
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking, call = await opened(sidecar, raw, ask, tasks)
        await call.begin_stream()
        await sidecar.looked()
        clock.advance(ms=15_000)
        await sidecar.looked()  # behind the head alone
        await call.event(field + opening)
        await sidecar.looked()
        for _ in range(2):
            clock.advance(ms=15_000)
            await sidecar.looked()
        assert not asking.done()
        for event in events:
            await call.event(field + event)
        await call.end_stream()
        assert await asking == expected
        await sidecar.records.wait(1)
        record = sidecar.records.last
        assert (record.ending, record.first_token_ms) == (Ending.SERVED, 45_000)


@pytest.mark.parametrize(
    ("ask", "raised"),
    [(with_openai, {"APIError"}), (with_anthropic, {"APIStatusError", "InternalServerError", "APIError"})],
)
async def test_a_stream_that_showed_life_and_failed_raises(
    raw: RawProvider, ask: Ask, raised: set[str]
) -> None:
    clock = FakeClock()
    async with running_sidecar(once(raw), clock=clock.clock) as sidecar, asyncio.TaskGroup() as tasks:
        asking, call = await opened(sidecar, raw, ask, tasks)
        await call.begin_stream()
        await sidecar.looked()
        clock.advance(ms=15_000)
        await sidecar.looked()
        call.cut()
        seen = await asking
        assert len(seen) == 1
        assert seen[0] in raised
