"""Encodings of requests and answers are undone, and never beyond a bound."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.messages.encodings import (
    STEP_BYTES,
    BrokenEncodingError,
    Decoder,
    EncodingError,
    TooLargeError,
    UnknownEncodingError,
    decode,
    decode_in_slices,
    is_understood,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 1024 * 1024
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: bytes(brotli.compress(body, quality=5)),
    "zstd": zstd.compress,
}
KINDS = {
    **{name: (name, encode) for name, encode in ENCODERS.items()},
    "raw deflate": ("deflate", raw_deflate),
}
EVERY_KIND = pytest.mark.parametrize(("encoding", "encode"), KINDS.values(), ids=KINDS)


@EVERY_KIND
def test_a_body_is_decoded(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    assert decode(encode(BODY), encoding, LIMIT) == BODY
    assert decode(encode(BODY), f" {encoding.upper()} ", LIMIT) == BODY
    assert decode(encode(b""), encoding, LIMIT) == b""
    assert decode(b"", encoding, LIMIT) == b""


@pytest.mark.parametrize("encoding", ["", "identity", "Identity, identity", " , "])
def test_a_body_without_an_encoding_is_itself(encoding: str) -> None:
    assert decode(BODY, encoding, LIMIT) is BODY
    with pytest.raises(TooLargeError):
        decode(BODY, encoding, len(BODY) - 1)


@given(
    body=st.binary(max_size=2_000) | st.binary(max_size=4).map(lambda part: part * 20_000),
    codings=st.lists(st.sampled_from(sorted(ENCODERS)), max_size=2),
    cuts=st.lists(st.integers(1, 50), max_size=20),
)
def test_two_codings_are_undone_in_reverse_however_the_bytes_arrive(
    body: bytes, codings: list[str], cuts: list[int]
) -> None:
    encoded = body
    for coding in codings:
        encoded = ENCODERS[coding](encoded)
    encoding = ", ".join(codings)
    assert decode(encoded, encoding, LIMIT) == body
    decoder, decoded = Decoder(encoding), []
    for cut in (*cuts, len(encoded)):
        decoded.append(decoder.feed(encoded[:cut]))
        encoded = encoded[cut:]
        while decoder.has_more:
            decoded.append(decoder.feed(b""))
    decoder.finish()
    assert b"".join(decoded) == body


@pytest.mark.parametrize("encoding", ["compress", "gzip, foo", "aws-chunked", "gzip;q=1", "x" * 1_000])
def test_an_encoding_that_is_not_understood_is_named_with_those_that_are(encoding: str) -> None:
    with pytest.raises(UnknownEncodingError, match="send gzip, deflate, br, zstd or none") as caught:
        decode(BODY, encoding, LIMIT)
    assert len(str(caught.value)) < 200
    assert not is_understood(encoding)
    with pytest.raises(UnknownEncodingError):
        Decoder(encoding)


def test_at_most_two_codings_are_undone() -> None:
    assert is_understood("gzip, identity, br")
    assert not is_understood("gzip, br, gzip")
    with pytest.raises(UnknownEncodingError, match="names 3 codings"):
        decode(BODY, "gzip, gzip, gzip", LIMIT)


@EVERY_KIND
def test_a_body_of_the_limit_is_decoded_and_one_byte_more_is_not(
    encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    body = b"0123456789" * 1_000
    assert decode(encode(body), encoding, 10_000) == body
    with pytest.raises(TooLargeError, match="10000 bytes"):
        decode(encode(body + b"x"), encoding, 10_000)


@EVERY_KIND
def test_a_bomb_stops_at_the_bound(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    """Of a thousand times its size; what is held is the limit, a step of output and the growth of the buffer."""
    bomb = encode(b"\0" * (32 * LIMIT))
    assert len(bomb) < 32 * LIMIT // 900
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            decode(bomb, encoding, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * LIMIT + 2 * STEP_BYTES


def test_a_bomb_within_a_bomb_stops_at_the_bound_of_either() -> None:
    twice = gzip.compress(gzip.compress(b"\0" * (32 * LIMIT)))
    with pytest.raises(TooLargeError):
        decode(twice, "gzip, gzip", LIMIT)
    of_nothing = gzip.compress(gzip.compress(b"") * 100_000)
    with pytest.raises(EncodingError):
        decode(of_nothing, "gzip, gzip", LIMIT)


@EVERY_KIND
def test_each_step_of_an_answer_is_bounded(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    decoder, total = Decoder(encoding), 0
    decoded = decoder.feed(encode(b"\0" * (8 * LIMIT)))
    while True:
        assert len(decoded) <= 2 * STEP_BYTES
        total += len(decoded)
        if not decoder.has_more:
            break
        decoded = decoder.feed(b"")
    decoder.finish()
    assert total == 8 * LIMIT


@EVERY_KIND
def test_a_large_body_is_decoded_in_steps(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    body = bytes(range(256)) * 8 * 1024
    steps, count = decode_in_slices(encode(body), encoding, len(body)), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert end.value == body  # noqa: PT017 - it is what the generator returns
            break
        count += 1
    assert count >= len(body) // STEP_BYTES // 2


@EVERY_KIND
def test_a_body_that_is_cut_anywhere_is_refused(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    encoded = encode(BODY)
    for length in range(1, len(encoded)):
        with pytest.raises(BrokenEncodingError):
            decode(encoded[:length], encoding, LIMIT)


@EVERY_KIND
@pytest.mark.parametrize("more", [b"x", b"\0", b"garbage" * 20_000])
def test_bytes_behind_the_end_are_refused(
    encoding: str, encode: Callable[[bytes], bytes], more: bytes
) -> None:
    with pytest.raises(BrokenEncodingError):
        decode(encode(BODY) + more, encoding, LIMIT)
    decoder = Decoder(encoding)
    decoder.feed(encode(BODY))
    with pytest.raises(BrokenEncodingError):  # noqa: PT012 - whether the bytes or their end says so
        decoder.feed(more)
        decoder.finish()


@EVERY_KIND
def test_what_is_of_no_encoding_is_refused_and_not_quoted(
    encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    del encode
    with pytest.raises(BrokenEncodingError) as caught:
        decode(b"a secret prompt, written plainly", encoding, LIMIT)
    assert "secret" not in str(caught.value)


@given(body=st.binary(max_size=100), encoding=st.sampled_from(sorted(ENCODERS)))
def test_no_bytes_make_a_decoder_raise_anything_else(body: bytes, encoding: str) -> None:
    try:
        decode(body, encoding, LIMIT)
    except EncodingError as error:
        assert str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_frames_in_a_row_are_one_body(encoding: str) -> None:
    """RFC 1952 section 2.2 and RFC 8878 section 3: as bgzip and long-running writers make them."""
    frames = b"".join(ENCODERS[encoding](bytes([65 + number])) for number in range(20))
    assert decode(frames, encoding, LIMIT) == b"ABCDEFGHIJKLMNOPQRST"


def test_frames_are_bounded_in_number() -> None:
    with pytest.raises(BrokenEncodingError, match="more than 1000 frames"):
        decode(gzip.compress(b"") * 1_001, "gzip", LIMIT)


def test_a_window_of_zstd_beyond_8_mib_is_refused() -> None:
    """RFC 9659: it is memory that the sender chooses."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 25})
    encoded = compressor.compress(b"x" * 100) + compressor.flush()
    with pytest.raises(BrokenEncodingError):
        decode(encoded, "zstd", LIMIT)


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    decoder = Decoder("gzip")
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        piece = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert decoder.feed(piece) == event
        assert not decoder.has_more
