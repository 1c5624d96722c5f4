"""A provider that plays scripts, on real sockets and with every byte its own."""

from __future__ import annotations

import asyncio
import re
from random import Random
from typing import Final, cast

from tidegate_enduring.chance import Dice
from tidegate_enduring.scripts import STREAM, WHOLE, Act, Asked, Step

_LENGTH: Final = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)


class Provider:
    """Listens, and plays a script for each request.

    Attributes:
        asked: how many requests came.
        problem: what it was sent that nobody should send; empty: nothing.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.whole = Dice(random, WHOLE)
        self.stream = Dice(random, STREAM)
        self.asked = 0
        self.problem = ""
        self.connections: set[_Connection] = set()

    async def listen(self) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=1_024
        )


class _Connection(asyncio.Protocol):
    """One connection: a request, its script, the next request."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._transport: asyncio.Transport | None = None
        self._came = b""
        self._steps: list[Step] | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._provider.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._transport = None
        self._provider.connections.discard(self)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._play()

    def data_received(self, data: bytes) -> None:
        if self._steps:
            return  # it is still playing what ends with the connection, or with more than was asked for
        self._came += data
        end = self._came.find(b"\r\n\r\n")
        if end < 0:
            return
        head, length = self._came[:end], _LENGTH.search(self._came, 0, end + 2)
        size = int(length[1]) if length else 0
        if len(self._came) < end + 4 + size:
            return
        body, rest = self._came[end + 4 : end + 4 + size], self._came[end + 4 + size :]
        if not head.startswith(b"POST /") or rest:
            self._provider.problem = (
                f"a request was sent that is none: {head[:200]!r} and {len(rest)} bytes behind it"
            )
        self._came = b""
        self._provider.asked += 1
        asked, provider = Asked(head, body), self._provider
        script = (provider.stream if asked.is_stream else provider.whole).draw()
        self._steps = script(provider.random, asked)[::-1]
        self._play()

    def _play(self) -> None:
        steps = self._steps
        while steps and not self._is_paused:
            transport = self._transport
            if transport is None or transport.is_closing():
                return
            step = steps.pop()
            if isinstance(step, bytes):
                transport.write(step)
            elif isinstance(step, float):
                asyncio.get_running_loop().call_later(step, self._play)
                return
            elif step is Act.CLOSE:
                transport.close()
            elif step is Act.ABORT:
                transport.abort()
            else:
                steps.append(step)
                return

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()
