"""Streams that are written in odd ways: what an SDK reads from its provider, it reads through the sidecar, byte by byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import anthropic, config, pool, provider
from tidegate_testing.provider import (
    BLOCK_START,
    BLOCK_STOP,
    DONE,
    MESSAGE_DELTA,
    MESSAGE_END,
    MESSAGE_START,
    ProviderCall,
    delta,
    raw_provider,
    text_delta,
)
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import ask

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.telemetry.records import Ending, UsageState

CHUNK = b'{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}'
TEXT, LAST = CHUNK % (b"a", b"null"), CHUNK % (b"", b'"stop"')
USED = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'


def lines(*data: bytes, before: bytes = b"data: ", end: bytes = b"\n\n") -> bytes:
    return b"".join(before + it + end for it in data)


STREAMS = {
    "a line feed, then an empty line with both": lines(TEXT, LAST, USED, b"[DONE]", end=b"\n\r\n"),
    "both line ends": lines(TEXT, LAST, USED, b"[DONE]", end=b"\r\n\r\n"),
    "carriage returns": lines(TEXT, LAST, USED, b"[DONE]", end=b"\r\r"),
    "line ends in any mix": lines(TEXT, end=b"\r\n\n") + lines(LAST, end=b"\r\r\n") + lines(USED, b"[DONE]"),
    "two spaces behind the colon": lines(TEXT, LAST, USED, before=b"data:  ") + DONE,
    "no space behind the colon": lines(TEXT, LAST, USED, b"[DONE]", before=b"data:"),
    "spaces behind the data": lines(TEXT, LAST, USED, b"[DONE]", end=b" \n\n"),
    "a space behind the mark of the end": lines(TEXT, LAST, USED, b"[DONE] "),
    "words behind the mark of the end": lines(TEXT, LAST, USED, b"[DONE] bye"),
    "a byte order mark": b"\xef\xbb\xbf" + lines(TEXT, LAST, USED, b"[DONE]"),
    "another name of the event": lines(TEXT, LAST, USED, b"[DONE]", before=b"event: completion\ndata: "),
    "ids and times to wait": lines(TEXT, LAST, USED, b"[DONE]", before=b"id: 7\nretry: 5\ndata: "),
    "comments between all": b": hello\n\n".join([lines(it) for it in (TEXT, LAST, USED, b"[DONE]")]),
    "no blank line behind the mark of the end": lines(TEXT, LAST, USED) + b"data: [DONE]\n",
    "no line end behind the mark of the end": lines(TEXT, LAST, USED) + b"data: [DONE]",
    "no mark of the end": lines(TEXT, LAST, USED),
    "no blank line behind the last event": lines(TEXT, LAST) + b"data: " + USED + b"\n",
    "no line end behind the last event": lines(TEXT, LAST) + b"data: " + USED,
    "data of several lines": lines(TEXT.replace(b',"choices"', b',\ndata: "choices"'), LAST, USED, b"[DONE]"),
    "spaces in the JSON": lines(TEXT, LAST.replace(b'":', b'" : '), USED),
    "half a pair of surrogates": lines(CHUNK % (b"\\ud83d", b"null"), LAST, USED, b"[DONE]"),
    "an integer of 40 digits": lines(TEXT.replace(b'"c"', b"1" * 40), LAST, USED, b"[DONE]"),
    "a number that no double holds": lines(TEXT.replace(b'"c"', b"1e400"), LAST, USED, b"[DONE]"),
    "no number": lines(TEXT.replace(b'"c"', b"NaN"), LAST, USED, b"[DONE]"),
}
"""Each reports 7 and 2 tokens."""

Cut = Callable[[bytes], list[bytes]]


def by_event(stream: bytes) -> list[bytes]:
    return re.findall(rb".+?(?:\n\r\n|\r\n\r\n|\r\n\n|\r\r\n|\n\n|\r\r|\Z)", stream, re.DOTALL)


def by_byte(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


async def relayed(
    sidecar: Sidecar, calls: list[ProviderCall], stream: bytes, *, kind: str = "text/event-stream"
) -> None:
    """What reaches the application is `stream`, and what the record says is that it was served."""
    answer = await sidecar.chat(stream=True)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.body == stream
    record = sidecar.records.last
    assert (record.ending, record.reason) == (Ending.SERVED, "")
    assert (record.usage, record.input_tokens, record.output_tokens) == (UsageState.REPORTED, 7, 2)
    assert len(calls) == 1


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("cut", [lambda it: [it], by_event, by_byte], ids=["whole", "by event", "by byte"])
async def test_the_same_bytes_reach_the_application(name: str, cut: Cut) -> None:
    stream = STREAMS[name]

    async def answer(call: ProviderCall) -> None:
        await call.begin_stream()
        for piece in cut(stream):
            await call.event(piece)
        await call.end_stream()

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        await relayed(sidecar, raw.calls, stream)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream"])
async def test_events_are_events_whatever_the_answer_is_labelled(kind: str) -> None:
    stream = lines(TEXT, LAST, USED, b"[DONE]")

    async def answer(call: ProviderCall) -> None:
        await call.begin_stream(headers={"content-type": kind})
        await call.event(stream)
        await call.end_stream()

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        await relayed(sidecar, raw.calls, stream, kind=kind)


async def test_an_event_of_many_megabytes_is_passed_on() -> None:
    """A picture, for example."""
    picture = CHUNK % (b"A" * 12 * 2**20, b"null")
    stream = lines(TEXT, picture, LAST, USED, b"[DONE]")

    async def answer(call: ProviderCall) -> None:
        await call.begin_stream()
        for at in range(0, len(stream), 100_000):
            await call.event(stream[at : at + 100_000])
        await call.end_stream()

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        await relayed(sidecar, raw.calls, stream)


async def test_an_event_of_very_many_values_is_told_as_what_nobody_reads() -> None:
    values = CHUNK.replace(b'"c"', b"[" + b"[]," * 10**6 + b"0]") % (b"a", b"null")

    async def answer(call: ProviderCall) -> None:
        await call.begin_stream()
        await call.event(lines(values, LAST))
        await call.gone()

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        answered = await sidecar.chat(stream=True)
        assert answered.status == 502
        assert "an event of the stream has more than" in answered.text
        assert len(raw.calls) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {f"x-number-{number}": "v" * 100 for number in range(200)},
        {"content-security-policy": "a " * 15_000},
        {f"x-number-{number}": "v" * 1_000 for number in range(95)},
    ],
    ids=["many", "long", "as much as httpcore reads"],
)
async def test_headers_may_be_many_and_long(headers: dict[str, str]) -> None:
    async def answer(call: ProviderCall) -> None:
        await call.begin_stream(headers=headers)
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=True), head="connection: close\r\n")
        head, _, body = (await app.rest()).decode().partition("\r\n\r\n")
        assert body.endswith(DONE.decode())
        received = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        assert {name: received[name].strip() for name in headers} == {
            name: value.strip() for name, value in headers.items()
        }
        await sidecar.records.wait(1)


class TestAnEndThatIsNone:
    """Whoever takes half an answer for a whole one is told nothing by silence."""

    async def cut(self, stream: bytes, *, dialect: str = "openai") -> tuple[bytes, str]:
        """What the application gets, and the reason in the record."""

        async def answer(call: ProviderCall) -> None:
            await call.begin_stream()
            await call.event(stream)
            await call.end_stream()

        async with raw_provider(answer) as raw:
            made = provider("only", raw.url) if dialect == "openai" else anthropic("only", raw.url)
            async with running_sidecar(config(pool(made))) as sidecar:
                ask = sidecar.chat if dialect == "openai" else sidecar.messages
                body = (await ask(stream=True)).body
                record = sidecar.records.last
                assert (record.ending, record.code) == (Ending.FAILED, "provider_unreachable")
                assert [it.result for it in record.attempts] == ["Incomplete"]
                return body, record.reason

    async def test_one_of_two_choices_is_not_finished(self) -> None:
        second = b'{"choices":[{"index":1,"delta":{"content":"half a sen"},"finish_reason":null}]}'
        stream = lines(TEXT, LAST, second)
        body, _ = await self.cut(stream)
        assert body.startswith(stream + b'data: {"error":')

    @pytest.mark.parametrize("reason", [b"null", b'""'])
    async def test_no_reason_is_given_for_the_end(self, reason: bytes) -> None:
        body, why = await self.cut(lines(TEXT, CHUNK % (b"b", reason)))
        assert b'data: {"error":' in body
        assert why == "its stream ended without the last event"

    async def test_anthropics_last_event_is_missing(self) -> None:
        stream = MESSAGE_START + BLOCK_START + text_delta("a") + BLOCK_STOP + MESSAGE_DELTA
        body, _ = await self.cut(stream, dialect="anthropic")
        assert body.startswith(stream + b"event: error\n")

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
    async def test_the_error_is_an_event_of_its_own_behind_one_that_nothing_ended(self, end: bytes) -> None:
        body, _ = await self.cut(lines(TEXT) + b"data: " + CHUNK % (b"b", b"null") + end)
        *events, last = [it for it in re.split(rb"\r?\n\r?\n", body) if it]
        assert len(events) == 2
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["message"].startswith("The stream from the provider was cut")

    @pytest.mark.parametrize("half", [b'data: {"choices":[{"index":0,"del', b"dat", b"event: mess"])
    async def test_half_an_event_says_only_that_the_stream_was_cut(self, half: bytes) -> None:
        body, why = await self.cut(lines(TEXT) + half)
        assert why == "its stream ended without the last event"
        assert body.rpartition(b"\n\n")[0].rpartition(b"\n\n")[2].startswith(b'data: {"error":')


class TestAnErrorOfTheProvider:
    ERROR = b'data: {"error":{"code":"overloaded","message":"x"}}\n\n'

    async def told(self, *pieces: bytes) -> bytes:
        """What follows, in the application's eyes, a stream's beginning."""
        async with (
            raw_provider() as raw,
            running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask(stream=True), head="connection: close\r\n")
            call = await raw.next()
            await call.begin_stream()
            await call.event(lines(TEXT))
            await app.read_until(lines(TEXT))
            for piece in pieces:
                await call.event(piece)
            await call.end_stream()
            chunks = await app.rest()
            record = sidecar.records.last
            assert (record.ending, record.attempts[0].result) == (Ending.FAILED, "Overloaded")
            return b"".join(chunks.split(b"\r\n")[2:-3:2])

    @pytest.mark.parametrize("cut", [lambda it: [it], by_event], ids=["whole", "by event"])
    async def test_is_an_error_also_with_a_proper_end_behind_it(self, cut: Cut) -> None:
        stream = self.ERROR + lines(USED) + DONE
        assert await self.told(*cut(stream)) == stream

    async def test_is_ended_where_the_provider_did_not(self) -> None:
        """Without its blank line no SDK reads an event: the error would be missed, and half an answer be taken for a whole."""
        assert await self.told(self.ERROR.rstrip(b"\n")) == self.ERROR

    async def test_may_be_the_last_word_of_a_connection_that_stays_open(self) -> None:
        clock = FakeClock()
        async with (
            raw_provider() as raw,
            running_sidecar(config(pool(provider("only", raw.url))), clock=clock.clock) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(lines(TEXT))
            await app.read_until(lines(TEXT))
            await call.event(self.ERROR)
            await app.read_until(self.ERROR)
            clock.advance(ms=5_000)
            assert await app.read_until(b"0\r\n\r\n") == b"\r\n0\r\n\r\n"
            await call.gone()
            await sidecar.records.wait(1)
            assert sidecar.records.last.attempts[0].result == "Overloaded"


async def test_an_anthropic_stream_in_any_pieces_keeps_its_bytes() -> None:
    stream = (
        MESSAGE_START.replace(b"\n", b"\r\n")
        + b"event: ping\ndata: pong\n\n"
        + BLOCK_START
        + text_delta("a")
        + MESSAGE_END
    )

    async def answer(call: ProviderCall) -> None:
        await call.begin_stream()
        for piece in by_byte(stream):
            await call.event(piece)
        await call.end_stream()

    async with raw_provider(answer) as raw:
        served: CompiledConfig = config(pool(anthropic("only", raw.url)))
        async with running_sidecar(served) as sidecar:
            assert (await sidecar.messages(stream=True)).body == stream
            record = sidecar.records.last
            assert (record.ending, record.input_tokens, record.output_tokens) == (Ending.SERVED, 5, 2)
