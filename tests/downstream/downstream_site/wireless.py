"""A connection without a socket: pieces arrive exactly as a test cuts them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from tidegate_testing.tasks import until

from downstream_site.serving import Site, echo
from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.server import AppServer


class Transport(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._is_closing = False
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closing
        self.written += bytes(data)

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close


class Heard:
    """What a server made of some bytes."""

    def __init__(self, site: Site, written: bytes) -> None:
        self.requests = [
            (request.method, request.target, [(name.lower(), value) for name, value in request.headers])
            for request in site.requests
        ]
        self.faults = site.faults
        self.written = written


def hear(pieces: Iterable[bytes], *, ends: bool = True) -> Heard:
    """Let a server read `pieces`, and then the end of the connection; with `ends` False it is closed by the server."""

    async def listen() -> Heard:
        site = Site(echo)
        site.server = AppServer(site.handle, on_fault=site.on_fault, now_ns=site.now_ns)
        connection = AppConnection(site.server)
        transport = Transport(connection)
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            for _ in range(40):
                await asyncio.sleep(0)
        if ends:
            connection.eof_received()
        transport.close()
        await until(lambda: not site.server.connections)
        return Heard(site, transport.written)

    return asyncio.run(listen())


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data`, cut at `places`."""
    at = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(at) if start < end]
