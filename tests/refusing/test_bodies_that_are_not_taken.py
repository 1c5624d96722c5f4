"""A refusal that is sent before a body has come says that the connection ends, for nobody knows what would come next on it.

A client that waited to be invited (`Expect: 100-continue`) may leave its body out, and its next request would be read as
that body. RFC 9110, section 10.1.1.
"""

from __future__ import annotations

import pytest
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.provider import raw_provider
from tidegate_testing.scripts import serving
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

INVITED = "expect: 100-continue\r\n"
CONFIG = config(pool(provider("only", "http://127.0.0.1:1/v1")))
CHAT = "/openai/v1/chat/completions"


def head(more: str = "", *, path: str = CHAT, length: int = 9_999) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("expect", [INVITED, ""])
@pytest.mark.parametrize(
    ("status", "path", "more"),
    [(413, CHAT, ""), (404, "/nothing", ""), (403, CHAT, "origin: https://example.org\r\n")],
)
async def test_who_has_not_sent_it_is_told_that_the_connection_ends(
    status: int, path: str, more: str, expect: str
) -> None:
    async with running_sidecar(CONFIG, max_body_bytes=1_024) as sidecar, await sidecar.connect() as app:
        await app.send(head(more + expect, path=path))
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nconnection: close\r\n" in answer
        assert [record.status for record in await sidecar.records.wait(1)] == [status]


async def test_what_is_sent_in_place_of_the_body_is_no_request() -> None:
    async with running_sidecar(CONFIG, max_body_bytes=1_024) as sidecar, await sidecar.connect() as app:
        await app.send(head(INVITED))
        await app.read_until(b"\r\n\r\n")
        await app.post(ask("gpt-9"))
        assert b"HTTP/1.1" not in await app.rest()
        assert [record.status for record in sidecar.records.all] == [413]


async def test_a_body_that_did_not_come_in_time_ends_its_connection() -> None:
    async with running_sidecar(CONFIG, body_read_ms=100) as sidecar, await sidecar.connect() as app:
        await app.send(head() + b"{")
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("size", [500_000, 8 * 2**20])
async def test_who_sends_it_all_the_same_can_read_the_refusal(size: int) -> None:
    """Closed at once, or no more read, the connection would be reset or stand still, and the answer would not be seen."""
    async with running_sidecar(CONFIG, max_body_bytes=1_024) as sidecar, await sidecar.connect() as app:
        await app.send(head(length=size) + b"x" * size)
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in answer


async def test_a_body_of_unknown_length_that_is_too_large_ends_its_connection() -> None:
    async with running_sidecar(CONFIG, max_body_bytes=300_000) as sidecar, await sidecar.connect() as app:
        await app.send(
            f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(20):
            await app.send(b"10000\r\n" + b"x" * 2**16 + b"\r\n")
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in answer


async def test_a_body_that_has_come_leaves_its_connection_open() -> None:
    async with (
        raw_provider(serving) as real,
        running_sidecar(config(pool(provider("only", real.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(), path="/nothing")
        refusal = await app.read_until(b"}}")
        assert refusal.startswith(b"HTTP/1.1 404 ")
        assert b"connection: close" not in refusal
        await app.post(ask())
        assert b"HTTP/1.1 200 " in await app.read_until(b"\r\n")
        await sidecar.records.wait(2)
