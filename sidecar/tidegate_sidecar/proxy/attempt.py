"""What one provider says to one request, read as it comes, up to the point at which this answer is certain to be the one.

Theory of operation. An attempt is told by the connection (head, pieces, end, failure), by the clock and by the call. Until
its commit point the application has seen nothing: a failure is a value, and somebody else may be asked. The commit point is
the end of a whole answer, and the first event with content of a stream (`stream_body.py`). From there on the bytes go from
the provider's connection to the application's within one callback, and a failure can only be told as the end of a stream.

The coroutine of the call awaits `begun`, and then the rest of the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

from tidegate_policy.model import Timeouts
from tidegate_sidecar.dialects.base import (
    NO_USAGE,
    UNMETERED,
    Dialect,
    Operation,
    RawHeaders,
    StreamReader,
    Usage,
)
from tidegate_sidecar.messages.encodings import BrokenEncodingError, Decoder, TooLargeError, is_understood
from tidegate_sidecar.policies.base import UsageClass
from tidegate_sidecar.proxy.answer import Answer, Whole
from tidegate_sidecar.proxy.answer_bodies import Body, PassingBody, SniffedBody, StrangeBody, WholeBody
from tidegate_sidecar.proxy.failure import Failure, of_connection, redirected, timed_out, unreadable
from tidegate_sidecar.proxy.filters import AnswerFilter
from tidegate_sidecar.proxy.headers import value_of
from tidegate_sidecar.proxy.holding import Reservation
from tidegate_sidecar.proxy.redact import headers_without
from tidegate_sidecar.proxy.ticker import ENDLESS, Ticker
from tidegate_sidecar.routing.refusal import Refusal
from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.faults import ConnectionFault

_log = logging.getLogger(__name__)

MS_NS: Final = 1_000_000


class Undecided(NamedTuple):
    """A rule has to decide before it is known what an attempt comes to: await `decide`, and then the new `begun`."""

    decide: Callable[[], Awaitable[None]]


Begun = Whole | Answer | Failure | Refusal | Undecided
"""What an attempt comes to: a whole answer to be judged, the beginning of one that goes on, or nothing. A refusal, and what is
not decided, come from rules that look at streams."""


class Asker(Protocol):
    """Who makes attempts for a call, and what they are made under.

    Attributes:
        operation: that is asked for; None: none that is known.
        wants_stream: an event stream was asked for.
        timeouts: of the pool, as the policies have them.
        called_ns: when the call came.
        max_answer_bytes: how much of a whole answer is held, and how large one event of a stream may be.
        hold: takes the bytes of whole answers.
        ticker: watches deadlines.
        now_ns: monotonic time.
        ping: a sign of life within a stream, in the caller's dialect.
    """

    operation: Operation | None
    wants_stream: bool
    timeouts: Timeouts
    called_ns: int
    max_answer_bytes: int
    hold: Reservation
    ticker: Ticker
    now_ns: Callable[[], int]
    ping: bytes

    def cut_event(self, failure: Failure) -> bytes:
        """The last event of a stream that breaks off, in the caller's dialect."""
        ...

    def is_last(self) -> bool:
        """Whether nobody else could be asked any more if the attempt under way failed."""
        ...


class Attempt:
    """One request to one provider, and its answer.

    Attributes:
        asker: who makes the attempt.
        dialect: of the provider.
        secrets: what is taken out of everything that the provider says.
        begun: done at the commit point.
        asked_ns: when the request was written.
        due_ns: when the clock has something to say.
        opening_due_ns: when a whole answer, or the first content of a stream, has to be there.
        status: of the answer; 0 while there is none.
        encoding: of its body, which is undone here; empty where there is none.
        failure: how the answer failed after the commit point.
        first_event_ns: when the first event of a stream came.
        first_content_ns: when its first content came.
        on_first_event: told the time at the first event, of any kind.
        is_faulty: it ended by a fault of ours.
        reader: reads the events, where the answer is a stream.
        usage_of_whole: what was reported, where it is none.
        filter: that its answer passes; None where no rule looks at answers.
        ended_by: why a rule has ended the stream early.
    """

    # Every call makes one: what is the same at each beginning stands on the class, and costs a call nothing.
    asked_ns = 0
    due_ns = ENDLESS
    opening_due_ns = ENDLESS
    status = 0
    encoding = ""
    failure: Failure | None = None
    first_event_ns: int | None = None
    first_content_ns: int | None = None
    is_faulty = False
    reader: StreamReader | None = None
    usage_of_whole = NO_USAGE
    filter: AnswerFilter | None = None
    ended_by: Refusal | None = None
    _body: Body | None = None
    _connection: Connection | None = None
    _decoder: Decoder | None = None

    def __init__(
        self,
        asker: Asker,
        dialect: Dialect,
        secrets: tuple[bytes, ...],
        begun: asyncio.Future[Begun],
        on_first_event: Callable[[int], None],
    ) -> None:
        """Nothing has been asked yet."""
        self.asker = asker
        self.dialect = dialect
        self.secrets = secrets
        self.begun = begun
        self.on_first_event = on_first_event

    # what the call does

    def ask(
        self, connection: Connection, head: bytes, body: bytes, now_ns: int, method: str = "POST"
    ) -> None:
        """Send the request; the answer's deadline runs from here."""
        asker = self.asker
        self._connection = connection
        self.asked_ns = now_ns
        due_ns = self.answer_due_ns
        if asker.wants_stream:
            due_ns = min(due_ns, now_ns + asker.timeouts.first_token_ms * MS_NS)
        self.due_ns = self.opening_due_ns = due_ns
        asker.ticker.add(self)
        connection.send(head, body, self, method)

    def drop(self) -> None:
        """Let go of the connection, whatever it does."""
        self.asker.ticker.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def ask_again(self, begun: asyncio.Future[Begun]) -> None:
        """Forget the request that was sent on a connection which had ended; nothing came of it."""
        self.begun = begun
        self._body = None
        self.asked_ns = self.status = 0

    def let_go(self) -> None:
        """It is settled: nobody who refers to it is referred to any more, so that no collector has to find them."""
        self._body = None
        self.on_first_event = _unheard

    @property
    def usage(self) -> Usage:
        """What the provider has reported so far."""
        return self.usage_of_whole if self.reader is None else self.reader.usage

    @property
    def usage_class(self) -> UsageClass:
        """Whether what was used is known, is not known, or is nothing."""
        if self.usage != NO_USAGE:
            return UsageClass.REPORTED
        # An error has cost nothing; what began to be answered has, and so may what was never answered.
        if self.status >= HTTPStatus.BAD_REQUEST or self.asker.operation in UNMETERED:
            return UsageClass.NONE
        return UsageClass.UNREPORTED

    def stream_reader(self) -> StreamReader | None:
        """A reader for the stream that was asked for; None: nothing is known of what it says."""
        operation = self.asker.operation
        endpoint = None if operation is None else self.dialect.endpoints.get(operation)
        return None if endpoint is None or endpoint.stream_reader is None else endpoint.stream_reader()

    # what the bodies do

    @property
    def answer_due_ns(self) -> int:
        """When an answer has to be there."""
        return self.asker.called_ns + self.asker.timeouts.request_ms * MS_NS

    @property
    def stream_due_ns(self) -> int:
        """When a stream has to be over."""
        return self.asker.called_ns + self.asker.timeouts.stream_ms * MS_NS

    @property
    def may_show_life(self) -> bool:
        """Whether nobody else can answer the call any more, and no rule judges the answer as a whole."""
        return self.asker.is_last() and (self.filter is None or not self.filter.needs_whole)

    def commit(self, begun: Begun) -> None:
        """Say what it has come to, once."""
        if not self.begun.done():  # a call that was cancelled wants to know nothing more
            self.begun.set_result(begun)

    def postpone(self, decide: Callable[[], Awaitable[None]]) -> None:
        """Say that it has to be decided first."""
        begun, self.begun = self.begun, asyncio.get_running_loop().create_future()
        if not begun.done():
            begun.set_result(Undecided(decide))

    def fail(self, failure: Failure) -> None:
        """It has come to nothing, and the application has seen nothing of it."""
        self.drop()
        self.commit(failure)

    def pause(self) -> None:
        """Read no more for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Read on."""
        if self._connection is not None:
            self._connection.resume()

    def finish_early(self, now_ns: int) -> None:
        """The answer is all there; what follows it, usually nothing, is for the connection to see."""
        self.asker.ticker.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.linger(now_ns)

    def fault(self, error: Exception) -> None:
        """Give up for a fault of ours, which must not look like one of the provider."""
        self.drop()
        if not self.begun.done():
            self.begun.set_exception(error)
            return
        _log.error("a stream could not be read on", exc_info=error)
        self.is_faulty = True
        assert self._body is not None, "only what has begun is committed to"  # noqa: S101 - a programming error
        self._body.on_failure(unreadable("Tidegate failed to read it", self.status))

    # what the connection says

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Choose how the body is read."""
        self.status = status
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            # A redirect would send the prompt elsewhere, to a place that nobody has allowed.
            self.fail(redirected(status))
            return
        kept = headers_without(self.secrets, headers)
        encoding = value_of(kept, b"content-encoding").lower().decode("latin-1")
        if encoding not in ("", "identity"):
            if is_understood(encoding):
                self._decoder, self.encoding = Decoder(encoding), encoding
                kept = [it for it in kept if it[0].lower() != b"content-encoding"]
            else:
                self._body = StrangeBody(self, kept)
                return
        self._body = self.plain_body(kept)

    def on_body(self, piece: bytes) -> None:
        assert self._body is not None, "a head comes before a body"  # noqa: S101 - a programming error
        try:
            if self._decoder is None:
                self._body.on_piece(piece)
            else:
                self._decode(self._decoder, piece)
        except (BrokenEncodingError, TooLargeError) as error:
            self._broken(str(error))
        except Exception as error:  # noqa: BLE001 - no answer of a provider may leave a call without an end
            self.fault(error)

    def on_end(self) -> None:
        assert self._body is not None, "a head comes before an end"  # noqa: S101 - a programming error
        self._connection = None
        try:
            if self._decoder is not None:
                self._decoder.finish()
            self._body.on_end()
        except (BrokenEncodingError, TooLargeError) as error:
            self._broken(str(error))
        except Exception as error:  # noqa: BLE001 - the same
            self.fault(error)

    def on_failure(self, fault: ConnectionFault) -> None:
        self._connection = None
        failure = of_connection(fault, self.status)
        if self._body is None:
            self.fail(failure)
        else:
            self._body.on_failure(failure)

    # what the clock says

    def on_due(self, now_ns: int) -> None:
        if self._body is not None:
            self._body.on_due(now_ns)
        else:
            self.fail(self.overdue(now_ns))

    def overdue(self, now_ns: int) -> Failure:
        """The failure that it is when an answer, or a stream's first content, has not come in time."""
        timeouts = self.asker.timeouts
        if now_ns < self.answer_due_ns:
            return timed_out("no content came", timeouts.first_token_ms, "firstToken")
        return timed_out("no answer came", timeouts.request_ms, "request")

    def read_as(self, body: Body, first: bytes) -> None:
        """Go on with another reader, which gets what came so far."""
        self._body = body
        body.on_piece(first)

    def plain_body(self, headers: RawHeaders) -> Body:
        """What reads a body that is in no encoding, or is decoded here."""
        if self.asker.wants_stream and self.status < HTTPStatus.MULTIPLE_CHOICES:
            return SniffedBody(self, headers)
        return WholeBody(self, headers)

    def encoded_body(self, headers: RawHeaders) -> Body:
        """What takes a body that nobody here can read."""
        if self.asker.wants_stream and self.status < HTTPStatus.MULTIPLE_CHOICES and self.filter is None:
            return PassingBody(self, headers)
        return WholeBody(self, headers, is_encoded=True)

    def _decode(self, decoder: Decoder, piece: bytes) -> None:
        """Pass on what `piece` stands for, step by step: a thousand times as much, maybe, so it has the bound of an answer."""
        limit = self.asker.max_answer_bytes
        decoded_bytes = 0
        while True:
            plain = decoder.feed(piece)
            decoded_bytes += len(plain)
            if plain:
                assert self._body is not None, "a head comes before a body"  # noqa: S101 - a programming error
                self._body.on_piece(plain)
            if not decoder.has_more or self._connection is None:
                return
            if decoded_bytes > limit:
                raise TooLargeError(f"A piece of it stands for more than {limit} bytes.")
            piece = b""

    def _broken(self, why: str) -> None:
        assert self._body is not None, "only a body is decoded"  # noqa: S101 - a programming error
        self.drop()
        self._body.on_failure(unreadable(f"its body cannot be decoded: {why.rstrip('.')}", self.status))


def _unheard(_: int) -> None:
    """Stands in the place of who has no interest any more."""
