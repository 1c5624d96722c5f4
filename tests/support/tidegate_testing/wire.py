"""HTTP/1.1 byte by byte, for what no client library would send or show."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self

DEADLINE_S = 15.0
"""How long a test waits for what must happen; only a failing test ever waits so long."""


class Connection:
    """The application's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, host: str, port: int, *, receive_buffer: int = 0) -> Self:
        """Connect; a small `receive_buffer` makes the kernel hold little of what is not read."""
        raw = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        raw.setblocking(False)  # noqa: FBT003 - the socket module has no other way
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(raw, (host, port))
        except OSError:
            raw.close()
            raise
        return cls(*await asyncio.open_connection(sock=raw, limit=receive_buffer or 2**20))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, body: Any, *, path: str = "/openai/v1/chat/completions", head: str = "") -> None:
        """A whole request; `head` holds further header lines."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{head}"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )

    async def read_until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read()

    def abort(self) -> None:
        """Hang up, without a word."""
        self.writer.transport.abort()


def ask(model: str = "gpt-test", **more: Any) -> dict[str, Any]:
    """The body of a call."""
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
