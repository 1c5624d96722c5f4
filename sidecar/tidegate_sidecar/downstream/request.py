"""What passes between this package and the exchange: requests, what came in place of one, and the end of an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from aiohttp import HttpVersion10, HttpVersion11, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

if TYPE_CHECKING:  # a connection makes requests, and a request names its connection
    from tidegate_sidecar.downstream.connection import AppConnection

NO_METHOD: Final = "UNKNOWN"
"""The method of the request that aiohttp makes up for what it cannot read. No client can send it."""


class BrokenBodyError(Exception):
    """Nothing more of a request's body can be read. The message says why, and quotes nothing of it."""


class HeadFault(NamedTuple):
    """What came is no request that can be served: it gets a record and, where somebody is left to read it, a refusal.

    Attributes:
        status: 400; 408 (a head that never ended), 431 (a head too large), 501 (a method or transfer coding that nobody
            here knows), 505 (another version of HTTP).
        message: what is wrong, for a person. It quotes nothing of what came.
        seen: the first bytes of the head as far as they are known. They may hold keys: they serve to guess the caller's
            dialect, and are neither logged nor shown.
        is_gone: the connection is closed: the record says so, and nobody reads an answer.
    """

    status: int
    message: str
    seen: bytes
    is_gone: bool = False


class AppEvents(Protocol):
    """What a call is told of its application, synchronously, between two bytes."""

    def on_app_gone(self, reason: str) -> None:
        """It has hung up. Told once; what is written from now on goes nowhere."""
        ...

    def on_app_paused(self) -> None:
        """It takes its answer more slowly than it is written."""
        ...

    def on_app_resumed(self) -> None:
        """It has taken enough for more to be useful."""
        ...


class AppRequest:
    """One request, and no more than that: aiohttp's own `BaseRequest` takes longer to make than all the rest of a call.

    Attributes:
        method: in upper case.
        target: as it came.
        path: of the target, not decoded, without the query; empty where the target has none (`*`, or CONNECT).
        query: of the target, not decoded, without its question mark.
        authority: of a target in absolute form, which counts in place of Host; empty for all others.
        headers: as they came, in their order.
        fields: the same as text, by name in any case.
        is_http1: of the versions served here; all others are refused before a handler is called.
        is_http10: the client speaks HTTP/1.0: it knows no chunked answer and no interim one.
        is_chunked: the body's length is not known beforehand.
        wants_close: the client will send nothing more on this connection.
        content: the body. `BrokenBodyError` is raised from reading what is not framed as HTTP wants it.
        app: the connection, to write to and to listen at.
        is_begun: its handler has been called, and sees to its record.
    """

    __slots__ = (
        "_task",
        "app",
        "authority",
        "content",
        "fields",
        "headers",
        "is_begun",
        "is_chunked",
        "is_http1",
        "is_http10",
        "method",
        "path",
        "query",
        "target",
        "wants_close",
    )

    def __init__(
        self,
        message: RawRequestMessage,
        content: StreamReader,
        app: AppConnection,
        writer: AbstractStreamWriter,  # noqa: ARG002 - answers go to the transport
        task: asyncio.Task[None],  # noqa: ARG002 - of the connection, which ends as the connection does
    ) -> None:
        """Take what aiohttp's `request_factory` is given."""
        self.method = message.method
        self.target = target = message.path
        self.headers: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        self.fields: CIMultiDictProxy[str] = message.headers
        self.wants_close = message.should_close
        self.content = content
        self.app = app
        self.is_begun = False
        version = message.version
        self.is_http10 = is_http10 = version is HttpVersion10
        self.is_http1 = is_http10 or version is HttpVersion11
        self.is_chunked = message.chunked
        if target[:1] == "/":
            self.authority = ""
            self.path, _, self.query = target.partition("?")
        else:
            self.authority, self.path, self.query = _split(target)
        app.current = self

    def _finish(self) -> None:
        """What aiohttp calls when the handler is through, before it asks what the handler returned."""
        self.app.on_request_over()

    def _cancel(self, _: BaseException) -> None:
        """What aiohttp calls when the connection is lost; whoever reads the body is cancelled by it, too."""
        self.content.set_exception(
            BrokenBodyError("the application hung up before its request was all there")
        )


class Written:
    """What a handler returns: its answer has been written to the connection already.

    Attributes:
        keep_alive: the connection takes further requests. False where the answer said `Connection: close`, where its end
            is the connection's end, or where it was cut.
    """

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        """Say what becomes of the connection."""
        self.keep_alive = keep_alive

    async def prepare(self, request: AppRequest) -> None:
        """Write nothing, where aiohttp would have the head written."""
        if request.app.is_last:
            self.keep_alive = False
            await request.app.last_is_written()

    async def write_eof(self) -> None:
        """Write nothing, where aiohttp would have the body ended."""


def _split(target: str) -> tuple[str, str, str]:
    """Authority, path and query of a target that does not begin with a slash."""
    scheme, has_scheme, rest = target.partition("://")
    if not has_scheme or scheme.lower() not in {"http", "https"}:
        return "", "", ""
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    return authority, f"/{path}" if slash else "/", query
