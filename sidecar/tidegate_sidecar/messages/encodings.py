"""Content encodings undone within a bound: gzip, deflate, br and zstd, and two of them in a row (RFC 9110 section 8.4).

A few bytes can stand for thousands of times as many, so every decoder gives its output in steps of bounded size, and what
was decoded is counted before more is. Besides that output a decoder holds its window: 32 KiB for gzip and deflate, at most
8 MiB for zstd (RFC 9659) and 16 MiB for br.

As other servers do, deflate is taken without the zlib frame that RFC 9110 section 8.4.1.2 demands, and a body of no bytes is
taken for what it is. A gzip or zstd body may have several members or frames, as both formats say.
"""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import Final

from tidegate_sidecar.messages.decompressors import DECODER_ERRORS, DECOMPRESSORS, IN_FRAMES, Decompressor

STEP_BYTES: Final = 256 * 1024
"""Decoded bytes of one step; br may give up to as many again."""
UNDERSTOOD: Final = "gzip, deflate, br, zstd"
"""What this module undoes, as it stands in messages and in Accept-Encoding."""

_MAX_CODINGS: Final = 2
_MAX_FRAMES: Final = 1_000
_PIECE_BYTES: Final = 64 * 1024
_MAX_SHOWN: Final = 40


class EncodingError(ValueError):
    """A body cannot be decoded. The message says why and quotes nothing of the body."""


class UnknownEncodingError(EncodingError):
    """The encoding is not understood."""


class TooLargeError(EncodingError):
    """More was decoded than the limit."""


class BrokenEncodingError(EncodingError):
    """The bytes are not of the encoding, not all of it, or more than it."""


def is_understood(encoding: str) -> bool:
    """Whether `encoding`, the value of a Content-Encoding header, can be undone; "" and "identity" can."""
    try:
        _codings(encoding)
    except UnknownEncodingError:
        return False
    return True


def decode(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """What `body` stands for.

    Raises:
        UnknownEncodingError: see `UNDERSTOOD`.
        TooLargeError: it, or what is decoded on the way, has more than `limit_bytes`.
        BrokenEncodingError: it is not one whole body in this encoding.
    """
    steps = decode_in_slices(body, encoding, limit_bytes)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            decoded: bytes = end.value
            return decoded


def decode_in_slices(body: bytes, encoding: str, limit_bytes: int) -> Generator[None, None, bytes]:
    """The same in steps that are short for the event loop; each yield ends one."""
    decoder = Decoder(encoding, limit_bytes=limit_bytes)
    if decoder.is_plain:
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body
    decoded = BytesIO()  # gives what was written without copying it
    for start in range(0, len(body), _PIECE_BYTES):
        decoded.write(decoder.feed(body[start : start + _PIECE_BYTES]))
        yield
        while decoder.has_more:
            decoded.write(decoder.feed(b""))
            yield
    decoder.finish()
    return decoded.getvalue()


class Decoder:
    """Undoes an encoding while the bytes arrive; each step is bounded.

    Attributes:
        is_plain: there is nothing to undo.
        has_more: `feed(b"")` may give more of what was fed. Feed the next piece when it is false, or pieces pile up.
    """

    __slots__ = ("_stages", "has_more", "is_plain")

    def __init__(self, encoding: str, *, limit_bytes: int | None = None) -> None:
        """Undo the codings of `encoding`, the last one first; `limit_bytes` is what each of them may give in all.

        Raises:
            UnknownEncodingError: see `UNDERSTOOD`.
        """
        self._stages = [_Stage(coding, limit_bytes) for coding in reversed(_codings(encoding))]
        self.is_plain = not self._stages
        self.has_more = False

    def feed(self, piece: bytes) -> bytes:
        """What `piece` adds, at most about `STEP_BYTES` of it at a time.

        Raises:
            TooLargeError: more came out than the limit.
            BrokenEncodingError: the bytes are not of this encoding.
        """
        if self.is_plain:
            return piece
        self._stages[0].push(piece)
        decoded = self._pull(len(self._stages) - 1)
        self.has_more = any(stage.has_more for stage in self._stages)
        return decoded

    def finish(self) -> None:
        """All was fed, and nothing is left to be given.

        Raises:
            BrokenEncodingError: the end is missing.
        """
        if not all(stage.is_whole for stage in self._stages):
            raise BrokenEncodingError("The body ends before its content-encoding does.")

    def _pull(self, index: int) -> bytes:
        stage = self._stages[index]
        if index and not stage.has_more:
            stage.push(self._pull(index - 1))
        return stage.pull()


class _Stage:
    """One coding: its frames one after the other."""

    __slots__ = ("_coding", "_decompressor", "_frames", "_limit", "_pending", "_total", "has_more")

    def __init__(self, coding: str, limit_bytes: int | None) -> None:
        self._coding = coding
        self._limit = limit_bytes
        self._decompressor: Decompressor | None = None
        self._pending = b""
        self._frames = 0
        self._total = 0
        self.has_more = False

    @property
    def is_whole(self) -> bool:
        decompressor = self._decompressor
        return not self._pending and (decompressor is None or decompressor.eof)

    def push(self, piece: bytes) -> None:
        self._pending += piece

    def pull(self) -> bytes:
        decompressor = self._decompressor
        if decompressor is None or decompressor.eof:
            if not self._pending:
                return b""
            decompressor = self._decompressor = self._next_frame()
        data = b""
        if decompressor.needs_input:
            data, self._pending = self._pending, b""
        try:
            decoded = decompressor.decompress(data, STEP_BYTES)
        except DECODER_ERRORS as error:
            raise BrokenEncodingError(
                f"The body does not match its content-encoding {self._coding!r}."
            ) from error
        if decompressor.eof:
            self._pending = decompressor.unused_data + self._pending
            self.has_more = bool(self._pending)
        else:
            self.has_more = bool(self._pending) or not decompressor.needs_input
        self._total += len(decoded)
        if self._limit is not None and self._total > self._limit:
            raise _too_large(self._limit)
        return decoded

    def _next_frame(self) -> Decompressor:
        if self._frames and self._coding not in IN_FRAMES:
            raise BrokenEncodingError(f"Bytes follow the end of the content-encoding {self._coding!r}.")
        if self._frames == _MAX_FRAMES:
            raise BrokenEncodingError(
                f"The body has more than {_MAX_FRAMES} frames of {self._coding!r}; send one."
            )
        self._frames += 1
        return DECOMPRESSORS[self._coding]()


def _codings(encoding: str) -> list[str]:
    """The codings in the order in which they were applied, without those that change nothing."""
    named = (coding.strip(" \t").lower() for coding in encoding.split(","))
    codings = [coding for coding in named if coding not in {"", "identity"}]
    for coding in codings:
        if coding not in DECOMPRESSORS:
            raise UnknownEncodingError(
                f"The content-encoding {coding[:_MAX_SHOWN]!r} is not understood; send {UNDERSTOOD} or none."
            )
    if len(codings) > _MAX_CODINGS:
        raise UnknownEncodingError(
            f"The content-encoding names {len(codings)} codings; at most {_MAX_CODINGS} are undone."
        )
    return codings


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError(f"The body is larger than {limit_bytes} bytes when it is decoded.")
