"""The server that faces the application: aiohttp's `web.Server` with connections of our own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp import web

from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.faults import fault_of_request
from tidegate_sidecar.downstream.idle import IdleConnections
from tidegate_sidecar.downstream.request import AppRequest, HeadFault, Written

_log = logging.getLogger(__name__)

AppHandler = Callable[[AppRequest], Awaitable[Written]]
"""Answers one request. Its task is cancelled when the application has gone."""

FaultHandler = Callable[[HeadFault, AppConnection], bytes | None]
"""Writes the record of what is no request, and returns the bytes of its refusal; None: nothing is said."""

MAX_IDLE: Final = 1_024
HEAD_MS: Final = 10_000
STALL_MS: Final = 60_000
CLOSE_S: Final = 2.0
"""How long open connections get to close once their calls are done."""

_LOOK_NS: Final = 500_000_000


class AppServer(web.Server):  # noqa: TID251 - its connections quote nothing either
    """Serves the application.

    Attributes:
        is_draining: the process is about to stop: connections are closed as soon as they are idle.
        idle: connections that wait for a request.
        now_ns: the time of the last tick.
        head_ms: how long a request's head may take from its first byte.
        stall_ms: how long the rest of an answer may be left on a connection that is closing.
    """

    def __init__(
        self,
        handler: AppHandler,
        *,
        on_fault: FaultHandler,
        now_ns: int,
        max_idle: int = MAX_IDLE,
        head_ms: int = HEAD_MS,
        stall_ms: int = STALL_MS,
    ) -> None:
        """Serve by `handler`, within a running loop.

        Args:
            handler: answers requests.
            on_fault: answers what is none.
            now_ns: monotonic, the same clock as `tick`'s.
            max_idle: of more idle connections, those that have been idle longest are closed.
            head_ms: as the attribute.
            stall_ms: as the attribute.
        """
        super().__init__(
            cast("Any", self._begin), request_factory=cast("Any", AppRequest), handler_cancellation=True
        )
        self._handler = handler
        self._on_fault = on_fault
        self._look_at_ns = now_ns
        self.is_draining = False
        self.idle = IdleConnections(max_idle)
        self.now_ns = now_ns
        self.head_ms = head_ms
        self.stall_ms = stall_ms

    def __call__(self) -> AppConnection:
        return AppConnection(self)

    def tick(self, now_ns: int) -> None:
        """The clock has moved, some twenty times a second; what may take seconds is looked at twice a second."""
        self.now_ns = now_ns
        if now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + _LOOK_NS
            for connection in self.connections:
                cast("AppConnection", connection).look(now_ns)

    def drain(self) -> None:
        """Close idle connections now and all others as they become idle. Answers say `Connection: close` from here on."""
        self.is_draining = True
        self.idle.close_quiet()

    async def close(self) -> None:
        """Close everything; calls that are still in progress are cut."""
        self.drain()
        for connection in self.connections:
            cast("AppConnection", connection).cut()
        self.pre_shutdown()  # or idle connections would be waited for as if they were calls
        await self.shutdown(CLOSE_S)

    # What connections ask for.

    def went_idle(self, connection: AppConnection) -> None:
        if self.is_draining:
            connection.force_close()
        else:
            self.idle.add(connection)

    def went_busy(self, connection: AppConnection) -> None:
        self.idle.discard(connection)

    def report(self, fault: HeadFault, connection: AppConnection) -> bytes:
        try:
            return self._on_fault(fault, connection) or b""
        except Exception as error:  # noqa: BLE001 - of ours; the connection has to be closed all the same
            _log.error("a request that is no HTTP was not recorded: %s", type(error).__name__)
            return b""

    def _begin(self, request: AppRequest) -> Awaitable[Any]:
        request.is_begun = True
        if request.is_chunked or not request.is_http1:
            fault = fault_of_request(request)
            if fault is not None:
                return request.app.refuse(fault)
        return self._handler(request)
