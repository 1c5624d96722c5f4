"""AnswerReader: the bytes of a connection read as HTTP/1.1 answers, and nothing else.

llhttp reads them. This module adds what it does not say or does not refuse: where exactly an answer ends (it passes over
stray line ends behind one), whether a head is as small as it must be, transfer codings other than chunked, protocols other
than HTTP, and framing that costs more than it carries. It sees bytes and has no clock and no socket, so that every cut of the
same bytes can be tried.

Strict, with two exceptions. Control characters and folded lines within header VALUES are read, because the clients of the
providers' SDKs read them; so are spaces behind the size of a chunk. Nothing that changes where an answer ends is read in
more than one way: two lengths, a length given twice, or a framing header that is folded, are refused.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

Headers = list[tuple[bytes, bytes]]

HEAD_MAX: Final = 128 * 2**10
"""Bytes of a head, with all interim heads before it: more than the clients of the providers' SDKs read (100 KiB, httpcore)."""

_FRAMING_MAX: Final = 64 * 2**10
_FRAMING_PER_BYTE: Final = 16
"""Chunk sizes, extensions and trailers may have so many bytes, and for each byte of the body so many more: a chunk of a single
byte needs five beside it."""

_FINAL: Final = 200
_SWITCHING: Final = 101
_LOWEST: Final = 100
_WITHOUT_BODY: Final = (204, 304)

_NOT_HTTP: Final = "its answer is not HTTP"
_TOO_LARGE: Final = "the head of its answer is larger than 128 KiB"

_SPACE_BEHIND_NAME: Final = re.compile(rb"\r\n[^ \t:\r\n][^:\r\n]*[ \t]:")
_FOLD_BEHIND_STATUS: Final = re.compile(rb"(?:\A|\r\n\r\n)HTTP/[^\r\n]*\r\n[ \t]")
_HALF_A_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_FOLD_IN_FRAMING: Final = re.compile(
    rb"\r\n(?:content-length|transfer-encoding)[ \t]*:[^\r\n]*\r\n[ \t]", re.IGNORECASE
)


class GarbageError(Exception):
    """The bytes are no answer. The message is for people and quotes none of them."""


class _StopParsing(Exception):  # noqa: N818 - it is no error
    """Raised in a callback so that llhttp reads no further."""


class AnswerReader:
    """Reads the answers of one connection, one after the other. `expect` comes before each of them.

    Attributes:
        status: of the final head; 0 until that is complete. Interim heads (1xx) are passed over.
        headers: of the final head, as they came; white space behind a value still stands there.
        pieces: of the body, since they were last taken.
        is_done: the answer is over, framing proper.
    """

    __slots__ = ("_body_bytes", "_fed_bytes", "_head_bytes", "_head_parts", "_interim_heads", "_is_chunked", "_is_lenient",
                 "_is_spent", "_is_stopped", "_keeps_alive", "_lines", "_may_have_body", "_parser", "_problem", "_tail", "headers",
                 "is_done", "pieces", "status")  # fmt: skip

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        self._is_stopped = True
        self.expect("GET")

    def expect(self, method: str) -> None:
        """Make ready for the answer to a request by `method`."""
        if self._is_stopped:
            self._parser = _parser(self)
            self._is_stopped = self._is_lenient = False
        self._may_have_body = method != "HEAD"
        self._is_chunked = self._is_spent = self._keeps_alive = self.is_done = False
        self._body_bytes = self._fed_bytes = self._head_bytes = self._interim_heads = self.status = 0
        self._head_parts: list[bytes] = []
        self._problem = ""
        self._tail = b""
        self._lines: Headers = []
        self.headers = self._lines
        self.pieces: list[bytes] = []

    @property
    def has_begun(self) -> bool:
        """Whether a byte of the answer has come."""
        return self._fed_bytes > 0

    @property
    def is_reusable(self) -> bool:
        """Whether the connection may carry another request: the answer is over, and not a byte came behind it."""
        if not self.is_done or not self._keeps_alive or self._is_spent or self._is_lenient:
            return False
        if self._is_chunked:
            # Only line ends can have been passed over, and the end of a chunked body has exactly two.
            return self._tail.endswith(b"\r\n\r\n") and self._tail[0] not in b"\r\n"
        return self._fed_bytes == self._head_bytes + self._body_bytes

    def feed(self, data: bytes) -> None:
        """Read on. What has come stands in the attributes afterwards.

        Raises:
            GarbageError: this is no answer, or no more of it; the connection is of no use any more. What came before it
                stands in the attributes: no status, if that was not all of a proper head.
        """
        parser = self._parser
        assert parser is not None, "a reader that is let go of reads nothing"  # noqa: S101 - a programming error
        is_in_head = not self.status
        self._fed_bytes += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not (self.status or self._problem or self._is_lenient):
                self._read_leniently(data)
                return
            self._stop()
        if is_in_head:
            self._read_head(data)
        elif self._is_chunked:
            self._check_framing(data)
        if self._problem:
            raise GarbageError(self._problem)

    def take_body(self) -> bytes:
        """What has come of the body since the last time, in one piece."""
        pieces = self.pieces
        self.pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> bool:
        """The connection has ended. Whether that is the end of the answer: of one that names no length it is."""
        if not self.status or self.is_done or self._is_chunked:
            return False
        self.is_done = not any(name.lower() == b"content-length" for name, _ in self.headers)
        return self.is_done

    def let_go(self) -> None:
        """Nothing will be read any more: parser and reader refer to each other, and would wait for the collector."""
        self._parser = None
        self._is_stopped = True

    # What the parser says. It is never told anything from here, so that nothing can enter it again.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        if self.status:
            raise _StopParsing  # a second answer, which is nobody's
        assert self._parser is not None  # noqa: S101 - it is calling
        self.headers, self._lines = self._lines, []  # trailers go nowhere
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self.status = status
            if status in _WITHOUT_BODY or not self._may_have_body:
                self._may_have_body = False
                self._keeps_alive = self._parser.should_keep_alive()
                raise _StopParsing  # llhttp cannot be told of HEAD, and would wait for a body
        elif status == _SWITCHING:
            self._problem = "it switches to a protocol that nobody asked for"
            raise _StopParsing
        elif status < _LOWEST or _names_body(self.headers):
            self._problem = _NOT_HTTP
            raise _StopParsing
        else:
            self._interim_heads += 1

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self._body_bytes += len(piece)

    def on_message_complete(self) -> None:
        if self.status:
            assert self._parser is not None  # noqa: S101 - it is calling
            self.is_done = True
            self._keeps_alive = self._parser.should_keep_alive()

    # What llhttp does not say, or does not refuse.

    def _stop(self) -> None:
        self._is_stopped = True
        if self.is_done:
            self._is_spent = True  # something came behind the answer
        elif self.status and not self._may_have_body:
            self.is_done = True
        else:
            self._problem = self._problem or _NOT_HTTP

    def _read_leniently(self, data: bytes) -> None:
        """Begin again, with a parser that passes over what is wrong with values."""
        head = b"".join((*self._head_parts, data))
        self.expect("GET" if self._may_have_body else "HEAD")
        self._parser = _parser(self)
        self._parser.set_dangerous_leniencies(lenient_headers=True)
        self._is_lenient = True
        self.feed(head)

    def _read_head(self, data: bytes) -> None:
        if not self.status:
            if self._fed_bytes > HEAD_MAX:
                self._problem = self._problem or _TOO_LARGE
            self._head_parts.append(data)
            return
        if self._head_parts:
            data = b"".join((*self._head_parts, data))
            self._head_parts = []
        end = head_end(data, self._interim_heads)
        if end < 0 or end > HEAD_MAX or (self._is_lenient and not _is_readable(data[:end])):
            self._refuse_head(_TOO_LARGE if end > HEAD_MAX else _NOT_HTTP)
            return
        self._head_bytes = end
        # If a head and a body came and not a byte more, there is no coding: its framing would be among them.
        if self._fed_bytes != end + self._body_bytes or not self.is_done or not self._may_have_body:
            self._read_coding()
            if self._is_chunked:
                self._check_framing(data)

    def _read_coding(self) -> None:
        codings = [value for name, value in self.headers if name.lower() == b"transfer-encoding"]
        if not codings:
            return
        if len(codings) > 1 or codings[0].rstrip(b" \t").lower() != b"chunked":
            self._refuse_head("its answer has a transfer coding other than chunked")
            return
        self._is_chunked = self._may_have_body
        assert self._parser is not None  # noqa: S101 - it has just read
        self._is_spent |= self._parser.get_http_version() != "1.1"  # RFC 9112, section 6.1: faulty framing

    def _refuse_head(self, problem: str) -> None:
        """Nothing of such an answer is told."""
        self._problem = problem
        self.status = 0
        self.is_done = False
        self.pieces = []

    def _check_framing(self, data: bytes) -> None:
        self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]  # noqa: PLR2004 - what `is_reusable` looks at
        framing_bytes = self._fed_bytes - self._head_bytes - self._body_bytes
        if framing_bytes > _FRAMING_MAX + _FRAMING_PER_BYTE * self._body_bytes:
            self._problem = "its answer has far more framing than body"


def head_end(data: bytes, interim_heads: int) -> int:
    """Where the final head ends that `data` begins with, behind so many interim ones; -1 if these are not heads of HTTP.

    llhttp reads those of RTSP and ICE, too, and passes over line ends before a head.
    """
    end = 0
    for _ in range(interim_heads + 1):
        if not data.startswith(b"HTTP/", end):
            return -1
        end = data.find(b"\r\n\r\n", end) + 4
        if end < 4:  # noqa: PLR2004 - it was not found
            return -1
    return end


def _names_body(headers: Headers) -> bool:
    """Whether an interim head does, which has none (RFC 9112, section 6.3): llhttp would look for it behind some of them."""
    return any(
        name.lower() == b"transfer-encoding" or (name.lower() == b"content-length" and value.strip() != b"0")
        for name, value in headers
    )


def _is_readable(head: bytes) -> bool:
    """Whether heads that were read with leniency needed it for values only, and not where they say how long the answer is."""
    return not (
        b"\0" in head
        or _HALF_A_LINE_END.search(head)
        or _FOLD_BEHIND_STATUS.search(head)
        or _FOLD_IN_FRAMING.search(head)
        or _SPACE_BEHIND_NAME.search(head)
    )


def _parser(reader: AnswerReader) -> httptools.HttpResponseParser:
    parser = httptools.HttpResponseParser(reader)
    # The latter for interim heads: what follows an answer is found and nobody's.
    parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True, lenient_keep_alive=True)
    return parser
