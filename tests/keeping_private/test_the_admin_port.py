"""The admin port is for probes, scrapes and people: it tells no web page anything, and no log what it could not read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import Connection

PATHS = ("/config", "/metrics", "/healthz", "/readyz")


@pytest.fixture
async def sidecar() -> AsyncIterator[Sidecar]:
    async with running_sidecar(config(pool(provider("only", "http://127.0.0.1:1/v1")))) as running:
        yield running


async def said(sidecar: Sidecar, data: str) -> bytes:
    address = sidecar.listening.admin[0]
    async with await Connection.open(address.host, address.port) as client:
        await client.send(data.encode())
        return await client.rest()


def get(path: str, *lines: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "connection: close", "", ""])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "lines",
    [
        ("host: example.org:19290",),
        ("host: localhost", "sec-fetch-site: cross-site"),
        ("host: 127.0.0.1", "origin: https://example.org"),
        ("host: 127.0.0.1", "origin: null"),
    ],
    ids=["a name that leads here", "another site", "another origin", "a page of nowhere"],
)
async def test_a_web_page_is_told_nothing(sidecar: Sidecar, path: str, lines: tuple[str, ...]) -> None:
    answer = await said(sidecar, get(path, *lines))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"digest" not in answer


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["localhost:19290", "127.0.0.1", "[::1]:19290"])
async def test_a_person_is_told_all(sidecar: Sidecar, path: str, host: str) -> None:
    assert (await said(sidecar, get(path, f"host: {host}"))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", PATHS)
async def test_who_knows_the_pods_address_may_probe_and_scrape(sidecar: Sidecar, path: str) -> None:
    """A mesh hands on what is for the pod's address from an address of loopback."""
    answer = await said(sidecar, get(path, "host: 10.1.2.3:19290"))
    assert answer.startswith(b"HTTP/1.1 403 " if path == "/config" else b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "data",
    [
        get("/config", "host: localhost", "authorization: Bearer SECRET\x01"),
        get("/config?key=SECRET\x01", "host: localhost"),
        "SECRET\r\n\r\n",
        get("/config", "host: localhost", "SECRET"),
    ],
)
async def test_what_cannot_be_read_is_neither_logged_nor_repeated(
    sidecar: Sidecar, data: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await said(sidecar, data)
    assert b" 400 " in answer[:15]
    assert b"SECRET" not in answer
    assert "SECRET" not in caplog.text
