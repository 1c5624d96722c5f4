"""Connections are taken in turn, and who says nothing, speaks no TLS or hangs up keeps nobody else out."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
import uvloop
from tidegate_testing import configs
from tidegate_testing.publisher import (
    CHAT,
    Cluster,
    Poller,
    Publisher,
    a_pod,
    edition,
    first_bundle,
    running_publisher,
)

from tidegate_operator.certificates.loading import load
from tidegate_operator.publish.accepting import Acceptor, Shares
from tidegate_operator.publish.tls import serving_context, trusting_context

FIRST = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SECOND = configs.config(configs.pool(configs.provider("two", "http://two.test")))


async def test_what_is_no_tls_is_closed_and_others_are_served(
    publisher: Publisher, poller: Poller, token: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    port = int(publisher.url.rpartition(":")[2])
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01garbage", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        if not said:
            writer.close()
        async with asyncio.timeout(30):
            while await reader.read(1_000):
                pass
        writer.close()
        await writer.wait_closed()
    assert (await poller.poll(token)).status == 200


class Turns:
    """An acceptor for two handshakes at once, with clients that say nothing."""

    def __init__(self, **shares: Any) -> None:
        bundle = first_bundle()
        self.tls = trusting_context(bundle.trust)
        context = serving_context()
        load(context, bundle.leaf.certificate_pem, bundle.leaf.key_pem)
        self.refused = 0
        self.acceptor = Acceptor(
            asyncio.Protocol, context, Shares(**{"handshakes": 2, **shares}), on_refused=self._refused
        )
        self.host, self.port = self.acceptor.listen("127.0.0.1", 0)

    def _refused(self) -> None:
        self.refused += 1

    def silent(self, address: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((self.host, self.port), source_address=(address, 0))

    async def connect(self) -> None:
        _, writer = await asyncio.open_connection(
            self.host, self.port, ssl=self.tls, server_hostname="localhost"
        )
        writer.close()
        await writer.wait_closed()


async def test_silent_clients_take_no_turn() -> None:
    """Three hundred of them, and two turns: the one that speaks is served at once."""
    turns = Turns(first_byte_s=600)
    silent = [turns.silent() for _ in range(300)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(turns.acceptor.run())
        await turns.connect()
        turns.acceptor.close()
    for client in silent:
        client.close()


async def test_silent_clients_are_closed_after_a_while() -> None:
    turns = Turns(first_byte_s=0.05)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(turns.acceptor.run())
        reader, writer = await asyncio.open_connection(turns.host, turns.port)
        assert await reader.read() == b""
        writer.close()
        turns.acceptor.close()


async def test_clients_that_begin_a_handshake_and_stop_lose_their_turn() -> None:
    turns = Turns(handshake_s=1)
    stopped = [turns.silent() for _ in range(4)]
    for client in stopped:
        client.sendall(b"\x16\x03\x01")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(turns.acceptor.run())
        await turns.connect()
        turns.acceptor.close()
    for client in stopped:
        client.close()


async def test_an_address_has_no_more_connections_than_its_share_and_others_have_theirs() -> None:
    turns = Turns(per_address=3, first_byte_s=600)
    greedy = [turns.silent("127.0.0.2") for _ in range(5)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(turns.acceptor.run())
        for _ in range(5):
            await turns.connect()  # one after the other: what is closed counts no more
        assert turns.refused == 2
        turns.acceptor.close()
    for client in greedy:
        client.close()


async def test_where_too_many_are_silent_the_address_with_the_most_makes_room() -> None:
    turns = Turns(silent=4, first_byte_s=600)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(turns.acceptor.run())
        readers = [
            await asyncio.open_connection(turns.host, turns.port, local_addr=(address, 0))
            for address in ("127.0.0.3", *["127.0.0.2"] * 5)
        ]
        assert await readers[1][0].read() == b""
        assert await readers[2][0].read() == b""
        assert not readers[0][0].at_eof()
        assert not readers[5][0].at_eof()
        await turns.connect()
        turns.acceptor.close()
        for _, writer in readers:
            writer.close()


async def test_nobody_is_served_after_the_end() -> None:
    turns = Turns(handshake_s=5)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(turns.acceptor.run())
        await turns.connect()
        turns.acceptor.close()
        await task
        with pytest.raises(ConnectionRefusedError):
            turns.silent()


async def test_a_system_without_descriptors_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tidegate_operator.publish.accepting._PAUSE_S", 0)
    turns = Turns(handshake_s=5)
    listening = turns.acceptor._socket
    assert listening is not None
    errors = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "gone")]

    class Short:
        """A listening socket of a system that is short of something."""

        def __init__(self, listening: socket.socket) -> None:
            self._listening = listening

        def accept(self) -> object:
            if errors:
                raise errors.pop(0)
            return self._listening.accept()

        def __getattr__(self, name: str) -> object:
            return getattr(self._listening, name)

    turns.acceptor._socket = Short(listening)  # type: ignore[assignment] # it acts like one
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(turns.acceptor.run())
        await turns.connect()
        turns.acceptor.close()
    assert "no connection can be accepted: Too many open files" in caplog.text


LARGE = configs.config(
    configs.pool(*(configs.provider(f"p{n}", f"http://{'x' * 2_000}.test") for n in range(5_000)))
)
"""Ten megabytes: more than the system takes for a client that does not read."""


@pytest.mark.parametrize("client", ["hangs up", "takes nothing"])
async def test_a_sidecar_that_does_not_take_its_answer_holds_nothing(
    publisher: Publisher,
    token: str,
    client: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tidegate_operator.publish.server.SEND_S", 20 if client == "hangs up" else 0.1)
    publisher.board.publish(edition((CHAT, LARGE)))
    port = int(publisher.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        port,
        ssl=trusting_context(publisher.bundle.trust),
        server_hostname="localhost",
        limit=1_000,
    )
    request = f"GET /v1/config HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    writer.write(f"{request}x-tidegate-schema-versions: 1\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert publisher.observer.open == 1
    if client == "hangs up":
        writer.transport.abort()
    await publisher.observer.until(lambda it: it.open == 0)
    writer.transport.abort()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_port_that_is_taken_is_an_error(publisher: Publisher) -> None:
    port = int(publisher.url.rpartition(":")[2])
    acceptor = Acceptor(asyncio.Protocol, serving_context())
    with pytest.raises(OSError, match="in use"):
        acceptor.listen("127.0.0.1", port)


def test_the_loop_that_production_uses_serves_the_same() -> None:
    """uvloop has a TLS of its own: waiting, waking, a new certificate and the end work there as well."""

    async def scenario() -> None:
        cluster = Cluster(a_pod())
        token = cluster.token(a_pod())
        async with running_publisher(cluster) as publisher, Poller(publisher) as poller:
            large = configs.config(
                configs.pool(*(configs.provider(f"p{n}", f"http://{'x' * 2_000}.test") for n in range(100)))
            )
            publisher.board.publish(edition((CHAT, large)))
            first = await poller.poll(token)
            assert first.envelope.config == large
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(poller.poll(token, wait_s=30, if_none_match=first.tag))
                await publisher.until_idle(1)
                publisher.use(first_bundle())
                assert (await waiting).envelope.trust == publisher.bundle.trust
                waiting = tasks.create_task(poller.poll(token, wait_s=30, if_none_match=waiting.result().tag))
                await publisher.until_idle(1)
                async with Poller(publisher) as informed:
                    assert (await informed.poll(token)).status == 200
                publisher.board.publish(edition((CHAT, SECOND)))
                assert (await waiting).envelope.config == SECOND
                waiting = tasks.create_task(poller.poll(token, wait_s=30, if_none_match=waiting.result().tag))
                await publisher.until_idle(1)
                await publisher.server.stop(5)
            assert waiting.result().code == "stopping"

    uvloop.run(scenario())
