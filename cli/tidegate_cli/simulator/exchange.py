"""One request's answer on its way out: heads, bodies, streams, and all the ways to break them.

Nothing here decides what is said; it only sends, waits and closes. Whoever waits here is cancelled when the client
leaves or the simulator stops (`handler_cancellation` of aiohttp's server), so no wait needs a bound of its own.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from tidegate_cli.simulator.behaviour import Garbage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn

    from tidegate_cli.simulator.behaviour import Behaviour
    from tidegate_cli.simulator.dialect import Dialect, Events

PROVIDER_HEADER: Final = "x-simulated-provider"
"""Header of every answer: which of the simulated providers gave it."""

_NOT_JSON: Final = b"<html><body>Simulated garbage instead of JSON</body></html>"
_NOT_HTTP: Final = b"\x00simulated garbage instead of HTTP\r\n\r\n"
_MS_PER_S: Final = 1000


class Exchange:
    """A request and the connection that its answer goes to.

    Attributes:
        request: as aiohttp received it.
        is_cut: the simulator closed the connection itself.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        *,
        dialect: Dialect,
        provider: str,
        number: int,
        count_streams: Callable[[int], None],
    ) -> None:
        self.request = request
        self._dialect = dialect
        self._provider = provider
        self._number = number
        self.is_cut = False
        self._count_streams = count_streams

    async def send_json(self, body: Mapping[str, Any], behaviour: Behaviour) -> web.StreamResponse:
        """A complete answer, or half of it where the behaviour cuts or stalls."""
        return await self._send_body(orjson.dumps(body), behaviour)

    async def send_error(
        self, status: int, message: str, behaviour: Behaviour, *, param: str | None = None
    ) -> web.StreamResponse:
        """A complete error in the dialect; cuts and stalls are for answers that succeed."""
        body = orjson.dumps(self._dialect.error(status, message, number=self._number, param=param))
        response = web.Response(
            body=body, status=status, headers=self._headers(behaviour, "application/json")
        )
        return await self._finish(response)

    async def send_garbage(self, garbage: Garbage, behaviour: Behaviour) -> web.StreamResponse:
        """An unreadable answer; `Garbage.STREAM` is part of a stream and not for here."""
        match garbage:
            case Garbage.BODY:
                return await self._send_body(_NOT_JSON, behaviour)
            case Garbage.HTTP:
                transport = self.request.transport
                if transport is not None:
                    self._unbuffer()
                    transport.write(_NOT_HTTP)
                    await self._flush()
            case Garbage.EMPTY | Garbage.STREAM:
                pass
        return await self.cut()

    async def send_stream(self, events: Events, behaviour: Behaviour) -> web.StreamResponse:
        """The events, paced and broken off as the behaviour says."""
        response = web.StreamResponse(headers=self._headers(behaviour, "text/event-stream; charset=utf-8"))
        response.headers["cache-control"] = "no-cache"
        # Before the head: the buffer limits hold for what is written after they are set.
        self._unbuffer()
        await response.prepare(self.request)
        with self._counted_stream():
            for event in events.opening:
                await self._write(response, event)
            await pause(behaviour.first_token_delay_ms)
            for sent, delta in enumerate(events.deltas):
                if await self._is_ended(response, behaviour, sent):
                    return await self._finish(response)
                if sent:
                    await pause(behaviour.chunk_delay_ms)
                for event in delta:
                    await self._write(response, event)
                if sent == 0 and behaviour.garbage is Garbage.STREAM:
                    await self._write(response, self._dialect.garbage_event())
            if not await self._is_ended(response, behaviour, None):
                for event in events.closing:
                    await self._write(response, event)
            return await self._finish(response)

    async def cut(self) -> NoReturn:
        """Close the connection at once; what has been written is on its way."""
        self.abort()
        await until_gone()

    def abort(self) -> None:
        """Close the connection without waiting; the handler of this request is cancelled soon after."""
        self.is_cut = True
        if self.request.transport is not None:
            self.request.transport.abort()

    async def _send_body(self, body: bytes, behaviour: Behaviour) -> web.StreamResponse:
        headers = self._headers(behaviour, "application/json")
        if behaviour.cut_after is None and behaviour.stall_after is None:
            return await self._finish(web.Response(body=body, headers=headers))
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        self._unbuffer()
        await response.prepare(self.request)
        await self._write(response, body[: len(body) // 2])
        if behaviour.cut_after is None:
            await until_gone()
        return await self.cut()

    async def _is_ended(self, response: web.StreamResponse, behaviour: Behaviour, sent: int | None) -> bool:
        """Carry out what is due when `sent` deltas have been sent (None: all); true if the stream ends here."""

        def is_due(after: int | None) -> bool:
            return after is not None and (sent is None or after == sent)

        if is_due(behaviour.stall_after):
            await until_gone()
        if is_due(behaviour.cut_after):
            await self.cut()
        if is_due(behaviour.stream_error_after):
            await self._write(response, self._dialect.stream_error(number=self._number))
            return True
        return False

    async def _write(self, response: web.StreamResponse, event: bytes) -> None:
        await response.write(event)
        await self._flush()

    async def _flush(self) -> None:
        """Wait until the kernel has all bytes: `abort` drops what is still buffered here."""
        await self.request.writer.drain()

    def _unbuffer(self) -> None:
        # A high-water mark of zero makes drain() wait for every byte, on asyncio and on uvloop.
        if self.request.transport is not None:
            self.request.transport.set_write_buffer_limits(high=0)

    async def _finish(self, response: web.StreamResponse) -> web.StreamResponse:
        """Send all that is left here and not after the handler, so that the counters cover it."""
        if not response.prepared:
            await response.prepare(self.request)
        await response.write_eof()
        return response

    def _headers(self, behaviour: Behaviour, content_type: str) -> dict[str, str]:
        headers = {
            "content-type": content_type,
            PROVIDER_HEADER: self._provider,
            self._dialect.REQUEST_ID_HEADER: self._dialect.request_id(self._number),
        }
        if behaviour.retry_after is not None:
            headers["retry-after"] = behaviour.retry_after
        return headers

    @contextmanager
    def _counted_stream(self) -> Iterator[None]:
        self._count_streams(1)
        try:
            yield
        finally:
            self._count_streams(-1)


async def pause(duration_ms: int) -> None:
    """Wait; ends early by cancellation alone."""
    if duration_ms:
        await asyncio.sleep(duration_ms / _MS_PER_S)


async def until_gone() -> NoReturn:
    """Wait for the cancellation that follows the end of the connection."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing resolves this future; waiting for it ends by cancellation")
