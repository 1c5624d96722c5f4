"""A provider of which a test writes every byte itself."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from tidegate_testing.wire import DEADLINE_S

COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-test",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


def delta(text: str, finish_reason: str | None = None) -> bytes:
    """One event of OpenAI's dialect."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def named(kind: str, **members: Any) -> bytes:
    """One event of Anthropic's dialect."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


MESSAGE_START = named(
    "message_start",
    message={
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "usage": {"input_tokens": 5, "output_tokens": 1},
    },
)
BLOCK_START = named("content_block_start", index=0, content_block={"type": "text", "text": ""})
BLOCK_STOP = named("content_block_stop", index=0)
MESSAGE_DELTA = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
MESSAGE_STOP = named("message_stop")
MESSAGE_END = BLOCK_STOP + MESSAGE_DELTA + MESSAGE_STOP


def text_delta(text: str) -> bytes:
    """A piece of text in Anthropic's dialect."""
    return named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


class ProviderCall:
    """A request that arrived, and the connection on which to answer it."""

    def __init__(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int = 1
    ) -> None:
        """What follows `head` comes from `reader`; it is the `nth` call of its connection."""
        request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        self.method, self.target, _ = request_line.split(" ")
        self.header_list = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        ]
        self.headers = dict(self.header_list)
        self.body = b""
        self.nth = nth
        self._reader = reader
        self._writer = writer
        self._over = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether its connection is open and nothing has been answered."""
        return not (self._over.is_set() or self._writer.is_closing())

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(
        self,
        body: bytes | dict[str, Any] = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> None:
        """A whole answer; the connection stays open for the next request."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"content-type": content_type, "content-length": str(len(data)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data)
        self._over.set()

    async def begin_stream(self, *, headers: Mapping[str, str] | None = None) -> None:
        lines = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())

    async def event(self, data: bytes) -> None:
        """Bytes of a stream that `begin_stream` began, as one chunk."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")
        self._over.set()

    def close(self) -> None:
        """Close the connection when everything is written."""
        self._writer.close()
        self._over.set()

    def cut(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()
        self._over.set()

    async def gone(self) -> None:
        """Wait until the other side has closed the connection."""
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):
                while await self._reader.read(2**16):
                    pass
        self._over.set()

    async def over(self) -> bool:
        """Wait until it is answered; whether the connection can take another request."""
        await self._over.wait()
        return not self._writer.is_closing()


Script = Callable[[ProviderCall], Awaitable[None]]


class RawProvider:
    """Listens; hands calls to `script`, or where there is none to whoever asks for the `next` one."""

    def __init__(self, script: Script | None) -> None:
        self.script = script
        self._waiting: asyncio.Queue[ProviderCall] = asyncio.Queue()
        self._writers: set[asyncio.StreamWriter] = set()
        self.calls: list[ProviderCall] = []
        self.connections = 0
        self.url = ""

    @property
    def open_count(self) -> int:
        """Connections that are open, as seen from here."""
        return len(self._writers)

    async def next(self) -> ProviderCall:
        async with asyncio.timeout(DEADLINE_S):
            return await self._waiting.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                nth = 1
                while await self._one(reader, writer, nth):
                    nth += 1
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        call = ProviderCall(head, reader, writer, nth)
        call.body = await reader.readexactly(int(call.headers.get("content-length", "0")))
        self.calls.append(call)
        if self.script is not None:
            await self.script(call)
        else:
            self._waiting.put_nowait(call)
        return await call.over()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for call in self.calls:
            call.cut()


@asynccontextmanager
async def raw_provider(
    script: Script | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawProvider]:
    """Listen on a free port; each request goes to `script`, where there is one."""
    provider = RawProvider(script)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()
    provider.url = f"{'https' if tls else 'http'}://{host}:{port}/v1"
    try:
        yield provider
    finally:
        server.close()
        provider.close()
        await server.wait_closed()
