"""Decoders of single encodings in one shape, that of the standard library's newer ones: output is given in bounded steps."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

import brotli  # type: ignore[import-untyped]  # it has no types

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD_WINDOW_LOG: Final = 23
"""RFC 9659 section 3: a decoder need not take windows of more than 8 MiB, which are memory that the sender chooses."""

DECODER_ERRORS: Final = (zlib.error, zstd.ZstdError, brotli.error)
"""What `decompress` raises where the bytes are not of the encoding."""


class Decompressor(Protocol):
    """One frame of an encoding on its way.

    Attributes:
        eof: its end was read.
        needs_input: nothing more comes of what was given; while it is false, give no bytes.
        unused_data: what followed the end in the bytes that were given last.
    """

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Inflate:
    """zlib's decoder in the standard library's newer shape."""

    __slots__ = ("_decoder", "_tail", "eof", "needs_input", "unused_data")

    def __init__(self, window_bits: int) -> None:
        self._decoder = zlib.decompressobj(window_bits)
        self._tail = b""
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        decoded = self._decoder.decompress(self._tail + data, max_length)
        self._tail = self._decoder.unconsumed_tail
        self.eof = self._decoder.eof
        self.unused_data = self._decoder.unused_data
        self.needs_input = not self._tail and len(decoded) < max_length
        return decoded


class _Deflate:
    """Deflate with or without the frame of zlib, which its first two bytes tell (RFC 1950 section 2.2)."""

    __slots__ = ("_begin", "_inflate")

    def __init__(self) -> None:
        self._begin = b""
        self._inflate: _Inflate | None = None

    @property
    def eof(self) -> bool:
        return self._inflate is not None and self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return self._inflate is None or self._inflate.needs_input

    @property
    def unused_data(self) -> bytes:
        return b"" if self._inflate is None else self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._inflate is None:
            data = self._begin + data
            if len(data) < 2:  # noqa: PLR2004 - the two bytes of the header
                self._begin = data
                return b""
            is_framed = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = _Inflate(zlib.MAX_WBITS if is_framed else -zlib.MAX_WBITS)
        return self._inflate.decompress(data, max_length)


class _Brotli:
    """The br decoder in the same shape. It refuses what follows its end by itself."""

    __slots__ = ("_decoder", "_is_filled")

    unused_data = b""

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self._is_filled = False

    @property
    def eof(self) -> bool:
        return bool(self._decoder.is_finished())

    @property
    def needs_input(self) -> bool:
        # It also says that it takes more while output waits for which all input was read.
        return not self._is_filled and bool(self._decoder.can_accept_more_data())

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        decoded: bytes = self._decoder.process(data, output_buffer_limit=max_length)
        self._is_filled = len(decoded) >= max_length
        return decoded


def _gunzip() -> Decompressor:
    return _Inflate(16 + zlib.MAX_WBITS)


def _unzstd() -> Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


DECOMPRESSORS: Final[dict[str, Callable[[], Decompressor]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _unzstd,
}
IN_FRAMES: Final = frozenset({"gzip", "x-gzip", "zstd"})
