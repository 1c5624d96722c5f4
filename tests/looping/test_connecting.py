"""The event loop never leaves a socket object with a descriptor that it has closed."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import struct
from typing import Any

import pytest

from tidegate_runtime import loop


def reset_by_its_peer() -> socket.socket:
    """Connected, and the reset has arrived: the next write fails."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=5)
        peer, _ = server.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    assert select.select([client], [], [], 5)[0]
    return client


async def connect(given: socket.socket, **options: Any) -> None:
    await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=given, **options)


def test_a_connection_that_dies_before_tls_begins_takes_no_other_with_it() -> None:
    """The number of its descriptor belongs to whoever opens the next one."""

    async def scenario() -> None:
        given = reset_by_its_peer()
        number = given.fileno()
        with pytest.raises(ConnectionResetError):
            await connect(given, ssl=ssl.create_default_context(), server_hostname="provider.test")
        await asyncio.sleep(0)
        reader, writer = os.pipe()
        try:
            assert number in {reader, writer}, "the descriptor is still open"
            del given
            os.write(writer, b"whole")
            assert os.read(reader, 5) == b"whole"
        finally:
            os.close(reader)
            os.close(writer)

    loop.run(scenario())


def test_a_cancelled_connection_gives_its_socket_back_to_nobody() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            given = socket.create_connection(server.getsockname(), timeout=5)
            connecting = asyncio.get_running_loop().create_task(
                connect(given, ssl=ssl.create_default_context(), server_hostname="provider.test")
            )
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            assert given.fileno() == -1

    loop.run(scenario())


def test_a_connection_that_stands_keeps_its_socket() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            given = socket.create_connection(server.getsockname(), timeout=5)
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=given)
            peer, _ = server.accept()
            with peer:
                transport.write(b"hello")
                assert await asyncio.to_thread(peer.recv, 5) == b"hello"
                transport.close()
                assert await asyncio.to_thread(peer.recv, 1) == b""
            assert given.fileno() == -1

    loop.run(scenario())
