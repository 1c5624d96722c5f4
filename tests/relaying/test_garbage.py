"""Answers that are none: a clear error, a record, no word in the log, and the next call is served."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tidegate_testing.configs import RETRY, config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_sidecar.telemetry.records import Ending

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def whole(body: bytes, *lines: bytes) -> bytes:
    lines = lines or (b"content-type: application/json",)
    return b"HTTP/1.1 200 OK\r\n%b\r\ncontent-length: %d\r\n\r\n%b" % (b"\r\n".join(lines), len(body), body)


ANSWERS = {
    "nothing": (b"", "Closed"),
    "no HTTP": (b"hello\r\n\r\n", "Garbage"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01", "Garbage"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-ty", "Incomplete"),
    "a bad length": (HEAD + b"content-length: abc\r\n\r\n{}", "Garbage"),
    "two lengths": (HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", "Garbage"),
    "less than its length": (HEAD + b"content-length: 100\r\n\r\n{}", "Incomplete"),
    "a bad chunk": (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "Unreadable"),
    "no last chunk": (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "Incomplete"),
    "endless headers": (HEAD + b"x-a: " + b"y" * 200_000, "Garbage"),
    "broken gzip": (whole(b"notgzip", b"content-encoding: gzip"), "Unreadable"),
    "half of gzip": (whole(gzip.compress(b"{}")[:-4], b"content-encoding: gzip"), "Unreadable"),
    "broken brotli": (whole(b"notbrot", b"content-encoding: br"), "Unreadable"),
    "no JSON": (whole(b"<html>"), "Unreadable"),
    "half of JSON": (whole(b"{'a':"), "Unreadable"),
    "no object": (whole(b"null"), "Unreadable"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "Unreadable"),
    "a page": (whole(b"<html>", b"content-type: text/html"), "Unreadable"),
    "an upgrade": (
        b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "Garbage",
    ),
}
"""What a provider sends, and the word for it in the record."""


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [entry for entry in caplog.get_records("call") if entry.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("name", ANSWERS)
async def test_is_told_as_the_providers_fault(name: str) -> None:
    said, result = ANSWERS[name]

    async def answer(call: ProviderCall) -> None:
        await call.send(said)
        call.close()

    async def well(call: ProviderCall) -> None:
        await call.answer(COMPLETION)

    once = replace(RETRY, max_attempts=1)
    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url), retry=once))) as sidecar,
    ):
        answered = await sidecar.chat()
        assert (answered.status, answered.code) == (502, "provider_unreachable")
        assert "1 attempt; only: " in answered.text
        record = sidecar.records.last
        assert (record.ending, record.status, len(record.attempts)) == (Ending.FAILED, 502, 1)
        assert (record.attempts[0].result, record.attempts[0].sent) == (result, True)
        raw.script = well
        assert (await sidecar.chat()).status == 200


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"])
async def test_what_is_no_http_may_be_asked_for_elsewhere(said: bytes) -> None:
    """It is most likely something on the way that speaks, and nobody knows what the provider made of the call."""

    async def answer(call: ProviderCall) -> None:
        if len(raw.calls) == 1:
            await call.send(said)
            call.close()
        else:
            await call.answer(COMPLETION)

    async with raw_provider(answer) as raw:
        two = config(pool(provider("first", raw.url), provider("second", raw.url, priority=1)))
        async with running_sidecar(two) as sidecar:
            assert (await sidecar.chat()).status == 200
            assert [it.result for it in sidecar.records.last.attempts] == ["Garbage", "ok"]


PAGE = b"<html><body>Welcome to nginx!</body></html>"
TEXT = "text/event-stream"

UNREADABLE = {
    "a page": (False, PAGE, "text/html", {}, "43 bytes labelled 'text/html'"),
    "a page where a stream was expected": (True, PAGE, "text/html", {}, "43 bytes labelled 'text/html'"),
    "plain text": (True, b"upstream connect error", "text/plain", {}, "22 bytes labelled 'text/plain'"),
    "text labelled as events": (True, b"no healthy upstream", TEXT, {}, f"19 bytes labelled '{TEXT}'"),
    "a document where a stream was expected": (True, b"{}", "application/json", {}, "a stream of events"),
    "a stream where a document was expected": (False, delta("a") + DONE, TEXT, {}, f"labelled '{TEXT}'"),
    "a compressed page": (
        False,
        gzip.compress(PAGE),
        "text/html",
        {"content-encoding": "gzip"},
        "43 bytes labelled 'text/html' in gzip",
    ),
    "events that are no JSON": (True, b"data: hello\n\n", TEXT, {}, "an event of 5 bytes that is text"),
    "an event of numbers": (True, b"data: 17\n\n", TEXT, {}, "an event of 2 bytes that is a JSON number"),
    "compressed data within an event": (True, b"data: \x1f\x8b\x08\n\n", TEXT, {}, "that is gzip"),
    "another encoding than it says": (True, PAGE, TEXT, {"content-encoding": "gzip"}, "encoding 'gzip'"),
}
"""Whether a stream was asked for; the answer's body, type and headers; what is said of it."""


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_is_named_and_asked_for_once(name: str) -> None:
    """The caller has been charged for it; a second one costs as much and is no better."""
    streaming, body, kind, headers, words = UNREADABLE[name]

    async def answer(call: ProviderCall) -> None:
        await call.answer(body, content_type=kind, headers=headers)

    async with raw_provider(answer) as raw:
        two = config(pool(provider("first", raw.url), provider("second", raw.url, priority=1)))
        async with running_sidecar(two) as sidecar:
            answered = await sidecar.chat(stream=streaming)
            assert (answered.status, answered.code) == (502, "provider_unreachable")
            assert answered.headers["x-should-retry"] == "false"
            assert words in answered.json["error"]["message"]
            assert "nginx" not in answered.text, "what came may hold anything, and is quoted nowhere"
            assert [it.result for it in sidecar.records.last.attempts] == ["Unreadable"]
        assert len(raw.calls) == 1


async def test_it_does_not_matter_how_the_network_cuts_a_good_beginning_from_garbage() -> None:
    """Found in one read with the head of a 200, a bad chunk is no less a part of an answer that was paid for."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(delta("a")), delta("a"))

    async def at_once(call: ProviderCall) -> None:
        await call.send(head + chunk + b"zz\r\n")
        await call.gone()

    async def in_two(call: ProviderCall) -> None:
        await call.send(head + chunk)
        await seen.get()
        await call.send(b"zz\r\n")
        await call.gone()

    seen: asyncio.Queue[None] = asyncio.Queue()
    answers = []
    for script in (at_once, in_two):
        async with (
            raw_provider(script) as raw,
            running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask(stream=True))
            await app.read_until(delta("a"))
            seen.put_nowait(None)
            answers.append((await app.read_until(b"\r\n0\r\n\r\n")).replace(b"tg-", b"")[:120])
            await sidecar.records.wait(1)
            assert [it.result for it in sidecar.records.last.attempts] == ["Unreadable"]
    assert answers[0] == answers[1]
