"""A receiver that keeps what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate_testing.wire import DEADLINE_S

from tidegate_sidecar.upstream.faults import ConnectionFault


class Heard:
    """Attributes: `told` has the names of what was told, in order; `then` is called within each, after it was noted."""

    def __init__(self, then: Callable[[str], None] | None = None) -> None:
        self.told: list[str] = []
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.fault: ConnectionFault | None = None
        self.is_over = asyncio.Event()
        self._then = then

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status, self.headers = status, headers
        self._note("head")

    def on_body(self, piece: bytes) -> None:
        assert piece
        self.pieces.append(piece)
        self._note("body")

    def on_end(self) -> None:
        self.is_over.set()
        self._note("end")

    def on_failure(self, fault: ConnectionFault) -> None:
        self.fault = fault
        self.is_over.set()
        self._note("failure")

    def _note(self, what: str) -> None:
        assert not {"end", "failure"} & set(self.told), "nothing is told behind the end"
        self.told.append(what)
        if self._then is not None:
            self._then(what)

    async def end(self) -> None:
        """Wait for a proper end."""
        async with asyncio.timeout(DEADLINE_S):
            await self.is_over.wait()
        assert self.fault is None, self.fault

    async def failure(self) -> ConnectionFault:
        """Wait for a failure."""
        async with asyncio.timeout(DEADLINE_S):
            await self.is_over.wait()
        assert self.fault is not None, self.told
        return self.fault
