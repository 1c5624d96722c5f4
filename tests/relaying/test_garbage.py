"""Answers that are none: a clear error, a record, no word in the log, and the next call is served."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from tidegate_testing.configs import RETRY, config, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_sidecar.telemetry.records import Ending

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

ANSWERS = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-ty",
    "a bad length": HEAD + b"content-length: abc\r\n\r\n{}",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "less than its length": HEAD + b"content-length: 100\r\n\r\n{}",
    "a bad chunk": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "no last chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "endless headers": HEAD + b"x-a: " + b"y" * 100_000 + b"\r\n\r\n",
    "broken gzip": HEAD + b"content-encoding: gzip\r\ncontent-length: 7\r\n\r\nnotgzip",
    "brotli": HEAD + b"content-encoding: br\r\ncontent-length: 7\r\n\r\nnotbrot",
    "no JSON": HEAD + b"content-length: 6\r\n\r\n<html>",
    "half of JSON": HEAD + b"content-length: 5\r\n\r\n{'a':",
    "no object": HEAD + b"content-length: 4\r\n\r\nnull",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a page": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    "an upgrade": b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_is_told_as_the_providers_fault(caplog: pytest.LogCaptureFixture, name: str) -> None:
    async def answer(call: ProviderCall) -> None:
        await call.send(ANSWERS[name])
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
        assert "only: it" in answered.text
        record = sidecar.records.last
        assert (record.ending, record.status, len(record.attempts)) == (Ending.FAILED, 502, 1)
        assert record.attempts[0].result in {"Garbage", "ConnectFailure"}
        raw.script = well
        assert (await sidecar.chat()).status == 200
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []
