"""A large answer is understood in many turns of the event loop: other calls go on meanwhile."""

from __future__ import annotations

import pytest
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.provider import ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.tasks import until

from tidegate_sidecar.messages.json_slices import SLICE_BYTES
from tidegate_sidecar.telemetry.records import Ending, UsageState

USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":1}'
LOGPROBS = b",".join([b'{"token":"a","logprob":-0.5,"top_logprobs":[]}'] * 100_000)
WHOLE = b'{"id":"c","choices":[{"message":{"content":"hi"},"logprobs":[' + LOGPROBS + b"]}]," + USAGE + b"}"


async def test_others_have_their_turn_while_it_is_read() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post({"model": "gpt-test", "messages": []})
        call = await raw.next()
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(WHOLE) + WHOLE[:-1])
        held = sidecar.listening.held
        await until(lambda: held.count >= len(WHOLE) - 1)
        (under_way,) = sidecar.listening.in_flight._calls
        turns = 0

        def is_answered() -> bool:
            nonlocal turns
            turns += 1
            return bool(under_way.delivery.status)

        await call.send(WHOLE[-1:])
        await until(is_answered)
        assert turns > len(WHOLE) // SLICE_BYTES
        head = await app.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await app.reader.readexactly(len(WHOLE)) == WHOLE
        (record,) = await sidecar.records.wait(1)
        assert (record.ending, record.usage, record.input_tokens) == (Ending.SERVED, UsageState.REPORTED, 3)
        call.close()


@pytest.mark.parametrize("body", [WHOLE[:-1], b"[" + LOGPROBS + b"]"], ids=["cut", "an array"])
async def test_what_no_sdk_can_read_is_told_as_ever(body: bytes) -> None:
    async def answer(call: ProviderCall) -> None:
        await call.answer(body)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        answered = await sidecar.chat()
        assert (answered.status, answered.code) == (502, "provider_unreachable")
        assert f"{len(body)} bytes labelled 'application/json'" in answered.text
        assert len(raw.calls) == 1
