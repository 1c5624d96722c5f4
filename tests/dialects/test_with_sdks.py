"""The SDKs of OpenAI and Anthropic as the judges: what they read is read, and they read what is ours.

They talk to a server that writes given bytes, with nothing of the sidecar between them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tidegate_sidecar.dialects.anthropic import Anthropic
from tidegate_sidecar.dialects.base import Dialect, ErrorBody, Operation, StreamReader
from tidegate_sidecar.dialects.openai import OpenAI
from tidegate_sidecar.dialects.registry import DEFAULT
from tidegate_sidecar.dialects.sse import EventSplitter
from tidegate_sidecar.routing.refusal import Case

OURS = ErrorBody(
    status=504, code="provider_timeout", message="it took too long", details={"rule": "r"}, request_id="tg-1"
)

CHUNK = b'{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}'
TEXT, LAST, DONE = CHUNK % (b"a", b"null"), CHUNK % (b"", b'"stop"'), b"[DONE]"

START = b'{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"m","usage":{"input_tokens":1,"output_tokens":1}}}'
DELTA = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}'
STOP = b'{"type":"message_stop"}'


def data(*documents: bytes, end: bytes = b"\n\n", field: bytes = b"data: ") -> bytes:
    return b"".join(field + document + end for document in documents)


def named(*documents: bytes, end: bytes = b"\n") -> bytes:
    return b"".join(
        b"event: " + json.loads(document)["type"].encode() + end + b"data: " + document + end + end
        for document in documents
    )


@asynccontextmanager
async def answering(
    body: bytes, *, status: str = "200 OK", kind: str = "text/event-stream"
) -> AsyncIterator[str]:
    """The URL of a server that answers each call with `body` and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def with_openai(url: str, *, stream: bool = True) -> list[str]:
    """The text of each chunk that the application is given."""
    import openai  # noqa: PLC0415 - a second of every worker's time, for one of them

    async with openai.AsyncOpenAI(base_url=url, api_key="placeholder", max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": "hello"}]
        answer: Any = await client.chat.completions.create(model="m", messages=messages, stream=stream)
        return [chunk.choices[0].delta.content async for chunk in answer]


async def with_anthropic(url: str, *, stream: bool = True) -> list[str]:
    """The type of each event that the application is given."""
    import anthropic  # noqa: PLC0415 - the same

    async with anthropic.AsyncAnthropic(base_url=url, api_key="placeholder", max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": "hello"}]
        answer: Any = await client.messages.create(model="m", max_tokens=9, messages=messages, stream=stream)
        return [event.type async for event in answer]


CALLS: dict[str, Callable[..., Any]] = {"OpenAI": with_openai, "Anthropic": with_anthropic}


def read(dialect: Dialect, stream: bytes) -> StreamReader:
    make_reader = dialect.endpoints[Operation.CHAT].stream_reader
    assert make_reader is not None
    reader, splitter = make_reader(), EventSplitter()
    for event in [*splitter.feed(stream), *splitter.end()]:
        reader.read(event)
    return reader


@pytest.mark.parametrize(
    "stream",
    [
        data(TEXT, LAST, DONE),
        data(TEXT, LAST, DONE, end=b"\r\n\r\n"),
        data(TEXT, LAST, DONE, end=b"\r\r"),
        data(TEXT, LAST, DONE, end=b"\n\r\n"),
        data(TEXT, LAST, DONE, end=b" \n\n"),
        data(TEXT, LAST, field=b"data:  ") + data(DONE),
        data(TEXT, LAST, DONE, field=b"data:"),
        data(TEXT, LAST),
        data(TEXT, LAST) + b"data: [DONE]\n",
        data(TEXT, LAST) + b"data: [DONE]",
        data(TEXT, LAST, b"[DONE] bye"),
        data(TEXT, field=b"event: completion\ndata: ") + data(LAST, DONE),
        b": OPENROUTER PROCESSING\n\n" + data(TEXT) + b": OPENROUTER PROCESSING\n\n" + data(LAST, DONE),
        data(TEXT.replace(b',"choices":', b',\ndata: "choices" : '), LAST, DONE),
        data(TEXT.replace(b'"c"', b"1" * 40), LAST, DONE),
        data(TEXT.replace(b'"c"', b"NaN"), LAST, DONE),
    ],
)
async def test_what_openais_sdk_reads_is_read_to_its_end(stream: bytes) -> None:
    async with answering(stream) as url:
        assert await with_openai(url) == ["a", ""]
    reader = read(OpenAI(), stream)
    assert (reader.has_content, reader.may_end, reader.failure) == (True, True, None)


@pytest.mark.parametrize(
    ("stream", "types"),
    [
        (named(START, DELTA, STOP), ["message_start", "content_block_delta", "message_stop"]),
        (named(START, DELTA, STOP, end=b"\r\n"), ["message_start", "content_block_delta", "message_stop"]),
        (named(START, DELTA, STOP, end=b"\r"), ["message_start", "content_block_delta", "message_stop"]),
        (named(START) + b"event: ping\ndata: pong\n\n" + named(STOP), ["message_start", "message_stop"]),
        (named(START) + data(b"[DONE]", b"no JSON") + named(STOP), ["message_start", "message_stop"]),
        (named(START) + b"event: news\n\n" + named(STOP), ["message_start", "message_stop"]),
        (
            data(START, DELTA, STOP, field=b"event: any\ndata: "),
            ["message_start", "content_block_delta", "message_stop"],
        ),
    ],
)
async def test_what_anthropics_sdk_reads_is_read_to_its_end(stream: bytes, types: list[str]) -> None:
    async with answering(stream) as url:
        assert await with_anthropic(url) == types
    reader = read(Anthropic(), stream)
    assert (reader.is_complete, reader.failure) == (True, None)


@pytest.mark.parametrize("extra", [b"", b"id: 7\n", b"retry: 5\n"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_the_sdks_pass_over_a_ping_before_and_between_events(extra: bytes, end: bytes) -> None:
    """Whatever fields the events have beside their data: some readers keep an `id` and tell of it at each blank line."""
    events = [extra + data(document, end=end * 2) for document in (TEXT, LAST, DONE)]
    ping = OpenAI().ping
    async with answering(ping + ping + ping.join(events)) as url:
        assert await with_openai(url) == ["a", ""]
    events = [extra + named(document, end=end) for document in (START, DELTA, STOP)]
    ping = Anthropic().ping
    async with answering(ping + ping + ping.join(events)) as url:
        assert await with_anthropic(url) == ["message_start", "content_block_delta", "message_stop"]


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
def test_a_ping_says_nothing_to_us(dialect: Dialect) -> None:
    reader = read(dialect, dialect.ping * 2)
    assert (reader.has_content, reader.may_end, reader.failure) == (False, False, None)


async def test_the_sdks_raise_an_error_of_ours_within_a_stream() -> None:
    import anthropic  # noqa: PLC0415 - the same
    import openai  # noqa: PLC0415 - the same

    async with answering(data(TEXT) + OpenAI().stream_error(OURS)) as url:
        with pytest.raises(openai.APIError) as of_openai:
            await with_openai(url)
    assert (of_openai.value.code, of_openai.value.message) == (OURS.code, OURS.message)
    async with answering(named(START) + Anthropic().stream_error(OURS)) as url:
        with pytest.raises(anthropic.APIStatusError) as of_anthropic:
            await with_anthropic(url)
    assert of_anthropic.value.type == "timeout_error"


async def test_the_sdks_find_what_they_look_for_in_an_error_of_ours() -> None:
    import anthropic  # noqa: PLC0415 - the same
    import openai  # noqa: PLC0415 - the same

    how = {"status": "429 Too Many Requests", "kind": "application/json"}
    limited = ErrorBody(status=429, code="rate_limit_exceeded", message="m", details={}, request_id="tg-1")
    async with answering(OpenAI().error(limited), **how) as url:
        with pytest.raises(openai.RateLimitError) as of_openai:
            await with_openai(url)
    assert (of_openai.value.code, of_openai.value.type) == (limited.code, "rate_limit_error")
    async with answering(Anthropic().error(limited), **how) as url:
        with pytest.raises(anthropic.RateLimitError) as of_anthropic:
            await with_anthropic(url)
    assert of_anthropic.value.type == "rate_limit_error"


@pytest.mark.parametrize("case", list(Case))
def test_each_refusal_has_a_shape_in_each_dialect(case: Case) -> None:
    body = ErrorBody(
        status=case.status,
        code=case.code,
        message="m",
        details={"param": "model", "rule": "r"},
        request_id="tg-1",
    )
    error = json.loads(OpenAI().error(body))["error"]
    assert (error["code"], error["message"], error["param"]) == (case.code, "m", "model")
    assert error["tidegate"] == {"param": "model", "rule": "r", "request_id": "tg-1"}
    document = json.loads(Anthropic().error(body))
    assert (document["type"], document["request_id"]) == ("error", "tg-1")
    assert document["error"]["tidegate"] == {"code": case.code, "param": "model", "rule": "r"}
    for dialect in DEFAULT.all:
        reader = read(dialect, dialect.stream_error(body))
        assert reader.failure is not None
        assert not reader.may_end


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
def test_an_error_of_ours_can_be_written_whatever_it_quotes(dialect: Dialect) -> None:
    """Half of a surrogate pair is what a path that is not UTF-8 is read as."""
    body = ErrorBody(status=404, code="c", message="\udc80", details={"limit": 2**70}, request_id="tg-1")
    for written in (dialect.error(body), dialect.stream_error(body).rpartition(b"data: ")[2]):
        assert json.loads(written)["error"]["message"] == "\udc80"
