"""A large body is read in many turns of the event loop: other calls go on meanwhile."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from tidegate_testing.configs import config, model, pool, provider
from tidegate_testing.provider import COMPLETION, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.tasks import until

from tidegate_sidecar.messages.encodings import STEP_BYTES
from tidegate_sidecar.messages.json_slices import SLICE_BYTES

SIZE = 31 * 2**20
MODELS = (model("gpt-test", "gpt-test", "small"),)

SMALL_MESSAGE = '{"role":"user","content":"hello w\u00f6rld"}'.encode()

MESSAGES = {
    "an image in base64": b'[{"role":"user","content":"' + b"QUJD" * (SIZE // 4) + b'"}]',
    "many messages": b"[" + b",".join([SMALL_MESSAGE] * 200_000) + b"]",
}


def asking_for(name: str, messages: bytes) -> bytes:
    return b'{"model":"%b","messages":%b}' % (name.encode(), messages)


def head(length: int, more: str = "") -> bytes:
    return f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {length}\r\n\r\n".encode()


def the_call(sidecar: Sidecar) -> Any:
    """The one in flight."""
    (call,) = sidecar.listening.in_flight._calls
    return call


async def turns_until(holds: Callable[[], object]) -> int:
    """Turns of the loop that pass until something holds."""
    turns = 0

    def held() -> object:
        nonlocal turns
        turns += 1
        return holds()

    await until(held)
    return turns


@pytest.mark.parametrize("asked_for", ["gpt-test", "small"], ids=["as it came", "renamed"])
@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES)
async def test_others_have_their_turn_while_it_is_read(messages: bytes, asked_for: str) -> None:
    body = asking_for(asked_for, messages)
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url, models=MODELS)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.send(head(len(body)) + body[:-1])
        await sidecar.busy()
        call = the_call(sidecar)
        await until(lambda: call.request.content.total_bytes == len(body) - 1)
        app.writer.write(body[-1:])
        assert await turns_until(lambda: call.record.attempts) > len(body) // SLICE_BYTES
        sent = await raw.next()
        assert sent.body == asking_for("gpt-test", messages)
        await sent.answer(COMPLETION)
        assert b" 200 " in await app.read_until(b"\r\n")
        await sidecar.records.wait(1)


async def test_others_have_their_turn_while_it_is_unpacked() -> None:
    packed = gzip.compress(b"x" * SIZE)
    assert len(packed) < 2**16
    async with (
        running_sidecar(config(pool(provider("only", "http://127.0.0.1:1/v1")))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.send(head(len(packed), "content-encoding: gzip\r\n") + packed)
        assert await turns_until(lambda: sidecar.records.all) > SIZE // STEP_BYTES
        assert b" 400 " in await app.read_until(b"\r\n")


async def test_a_call_that_comes_meanwhile_is_answered_meanwhile() -> None:
    body = asking_for("nobody's", MESSAGES["many messages"])
    async with (
        running_sidecar(config(pool(provider("only", "http://127.0.0.1:1/v1")))) as sidecar,
        await sidecar.connect() as large,
    ):
        await large.send(head(len(body)) + body[:-1])
        await sidecar.busy()
        call = the_call(sidecar)
        await until(lambda: call.request.content.total_bytes == len(body) - 1)
        large.writer.write(body[-1:])
        await asyncio.sleep(0)
        small = await sidecar.send(b"{}", path="/x")
        assert small.status == 404
        assert [record.status for record in sidecar.records.all] == [404]
        assert b" 404 " in await large.read_until(b"\r\n")
        await sidecar.records.wait(2)
