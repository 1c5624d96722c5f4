"""Connection: one request and its answer at a time, on a transport of the event loop.

Parser callbacks only collect; `data_received` acts once per read, after the parser has returned, so that nothing it sets off
can enter the parser again. A connection is idle only if an answer ended cleanly on it and nothing followed; any byte on an
idle connection is fatal to it, or it would be taken for the next call's answer. A receiver that is told something may let go
of the connection, and whoever it wakes may take it for another request: after every call of it is looked whether the
connection is still its.
"""

from __future__ import annotations

import asyncio
import os
import select
import ssl
from contextlib import suppress
from typing import Final, Protocol, cast

from tidegate_sidecar.upstream.answer import AnswerReader, GarbageError
from tidegate_sidecar.upstream.faults import ConnectionFault, FaultKind
from tidegate_sidecar.upstream.outgoing import PIECE_BYTES, Outgoing, Pieces, Upload, Uploading
from tidegate_sidecar.upstream.receiver import Receiver
from tidegate_sidecar.upstream.tls import handshake_problem

_LINGER_MAX: Final = 64 * 2**10
"""Bytes of a body that nobody wants any more, before the connection is closed instead of read to the answer's end."""

_MS: Final = 1_000_000


class Pool(Protocol):
    """What a connection knows of where it belongs."""

    def monotonic_ns(self) -> int: ...

    def give_back(self, connection: Connection) -> None:
        """It can carry another request; the pool keeps it or closes it."""
        ...

    def let_linger(self, connection: Connection) -> None:
        """It waits for the end of an answer that nobody wants; the pool bounds that in time."""
        ...

    def take_out(self, connection: Connection) -> None:
        """It is idle no more."""
        ...

    def lost(self, connection: Connection) -> None:
        """Its transport is gone."""
        ...


class _BoundedReader(Protocol):
    """What transports of TLS have beyond asyncio's own protocol."""

    def set_read_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Connection(asyncio.Protocol):
    """A connection to one place.

    Attributes:
        is_closed: it is of no use any more.
        is_idle: it lies in its pool.
        is_lingering: the rest of its answer is read for nobody.
        is_reused: it has carried a request before the one that is sent next or is on its way.
        made_ns: when it was made.
        since_ns: since when it is idle, or lingers.
    """

    __slots__ = ("_answer", "_has_told_head", "_is_full", "_is_paused", "_outgoing", "_poll", "_pool", "_receiver", "_sent_ns", "_transport",
                 "is_closed", "is_idle", "is_lingering", "is_reused", "made_ns", "since_ns")  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._answer = AnswerReader()
        self._outgoing: Outgoing | None = None
        self._receiver: Receiver | None = None
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._has_told_head = self._is_full = self._is_paused = False
        self._sent_ns = self.made_ns = self.since_ns = 0
        self.is_closed = self.is_idle = self.is_lingering = self.is_reused = False

    def __repr__(self) -> str:
        state = next((it for it in ("closed", "idle", "lingering") if getattr(self, f"is_{it}")), "open")
        return f"<Connection {state}{' reused' if self.is_reused else ''} {self._transport!r}>"

    # What a request does.

    def send(self, head: bytes, body: bytes | Upload, receiver: Receiver, method: str = "POST") -> None:
        """Send a request, and tell `receiver` what becomes of it.

        Args:
            head: request line and header lines with the empty line behind them. It says how long the body is, or that it
                is chunked.
            body: small ones go out with the head in one write, others as the transport drains.
            receiver: where the connection is found closed it is told so before this returns.
            method: the request line's, since an answer to HEAD has no body.
        """
        assert self._receiver is None, "one request at a time"  # noqa: S101 - a programming error
        self._receiver = receiver
        self._has_told_head = False
        self._sent_ns = 0
        transport = self._transport
        if self.is_closed or transport is None or transport.is_closing():
            self._fail(FaultKind.CLOSED, "it closed the connection")
            return
        self._answer.expect(method)
        self._sent_ns = self._pool.monotonic_ns()
        if not isinstance(body, bytes):
            self.write(head)
            self._go_on_sending(Uploading(self, body))
        elif len(body) <= PIECE_BYTES:
            self.write(head + body)  # a write is a system call: one for a request, never head and body apart
        else:
            self.write(head + body[:PIECE_BYTES])
            self._go_on_sending(Pieces(self, body, PIECE_BYTES))

    def pause(self) -> None:
        """Read no more for now; what one read has brought is told all the same."""
        if self._is_paused or self._transport is None or self._transport.is_closing():
            return
        self._is_paused = True
        if self._is_tls():
            # Without this the socket is read on, and at its end what waits decrypted is thrown away (uvloop 0.23).
            cast("_BoundedReader", self._transport).set_read_buffer_limits(high=1)
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self._is_paused:
            return
        self._is_paused = False
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_tls():
            cast("_BoundedReader", self._transport).set_read_buffer_limits()
        self._transport.resume_reading()

    def close(self) -> None:
        """Let go of it, in any state. Its receiver hears nothing more."""
        self._receiver = None
        self.is_lingering = False
        self._stop_sending()
        if self.is_closed:
            return
        self.is_closed = True
        if self.is_idle:
            self._pool.take_out(self)
        if self._transport is not None:
            self._transport.abort()

    def linger(self, now_ns: int) -> None:
        """Let go of it when the call has all it wants, and only the end of the answer has yet to come.

        If that comes soon the connection is kept.
        """
        if self._receiver is None:
            return
        self._receiver = None
        if self._answer.is_done or self._outgoing is not None:
            self._free()
            return
        self.resume()
        self.is_lingering = True
        self.since_ns = now_ns
        self._pool.let_linger(self)

    # What the pool and a body on its way ask.

    def has_unread(self) -> bool:
        """Whether there is something that has not been read, be it the end of the connection.

        Not while reading is paused: it would stay so.
        """
        if self._is_paused or self.is_closed or self._transport is None:
            return False
        socket = self._transport.get_extra_info("socket")
        if socket is None:
            return True  # TLS has met the end, and says so in the loop's next turn
        poll = self._poll
        if poll is None:  # kept, since each call on a connection that is reused looks
            poll = self._poll = select.poll()
            poll.register(socket.fileno(), select.POLLIN | select.POLLRDHUP)
        return bool(poll.poll(0))

    def write(self, data: bytes | memoryview) -> None:
        """Hand it to the transport."""
        assert self._transport is not None  # noqa: S101 - nothing is sent before it is made
        try:
            self._transport.write(data)
        except RuntimeError:  # uvloop's word for a transport that is closed
            self._fail(FaultKind.CLOSED, "it closed the connection")

    def body_is_out(self) -> None:
        """The request is written as a whole."""
        self._outgoing = None

    def break_off(self, reason: str) -> None:
        """The rest of the request will not come."""
        self._fail(FaultKind.UPLOAD, f"the upload broke off: {reason}")

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.made_ns = self._pool.monotonic_ns()
        if self.is_closed:  # its maker has been cancelled
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self._discard(data)
            return
        answer, problem = self._answer, ""
        try:
            answer.feed(data)
        except GarbageError as error:
            problem = str(error)  # what came before it is told first, as if the network had cut there
        if not self._has_told_head and answer.status:
            self._has_told_head = True
            receiver.on_head(answer.status, answer.headers)
            if self._receiver is not receiver:
                return
        if answer.pieces:
            receiver.on_body(answer.take_body())
            if self._receiver is not receiver:
                return
        if problem:
            self._fail(FaultKind.GARBAGE, problem)
        elif answer.is_done:
            self._receiver = None
            self._free()
            receiver.on_end()

    def eof_received(self) -> None:
        if self._receiver is None:
            self.close()
        elif not self._end():
            self._fail(FaultKind.CLOSED, self._closed_reason(None))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if self.is_idle:
            self._pool.take_out(self)
        self._pool.lost(self)
        if isinstance(error, ConnectionError):
            self._read_what_is_left()
        # TLS that ends without its own word for it ends here, with no error: many servers never say it, and the clients of
        # the providers' SDKs take such an answer as whole.
        if self._receiver is not None and not (error is None and self._end()):
            is_refused = isinstance(error, ssl.SSLError) and not self._answer.has_begun
            self._fail(FaultKind.TLS if is_refused else FaultKind.CLOSED, self._closed_reason(error))
        self._stop_sending()
        self._answer.let_go()
        self._transport = None

    def pause_writing(self) -> None:
        self._is_full = True
        if self._outgoing is not None:
            self._outgoing.pause()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._outgoing is not None:
            self._outgoing.resume()

    # How an answer ends.

    def _end(self) -> bool:
        """Nothing more comes. Whether that was the proper end of the answer."""
        receiver = self._receiver
        if receiver is None or not self._answer.end():
            return False
        self.close()
        receiver.on_end()
        return True

    def _free(self) -> None:
        """The answer is over: the connection is idle before the call goes on, which may want one at once."""
        if not self._answer.is_reusable or self._outgoing is not None or self._is_full or self.is_closed:
            self.close()
            return
        if self._is_paused:
            self.resume()
        self.is_lingering = False
        self.is_reused = True
        self._pool.give_back(self)

    def _read_what_is_left(self) -> None:
        """A write has met the end of the connection, and with it the transport has given up what came before that.

        It is still in the socket: an early answer, mostly. Within TLS it cannot be got at.
        """
        if self._transport is None or self._is_tls():
            return
        descriptor = self._transport.get_extra_info("socket").fileno()
        with suppress(OSError):
            while self._receiver is not None and (data := os.read(descriptor, PIECE_BYTES)):
                self.data_received(data)

    def _discard(self, data: bytes) -> None:
        """Nobody waits for it: the end of an answer that lingers, or a byte that must not be here."""
        if not self.is_lingering:
            self.close()
            return
        try:
            self._answer.feed(data)
        except GarbageError:
            self.close()
            return
        if self._answer.is_done:
            self._free()
        elif sum(map(len, self._answer.pieces)) > _LINGER_MAX:
            self.close()

    def _fail(self, kind: FaultKind, reason: str) -> None:
        receiver = self._receiver
        fault = ConnectionFault(
            kind,
            reason,
            sent=self._sent_ns > 0,
            answer_began=self._sent_ns > 0 and self._answer.has_begun,
            after_ms=(self._pool.monotonic_ns() - self._sent_ns) // _MS if self._sent_ns else 0,
            is_reused=self.is_reused,
        )
        self.close()
        if receiver is not None:
            receiver.on_failure(fault)

    def _closed_reason(self, error: Exception | None) -> str:
        where = " within the answer" if self._answer.has_begun else ""
        if isinstance(error, ssl.SSLError):
            # A client certificate is refused behind the handshake (TLS 1.3).
            return f"the connection broke{where}" if where else handshake_problem(error)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError) and error.errno:
            return f"the connection broke{where}: {os.strerror(error.errno)}"
        return f"it closed the connection{where}"

    def _go_on_sending(self, outgoing: Outgoing) -> None:
        if self._receiver is None:
            return  # the first write has failed
        self._outgoing = outgoing
        outgoing.start()
        if self._is_full:
            outgoing.pause()

    def _stop_sending(self) -> None:
        if self._outgoing is not None:
            self._outgoing.stop()
            self._outgoing = None

    def _is_tls(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is not None
