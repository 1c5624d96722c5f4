"""One connection of the application, on aiohttp's `RequestHandler`.

aiohttp reads requests, keeps them in their order and calls the handler in a task of its own. What is added here: the call
in progress is told of its application synchronously, bytes go to the transport as they are, and whatever is no request
ends in a `HeadFault` instead of aiohttp's own log and answer, which quote the head and the keys in it.

Private names of aiohttp that this package stands on, each pinned by tests/downstream/test_aiohttp_contract.py:

1. `RequestHandler._messages`: requests that were read and not begun, an error where there is no request.
2. `RequestHandler._parser`: its `feed_eof()` tells whether a head has begun; another one takes its place behind an error.
3. `_finish()`, 4. `_cancel()` and 5. `_task` of requests: what `web.Server` calls and sets on what `request_factory` made.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from tidegate_sidecar.downstream import faults
from tidegate_sidecar.downstream.heads import HeadWatch
from tidegate_sidecar.downstream.request import (
    NO_METHOD,
    AppEvents,
    AppRequest,
    BrokenBodyError,
    HeadFault,
    Written,
)
from tidegate_sidecar.downstream.rereading import parser_for, requests_in
from tidegate_sidecar.downstream.stalling import StallWatch, in_socket

if TYPE_CHECKING:  # a server makes connections, and a connection tells its server
    from tidegate_sidecar.downstream.server import AppServer

_log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 3_600.0
"""Longer than any client pools an idle connection, so that it is the client who closes and no call meets a closed one."""

READ_BYTES: Final = 2**16
"""Of a body that nobody reads yet; from twice as many on, the application is kept from sending more."""

LINGER_NS: Final = 10_000_000_000
"""How long what comes behind a refusal (more of a head, the rest of a body) is taken and thrown away: closed at once, the
refusal might not be read."""


class AppConnection(RequestHandler):
    """What a call writes to and listens at.

    Attributes:
        events: the call in progress, which sets itself here; forgotten when it is over.
        is_paused: the application takes its answer more slowly than it is written.
        is_last: no request follows the one in progress.
        written_bytes: of all answers so far.
        current: the request in progress.
    """

    __slots__ = (
        "_body_read_bytes",
        "_closing",
        "_content",
        "_fault",
        "_head",
        "_holds_back",
        "_is_body_left",
        "_is_chunked",
        "_is_deaf",
        "_is_in_body",
        "_lingers_until_ns",
        "_out",
        "_server",
        "_wire",
        "current",
        "events",
        "is_last",
        "is_paused",
        "written_bytes",
    )

    def __init__(self, server: AppServer) -> None:
        """Belong to `server`."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,  # type: ignore[arg-type] # what aiohttp documents as "none"
            max_line_size=faults.MAX_LINE_BYTES,
            max_field_size=faults.MAX_LINE_BYTES,
            max_headers=faults.MAX_HEADERS,
            read_bufsize=READ_BYTES,
            auto_decompress=False,  # within a bound, and with an answer in the caller's dialect, is what is done later
        )
        self.events: AppEvents | None = None
        self.current: AppRequest | None = None
        self.is_paused = self.is_last = False
        self.written_bytes = 0
        self._server = server
        self._wire: asyncio.Transport | None = None
        self._out: asyncio.Transport | None = None  # the same while somebody is there to read
        self._content: StreamReader = EMPTY_PAYLOAD  # of the last request
        self._is_in_body = self._is_chunked = False
        self._body_read_bytes = 0  # behind the read that completed its head, with what frames it
        self._holds_back = False  # the application is kept from sending more of a body
        self._head = HeadWatch()
        self._fault: HeadFault | None = None  # found and not answered yet: calls before it come first
        self._is_deaf = False  # what still comes is thrown away
        self._is_body_left = False
        self._lingers_until_ns: int | None = None
        self._closing: StallWatch | None = None

    # What a call does.

    def write(self, data: bytes) -> None:
        """Send `data` now; nothing happens where the application has gone."""
        out = self._out
        if out is not None:
            out.write(data)
            self.written_bytes += len(data)

    @property
    def is_gone(self) -> bool:
        """Nobody is there to read."""
        return self._out is None

    @property
    def buffered_bytes(self) -> int:
        """What was written and the application's system has not taken yet: it waits for the application to read."""
        return 0 if self._wire is None else self._wire.get_write_buffer_size() + in_socket(self.fileno())

    def abort(self) -> None:
        """Cut the connection, and with it what was written and not taken. The call that does it is not told of it."""
        self.events = self._out = None
        if self._wire is not None:
            self._wire.abort()

    @property
    def is_draining(self) -> bool:
        """The process is about to stop: the connection is closed after the answer that is written next."""
        return self._server.is_draining

    def close_after_this(self) -> None:
        """Take no further request, whatever the handler says of the connection."""
        self.is_last = True

    def leave_body(self) -> None:
        """Read no more of the body in progress, and take no further request: the client may send one in the body's place."""
        self._is_deaf = self._is_body_left = self.is_last = True
        if self._holds_back:
            self._holds_back = False
            super().resume_reading(resume_parser=False)  # it is thrown away as it comes

    async def last_is_written(self) -> None:
        """Return when the connection may be closed behind an answer that is its last.

        Closed at once while more of a body comes in that nobody reads, the client would read a reset in place of the answer:
        then this ends as the connection does, by which it is cancelled.
        """
        if self._is_body_left and self._out is not None:
            self._linger()
            await asyncio.get_running_loop().create_future()

    # What the server does.

    def fileno(self) -> int:
        """The descriptor; -1: there is none any more."""
        number = -1 if self._wire is None else self._wire.get_extra_info("socket").fileno()
        assert isinstance(number, int)  # noqa: S101 - as for every socket
        return number

    async def refuse(self, fault: HeadFault) -> Any:
        """Answer the request in progress as if it were none."""
        self._refuse(fault)
        return _Refused()

    def cut(self) -> None:
        """The process stops: wait neither for a call nor for what comes behind a refusal."""
        if self._lingers_until_ns is not None or self._is_serving():
            self.abort()

    # What asyncio and aiohttp tell.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = self._out = cast("asyncio.Transport", transport)  # the server listens for streams
        super().connection_made(transport)
        self._server.went_idle(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        messages = self._messages
        known = len(messages)
        body_bytes = self._content.total_bytes if self._is_in_body else 0
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - asyncio would log it with what came
            self._found(self._fault_of(error, data))
            return
        if len(messages) == known:
            self._on_part(data)
            return
        message, content = messages[-1]
        if isinstance(message, RawRequestMessage):
            self._began(message, content)
        else:
            self._on_error(message.exc, data, body_bytes)

    def eof_received(self) -> None:
        super().eof_received()
        if self._is_serving():
            self._tell_gone("the application closed its connection")
        elif self._fault is not None:
            self._refuse(self._fault)
        elif not self._is_deaf and self._has_begun_a_head():
            self._refuse(HeadFault(400, faults.HALF_A_HEAD, self._head.seen))
        # Nothing is returned: the transport closes itself as soon as what was written is taken.

    def pause_reading(self) -> None:
        self._holds_back = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        # A body asks for this whenever it is read, and when it is complete. With nothing held back aiohttp would parse no
        # bytes and resume a transport that is not paused, for several microseconds of each call.
        if self._holds_back:
            self._holds_back = False
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_paused = True
        if self.events is not None:
            self.events.on_app_paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_paused = False
        if self.events is not None:
            self.events.on_app_resumed()

    def force_close(self) -> None:
        self._out = None
        super().force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        # A call has to hear of it before anything else does: the next byte of its provider may be read in this very turn.
        self._wire = None
        self._server.went_busy(self)
        try:
            self._tell_gone(
                "the application closed its connection"
                if exc is None
                else "the application's connection was lost"
            )
            for fault in self._unanswered():
                self._server.report(fault, self)
        finally:
            super().connection_lost(exc)

    def on_request_over(self) -> None:
        """The handler of the request in progress is through, and has written what there is to say."""
        self.current = self.events = None
        if self._messages:
            return
        if self._fault is not None:
            self._refuse(self._fault)
        elif self._head.seen:
            self._head.since_ns = self._server.now_ns  # until now it was not waited for
        elif not self._is_in_body and not self._is_deaf:
            self._server.went_idle(self)

    def look(self, now_ns: int) -> None:
        """See what has taken too long: a head, an answer's rest that nobody takes, the time behind a refusal."""
        wire = self._wire
        if wire is None:
            return
        if self._lingers_until_ns is not None:
            if now_ns >= self._lingers_until_ns:
                self.abort()
        elif wire.is_closing():
            if self._closing is None:
                self._closing = StallWatch(self._server.stall_ms)
            if self._closing.is_stalled(self.written_bytes, self.buffered_bytes, now_ns):
                wire.abort()
        elif self._head.is_due(now_ns, self._server.head_ms) and not self._is_serving():
            if self._has_begun_a_head():
                self._refuse(faults.too_slow(self._server.head_ms, self._head.seen))
            self._head.forget()

    # Errors.

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's, as the rest
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        if request.method == NO_METHOD:
            if self._fault is not None:
                self._refuse(self._fault)
            return _Refused()  # type: ignore[return-value] # aiohttp asks for what it has: prepare, write_eof, keep_alive
        _log.error("a handler failed with %s; the connection is cut", type(exc).__name__)
        self.abort()
        return Written(keep_alive=False)  # type: ignore[return-value] # the same

    def log_exception(self, *_: Any, **kw: Any) -> None:
        error = kw.get("exc_info")
        if not isinstance(error, BrokenBodyError):
            _log.error("a connection of the application failed with %s", type(error).__name__)

    def _began(self, message: RawRequestMessage, content: StreamReader) -> None:
        """A read has completed the head of a request."""
        self._server.went_busy(self)
        self._content = content
        self._is_chunked = message.chunked
        self._head.may_follow(self._server.now_ns)
        self._is_in_body = not content.is_eof()
        self._body_read_bytes = 0

    def _on_part(self, data: bytes) -> None:
        """A read that completed no head: a part of a body, of a head, or blank lines."""
        if self._is_in_body:
            self._body_read_bytes += len(data)
            if faults.is_mostly_framing(self._body_read_bytes, self._content.total_bytes):
                self._break_body(faults.TOO_MUCH_FRAMING)
            elif self._content.is_eof():
                self._is_in_body = False
                self._head.may_follow(self._server.now_ns)
                if not self._is_serving():
                    self._server.went_idle(self)
            return
        head = self._head
        data = data if head.seen else data.lstrip(b"\r\n")
        if data:
            self._server.went_busy(self)
            head.add(data, self._server.now_ns)
            if head.is_too_large:
                self._found(HeadFault(431, faults.TOO_LARGE, head.seen))

    def _on_error(self, error: BaseException, data: bytes, body_bytes: int) -> None:
        """The parser met what is no HTTP, and reads nothing more.

        Args:
            error: what it raised.
            data: the read in which it did.
            body_bytes: what had come by then of the body in progress; 0 where there was none.
        """
        mark = self._messages.pop()
        if not self._is_in_body or self._content.is_eof():
            rest = self._since_last_request(data, body_bytes)
            if rest and not self._read_again(rest):
                self.is_last = True  # it lies behind a body that has yet to be read
                return
        if self._is_in_body and not self._content.is_eof():
            # It belongs to the call that reads this body, and is answered by it.
            self._break_body(faults.fault_of(error, b"").message)
            return
        fault = self._fault_of(error, data)
        if self._messages:  # it begins behind them, nobody knows where
            fault = faults.fault_of(error, b"")._replace(seen=fault.seen)
        self._messages.append(mark)
        self._found(fault)

    def _since_last_request(self, data: bytes, body_bytes: int) -> bytes:
        """What has come since the last request that is known; empty where nobody can say where that ended."""
        if not self._is_in_body:
            beginning = self._head.beginning
            return b"" if beginning is None else beginning + data
        return b"" if self._is_chunked else data[self._content.total_bytes - body_bytes :]

    def _read_again(self, data: bytes) -> bool:
        """Take the requests that `data` begins with. Whether what is none was met behind them."""
        parser = self._parser = parser_for(self, READ_BYTES)
        try:
            for message, content in requests_in(data, parser):
                self._messages.append((message, content))
                self._began(message, content)
        except Exception:  # noqa: BLE001 - as in `data_received`
            return True
        return False

    def _break_body(self, why: str) -> None:
        """Nothing more of the body in progress can be read; its call hears of it."""
        self._is_deaf = self._is_body_left = self.is_last = True
        self._content.set_exception(BrokenBodyError(why))

    def _fault_of(self, error: BaseException, data: bytes) -> HeadFault:
        return faults.fault_of(error, self._head.seen or data[: faults.SEEN_BYTES])

    def _found(self, fault: HeadFault) -> None:
        self._is_deaf = True
        self._fault = fault
        if not self._is_serving():
            self._refuse(fault)

    def _refuse(self, fault: HeadFault) -> None:
        self._is_deaf = True
        self._fault = None
        self._head.forget()
        self._server.went_busy(self)
        self.write(self._server.report(fault, self))
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more is written, and throw away what comes until the other side has ended too, or for a while."""
        self._lingers_until_ns = self._server.now_ns + LINGER_NS
        if self._out is not None:
            self._out.write_eof()
            self._out = None

    def _tell_gone(self, reason: str) -> None:
        events, self.events, self._out = self.events, None, None
        if events is not None:
            events.on_app_gone(reason)

    def _unanswered(self) -> list[HeadFault]:
        """What came and will never be begun, now that the connection is lost: each gets its record all the same."""
        unseen = [message for message, _ in self._messages if isinstance(message, RawRequestMessage)]
        current = self.current
        found = [(request.method, request.path) for request in unseen]
        if current is not None and not current.is_begun and current.method != NO_METHOD:
            found.insert(0, (current.method, current.target))
        faulty = [HeadFault(400, faults.UNSEEN, faults.seen_of(*request)) for request in found]
        if self._fault is not None:
            faulty.append(self._fault)
        elif not self._is_deaf and not self._is_in_body and self._has_begun_a_head():
            faulty.append(HeadFault(400, faults.HALF_A_HEAD, self._head.seen))
        return [fault._replace(is_gone=True) for fault in faulty]

    def _is_serving(self) -> bool:
        """A request is in progress, or waits for its turn."""
        current = self.current
        return (current is not None and current.method != NO_METHOD) or any(
            isinstance(message, RawRequestMessage) for message, _ in self._messages
        )

    def _has_begun_a_head(self) -> bool:
        """Whether there is a head that is not complete. Only asked where nothing more will be read if there is one."""
        if self._head.seen:
            return True
        if self._head.since_ns is None or self._is_in_body or self._parser is None:
            return False
        try:
            return self._parser.feed_eof() is not None
        except Exception:  # noqa: BLE001 - whatever half a head makes of it
            return True


class _Refused:
    """aiohttp's answer to what it could not read has been written by us; the connection closes itself."""

    keep_alive = False

    async def prepare(self, _: AppRequest) -> None:
        pass

    async def write_eof(self) -> None:
        # aiohttp would close the connection now, while more of a large head comes in, and the client would read a reset
        # where our answer is. This ends as the connection does, by which it is cancelled.
        await asyncio.get_running_loop().create_future()
