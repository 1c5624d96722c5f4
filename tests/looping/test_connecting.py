"""The event loop treats connections that die young as their caller would: no descriptor twice, no word to nobody."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import select
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tidegate_runtime import loop

TURNS = 5
"""Turns of the loop in which a connection is made, so that all its moments are met."""


def reset_by_its_peer() -> socket.socket:
    """Connected, and the reset has arrived: the next write fails."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=5)
        peer, _ = server.accept()
    reset(peer)
    assert select.select([client], [], [], 5)[0]
    return client


def ended(peer: socket.socket) -> None:
    """By a FIN, and somebody still reads there."""
    peer.shutdown(socket.SHUT_WR)


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


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


@pytest.mark.parametrize("end", [ended, reset])
def test_a_handshake_that_ends_as_its_caller_is_cancelled_is_told_to_nobody(
    end: Callable[[socket.socket], None],
) -> None:
    """The caller has its CancelledError or its ConnectionResetError; a traceback in the log would be about neither."""

    async def scenario() -> None:
        here = asyncio.get_running_loop()
        told: list[dict[str, Any]] = []
        here.set_exception_handler(lambda _, context: told.append(context))
        outcomes = set()
        options = {"ssl": ssl.create_default_context(), "server_hostname": "provider.test"}
        with socket.create_server(("127.0.0.1", 0)) as server:
            for before, after in itertools.product(range(1, TURNS), range(TURNS)):
                given = socket.create_connection(server.getsockname(), timeout=5)
                peer, _ = server.accept()
                with peer:
                    connecting = here.create_task(connect(given, **options))
                    for _ in range(before):
                        await asyncio.sleep(0)
                    end(peer)
                    for _ in range(after):
                        await asyncio.sleep(0)
                    connecting.cancel()
                    (outcome,) = await asyncio.gather(connecting, return_exceptions=True)
                    outcomes.add(type(outcome))
                del connecting, outcome
                gc.collect()
        assert outcomes == {asyncio.CancelledError, ConnectionResetError}, (
            "not all moments of a connection were met"
        )
        assert told == []

    loop.run(scenario())


@pytest.mark.parametrize("error", [ValueError("of ours"), OSError("of the disk")])
def test_any_other_error_that_nobody_has_asked_for_is_told(error: Exception) -> None:
    async def scenario() -> None:
        here = asyncio.get_running_loop()
        told: list[Any] = []
        here.set_exception_handler(lambda _, context: told.append(context["exception"]))
        here.create_future().set_exception(error)
        gc.collect()
        assert told == [error]

    loop.run(scenario())


def test_a_lost_connection_that_ends_a_task_is_told() -> None:
    async def scenario() -> None:
        here = asyncio.get_running_loop()
        told: list[Any] = []
        here.set_exception_handler(lambda _, context: told.append(context["exception"]))

        async def work() -> None:
            raise ConnectionResetError

        task = here.create_task(work())
        await asyncio.wait([task])
        del task
        gc.collect()
        assert [type(error) for error in told] == [ConnectionResetError]

    loop.run(scenario())
