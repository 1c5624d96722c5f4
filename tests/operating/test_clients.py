"""Calls to the API server: none of one part waits for another's, each says who makes it, and an outage is told once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidegate_operator.cluster.client import FIELD_MANAGER, USER_AGENT, Access, Clients
from tidegate_operator.cluster.errors import UnreachableError

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: word}}}}]
"""


class ApiServer:
    """Answers each request with an empty object; what asks for /slow waits until it is closed."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.asked_slowly = asyncio.Event()
        self._end = asyncio.Event()
        self._connections: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                if head.startswith("GET /slow"):
                    self.asked_slowly.set()
                    await self._end.wait()
                length = next(
                    (
                        int(it.split(":")[1])
                        for it in head.splitlines()
                        if it.lower().startswith("content-length")
                    ),
                    0,
                )
                await reader.readexactly(length)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
                )
                await writer.drain()

    async def close(self) -> None:
        for writer in self._connections:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def end(self) -> None:
        self._end.set()


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[ApiServer, Clients]]:
    api = ApiServer()
    server = await asyncio.start_server(api.answer, "127.0.0.1", 0)
    config = folder / "config"
    config.write_text(KUBECONFIG.format(port=server.sockets[0].getsockname()[1]))
    clients = Clients(Access(str(config)), request_ms=5_000)
    try:
        yield api, clients
    finally:
        api.end()
        clients.close()
        await api.close()
        server.close()
        await server.wait_closed()


async def test_a_part_whose_calls_wait_holds_up_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as (api, clients):
        one, other = clients.make("one", at_once=1), clients.make("other", at_once=1)
        async with asyncio.TaskGroup() as calls:
            slow = calls.create_task(one.get("/slow"))
            await api.asked_slowly.wait()
            assert await other.get("/quick") == {}
            assert not slow.done()
            api.end()


async def test_every_call_says_who_makes_it_and_every_write_who_manages_its_fields(tmp_path: Path) -> None:
    async with serving(tmp_path) as (api, clients):
        client = clients.make("one", at_once=1)
        await client.get("/read")
        for method in ("POST", "PUT", "PATCH"):
            await client.request(method, "/written", body={})
    read, *written = api.heads
    assert "fieldManager" not in read
    assert all(f"fieldManager={FIELD_MANAGER} " in it for it in written)
    assert len(written) == 3
    assert all(f"user-agent: {USER_AGENT}" in it.lower() for it in api.heads)
    assert USER_AGENT.startswith("tidegate-operator/")


async def test_an_outage_is_told_once_however_many_clients_meet_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "config"
    config.write_text(KUBECONFIG.format(port=1))  # nobody listens there
    clients = Clients(Access(str(config)), request_ms=1_000)
    with caplog.at_level(logging.WARNING):
        for name in ("one", "other"):
            with pytest.raises(UnreachableError):
                await clients.make(name, at_once=1).get("/")
    clients.close()
    assert [it.name for it in caplog.records].count("tidegate_operator.cluster.client") == 1
