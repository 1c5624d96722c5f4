"""Ways in which the body of a provider's answer is read: whole, passed on unread, or not known before its first byte.

`stream_body.py` has the fourth, events. Each is told pieces, the end, a failure and the clock by its `Attempt`.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from tidegate_sidecar.proxy.answer import Answer, Whole
from tidegate_sidecar.proxy.failure import Failure, not_judged, timed_out
from tidegate_sidecar.proxy.filtered_streams import stream_of
from tidegate_sidecar.proxy.headers import media_type
from tidegate_sidecar.proxy.redact import StreamRedactor, without
from tidegate_sidecar.proxy.rest import PushedRest
from tidegate_sidecar.proxy.stream_body import LOOK_AGAIN_NS, SIGN_OF_LIFE_NS

if TYPE_CHECKING:
    from tidegate_sidecar.dialects.base import RawHeaders
    from tidegate_sidecar.proxy.attempt import Attempt

MAX_ERROR_BYTES: Final = 2**20
"""How much of a provider's error is kept to be passed on."""

ERROR_BODY_NS: Final = 5_000_000_000
"""How long a provider may take to finish an error's body: its status has said enough."""

_NO_EVENTS: Final = b'{[<"'
"""A body whose first byte is one of these holds no events, whatever it is labelled."""

_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
"""What may stand before it: white space, and the bytes of a byte order mark."""


TELLING_BYTES: Final = 32
"""Of a body that tell text from what is compressed or encrypted, which has other bytes than these among its first."""

_TEXT: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\t\r\n -~]*\Z")


class Body(Protocol):
    """Reads the body of one answer."""

    def on_piece(self, piece: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_failure(self, failure: Failure) -> None: ...

    def on_due(self, now_ns: int) -> None: ...


class WholeBody:
    """Holds an answer until it is all there, so that a failure can still be followed by another attempt.

    One that is larger than what may be held is passed on as it comes from there on, and its usage stays unread.
    """

    __slots__ = ("_attempt", "_headers", "_is_encoded", "_is_error", "_pieces", "_size")

    def __init__(
        self,
        attempt: Attempt,
        headers: RawHeaders,
        *,
        is_encoded: bool = False,
        is_error: bool | None = None,
    ) -> None:
        self._attempt = attempt
        self._headers = headers
        self._is_encoded = is_encoded
        self._is_error = attempt.status >= HTTPStatus.BAD_REQUEST if is_error is None else is_error
        self._pieces: list[bytes] = []
        self._size = 0
        asker = attempt.asker
        attempt.due_ns = attempt.answer_due_ns
        if self._is_error:
            attempt.due_ns = min(attempt.due_ns, asker.now_ns() + ERROR_BODY_NS)

    def on_piece(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        asker = self._attempt.asker
        if self._is_error:
            has_room = asker.hold.grow_answer(self._size, len(piece))
            if self._size >= MAX_ERROR_BYTES or not has_room:
                self._finish(self._body()[:MAX_ERROR_BYTES])
            return
        if self._size > asker.max_answer_bytes or not asker.hold.grow_answer(self._size, len(piece)):
            self._pass_on()

    def on_end(self) -> None:
        self._attempt.commit(Whole(self._attempt.status, self._headers, self._body(), self._is_encoded))
        self._attempt.drop()

    def on_failure(self, failure: Failure) -> None:
        if self._is_error:
            self._finish(
                self._body()
            )  # the status is the answer: the caller gets the part of the words that came
        else:
            self._attempt.fail(failure)

    def on_due(self, now_ns: int) -> None:  # noqa: ARG002 - there is one deadline
        if self._is_error:
            self._finish(self._body())
        else:
            self._attempt.fail(
                timed_out("the answer was not over", self._attempt.asker.timeouts.request_ms, "request")
            )

    def _body(self) -> bytes:
        pieces = self._pieces
        return without(self._attempt.secrets, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _finish(self, body: bytes) -> None:
        self._attempt.drop()
        self._attempt.commit(Whole(self._attempt.status, self._headers, body, self._is_encoded))

    def _pass_on(self) -> None:
        if self._attempt.filter is not None:
            self._attempt.fail(not_judged("it is larger than what rules can look at", self._attempt.status))
            return
        pieces, self._pieces = b"".join(self._pieces), []
        self._attempt.read_as(PassingBody(self._attempt, self._headers), pieces)


class PassingBody(PushedRest):
    """Passes a body on as it comes, unread but for secrets. If it breaks off the response is cut, which is all that can be said."""

    __slots__ = ("_headers", "_redactor")

    def __init__(self, attempt: Attempt, headers: RawHeaders) -> None:
        super().__init__(attempt)
        self._headers = headers
        self._redactor = StreamRedactor(attempt.secrets)
        attempt.due_ns = attempt.stream_due_ns if attempt.asker.wants_stream else attempt.answer_due_ns

    def on_piece(self, piece: bytes) -> None:
        piece = self._redactor.feed(piece)
        if not self._attempt.begun.done():
            self._attempt.commit(Answer(self._attempt.status, self._headers, piece, self))
        else:
            self.push(piece)

    def on_end(self) -> None:
        if not self._attempt.begun.done():
            self._attempt.commit(Answer(self._attempt.status, self._headers, self._redactor.finish()))
            self._attempt.drop()
        else:
            self.end(self._redactor.finish())

    def on_failure(self, failure: Failure) -> None:
        if not self._attempt.begun.done():
            self._attempt.fail(failure)
        else:
            self.cut(failure)

    def on_due(self, now_ns: int) -> None:  # noqa: ARG002 - there is one deadline
        timeouts = self._attempt.asker.timeouts
        field = "stream" if self._attempt.asker.wants_stream else "request"
        limit_ms = timeouts.stream_ms if self._attempt.asker.wants_stream else timeouts.request_ms
        self.on_failure(timed_out("the answer was not over", limit_ms, field))


class SniffedBody:
    """Decides by its first byte whether a body holds events: labels are wrong too often to be believed."""

    __slots__ = ("_attempt", "_headers", "_seen")

    def __init__(self, attempt: Attempt, headers: RawHeaders) -> None:
        self._attempt = attempt
        self._headers = headers
        self._seen = b""
        if media_type(headers) == b"text/event-stream":
            attempt.due_ns = min(attempt.opening_due_ns, attempt.asker.called_ns + SIGN_OF_LIFE_NS)

    def on_piece(self, piece: bytes) -> None:
        self._seen += piece
        begins = self._seen.lstrip(_BLANK)[:1]
        if not begins:
            if len(self._seen) > MAX_ERROR_BYTES:
                self._attempt.read_as(stream_of(self._attempt, self._headers), self._seen)
            return
        if begins in _NO_EVENTS:
            self._attempt.read_as(WholeBody(self._attempt, self._headers), self._seen)
        else:
            self._attempt.read_as(stream_of(self._attempt, self._headers), self._seen)

    def on_end(self) -> None:
        self._attempt.read_as(stream_of(self._attempt, self._headers), self._seen)
        self._attempt.on_end()

    def on_failure(self, failure: Failure) -> None:
        self._attempt.fail(failure)

    def on_due(self, now_ns: int) -> None:
        attempt = self._attempt
        if now_ns >= attempt.opening_due_ns:
            attempt.fail(attempt.overdue(now_ns))
        elif attempt.may_show_life:
            attempt.read_as(stream_of(attempt, self._headers), self._seen)
            attempt.on_due(now_ns)
        else:
            attempt.due_ns = min(attempt.opening_due_ns, now_ns + LOOK_AGAIN_NS)


class StrangeBody:
    """Of an encoding that is not known: decides by its first bytes whether it is in one at all.

    Some servers name `none`, or a character set, and the SDKs pass over such names.
    """

    __slots__ = ("_attempt", "_headers", "_seen")

    def __init__(self, attempt: Attempt, headers: RawHeaders) -> None:
        self._attempt = attempt
        self._headers = headers
        self._seen = b""

    def on_piece(self, piece: bytes) -> None:
        self._seen += piece
        if len(self._seen) >= TELLING_BYTES:
            self._decide()

    def on_end(self) -> None:
        self._decide()
        self._attempt.on_end()

    def on_failure(self, failure: Failure) -> None:
        self._attempt.fail(failure)

    def on_due(self, now_ns: int) -> None:
        self._attempt.fail(self._attempt.overdue(now_ns))

    def _decide(self) -> None:
        attempt = self._attempt
        is_text = _TEXT.match(self._seen, 0, TELLING_BYTES) is not None
        body = attempt.plain_body(self._headers) if is_text else attempt.encoded_body(self._headers)
        attempt.read_as(body, self._seen)
