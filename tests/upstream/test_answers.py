"""What is an answer and where it ends, for every way in which its bytes can be cut."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.upstream.answer import HEAD_MAX, AnswerReader, GarbageError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_done: bool
    is_reusable: bool


def read(*pieces: bytes, method: str = "POST", eof: bool = False) -> Read | str:
    """What a reader makes of the pieces, or why it refuses them."""
    reader = AnswerReader()
    reader.expect(method)
    body = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            body += reader.take_body()
    except GarbageError as error:
        return str(error)
    if eof:
        reader.end()
    return Read(reader.status, reader.headers, body, reader.is_done, reader.is_reusable)


def whole(data: bytes, *, method: str = "POST", eof: bool = False) -> Read:
    found = read(data, method=method, eof=eof)
    assert isinstance(found, Read), found
    assert found.is_done
    return found


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


class Sample(NamedTuple):
    data: bytes
    body: bytes = b"hi"
    status: int = 200
    is_reusable: bool = True
    method: str = "POST"
    eof: bool = False


ANSWERS = {
    "a length": Sample(OK + b"content-length: 2\r\n\r\nhi"),
    "no body": Sample(OK + b"content-length: 0\r\n\r\n", b""),
    "chunks": Sample(CHUNKED + b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"),
    "a chunk with an extension, and trailers": Sample(CHUNKED + b'2;a=b;c="d"\r\nhi\r\n0;x\r\nt: v\r\nu: w\r\n\r\n'),
    "a chunk size with spaces behind it": Sample(CHUNKED + b"2  \r\nhi\r\n0\r\n\r\n"),
    "a body of line ends": Sample(OK + b"content-length: 4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    "chunks of line ends": Sample(CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    "no reason": Sample(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi"),
    "an empty reason": Sample(b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nhi"),
    "interim heads": Sample(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi"
    ),
    "an interim head that names a length": Sample(
        b"HTTP/1.1 103 X\r\ncontent-length: 0\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi"
    ),
    "an offer to upgrade": Sample(OK + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi"),
    "an answer to HEAD": Sample(OK + b"content-length: 2\r\n\r\n", b"", method="HEAD"),
    "an answer to HEAD that would be chunked": Sample(CHUNKED, b"", method="HEAD"),
    "204 with a length": Sample(b"HTTP/1.1 204 X\r\ncontent-length: 2\r\n\r\n", b"", 204),
    "304 that would be chunked": Sample(b"HTTP/1.1 304 X\r\ntransfer-encoding: chunked\r\n\r\n", b"", 304),
    "the last one": Sample(OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", is_reusable=False),
    "HTTP/1.0": Sample(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", is_reusable=False),
    "HTTP/1.0 that is kept": Sample(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi"),
    "HTTP/1.0 in chunks": Sample(
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        is_reusable=False,
    ),
    "no length": Sample(OK + b"x: y\r\n\r\nhi", is_reusable=False, eof=True),
    "no length and no byte": Sample(OK + b"\r\n", b"", is_reusable=False, eof=True),
    "a control character in a value": Sample(OK + b"x: a\x01b\x7f\r\ncontent-length: 2\r\n\r\nhi", is_reusable=False),
    "a folded value": Sample(OK + b"x: a\r\n  b\r\ncontent-length: 2\r\n\r\nhi", is_reusable=False),
    "a control character in an answer to HEAD": Sample(
        OK + b"x: a\x01b\r\ncontent-length: 2\r\n\r\n", b"", is_reusable=False, method="HEAD"
    ),
    "a control character behind an interim head": Sample(
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"x: a\x01b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        is_reusable=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("sample", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_read_whole_and_cut_at_any_byte(sample: Sample) -> None:
    data = sample.data
    at_once = whole(data, method=sample.method, eof=sample.eof)
    assert (at_once.status, at_once.body) == (sample.status, sample.body)
    assert at_once.is_reusable is sample.is_reusable
    assert read(*bytewise(data), method=sample.method, eof=sample.eof) == at_once
    for at in range(1, len(data)):
        assert read(data[:at], data[at:], method=sample.method, eof=sample.eof) == at_once, at


@pytest.mark.parametrize(
    "sample", [it for it in ANSWERS.values() if not it.eof], ids=[k for k, v in ANSWERS.items() if not v.eof]
)
@pytest.mark.parametrize(
    "stray",
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"H", b"HTTP/1.1 20", OK + b"content-length: 2\r\n\r\nno", CHUNKED, b"0\r\n\r\n", b"hi"],
)  # fmt: skip
def test_a_byte_behind_an_answer_is_nobodys(sample: Sample, stray: bytes) -> None:
    """In the same read: the answer is what it is, and the connection carries no other."""
    for pieces in (
        [sample.data + stray],
        [sample.data[:-1], sample.data[-1:] + stray],
        [sample.data[:-3], sample.data[-3:] + stray],
    ):
        found = read(*pieces, method=sample.method)
        assert isinstance(found, Read), found
        assert (found.status, found.body, found.is_done) == (sample.status, sample.body, True)
        assert not found.is_reusable


GARBAGE = {
    "nothing like it": b"SSH-2.0-OpenSSH_9.6\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    "HTTP/2": b"\0\0\x12\x04\0\0\0\0\0",
    "a line end before it": b"\r\n" + OK + b"content-length: 2\r\n\r\nhi",
    "line ends behind an interim head": b"HTTP/1.1 100 C\r\n\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    "one bare line feed": OK + b"x: y\ncontent-length: 2\r\n\r\nhi",
    "a bare carriage return": OK + b"x: y\rz\r\ncontent-length: 2\r\n\r\nhi",
    "both lengths": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "both lengths, the other first": CHUNKED[:-2] + b"content-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    "a length twice": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi",
    "a list of lengths": OK + b"content-length: 2, 2\r\n\r\nhi",
    "a signed length": OK + b"content-length: +2\r\n\r\nhi",
    "a length in another base": OK + b"content-length: 0x2\r\n\r\nhi",
    "a length without digits": OK + b"content-length: \r\n\r\nhi",
    "a length beyond all": OK + b"content-length: 99999999999999999999\r\n\r\nhi",
    "a folded length": OK + b"content-length:\r\n 2\r\n\r\nhi",
    "a length that goes on in a fold": OK + b"content-length: 2\r\n 0\r\n\r\nhi",
    "a space before the colon of a length": OK + b"content-length : 2\r\n\r\nhi",
    "a space before a colon": OK + b"x : y\r\ncontent-length: 2\r\n\r\nhi",
    "a control character in a length": OK + b"content-length: 2\x01\r\n\r\nhi",
    "a folded coding": OK + b"transfer-encoding:\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "a coding that ends in a fold": OK + b"transfer-encoding: chunked\r\n \r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "a control character in a coding": OK + b"transfer-encoding: \x0bchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "a control character and a line feed alone": OK + b"x: \x01\n\r\ny: z\r\ncontent-length: 2\r\n\r\nhi",
    "a control character and two carriage returns": OK + b"x: \x01\r\ny: \r\r\nz: 2\r\ncontent-length: 2\r\n\r\nhi",
    "a control character elsewhere and a length as a fold": OK + b"x: \x01\r\ncontent-length:\r\n 2\r\n\r\nhi",
    "another coding": OK + b"transfer-encoding: gzip\r\n\r\nhi",
    "another coding, and chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "chunked within another coding": OK + b"transfer-encoding: chunked, gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "identity": OK + b"transfer-encoding: identity\r\n\r\nhi",
    "chunked twice": CHUNKED[:-2] + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "no coding": OK + b"transfer-encoding: \r\n\r\nhi",
    "a chunk in another base": CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
    "a signed chunk": CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n",
    "a chunk beyond all": CHUNKED + b"fffffffffffffffff\r\nhi",
    "a chunk with a bare line feed": CHUNKED + b"2\nhi\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"2\r\nhii\r\n0\r\n\r\n",
    "a chunk without an end": CHUNKED + b"2\r\nhi0\r\n\r\n",
    "a line feed in an extension": CHUNKED + b"2;a\nb\r\nhi\r\n0\r\n\r\n",
    "an interim head with a coding": b"HTTP/1.1 150 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi",
    "a NUL in a value": OK + b"x: a\0b\r\ncontent-length: 2\r\n\r\nhi",
    "a header without a name": OK + b": y\r\ncontent-length: 2\r\n\r\nhi",
    "a header without a colon": OK + b"xy\r\ncontent-length: 2\r\n\r\nhi",
    "a name that is none": OK + b"x\xe9: y\r\ncontent-length: 2\r\n\r\nhi",
    "a fold behind the status": OK + b" x: y\r\ncontent-length: 2\r\n\r\nhi",
    "a status below all": b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nhi",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nhi",
    "a version that is none": b"HTTP/1.7 200 OK\r\ncontent-length: 2\r\n\r\nhi",
}  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_has_no_one_meaning_is_no_answer(data: bytes) -> None:
    assert isinstance(read(data), str)
    assert isinstance(read(*bytewise(data)), str)
    for at in range(1, len(data)):
        assert isinstance(read(data[:at], data[at:]), str), at


@pytest.mark.parametrize("head", [b"", b"connection: upgrade\r\nupgrade: websocket\r\n"])
def test_nobody_asked_for_another_protocol(head: bytes) -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n\x81\x02hi"
    assert read(data) == "it switches to a protocol that nobody asked for"
    assert read(*bytewise(data)) == "it switches to a protocol that nobody asked for"


def test_header_values_are_the_bytes_that_came() -> None:
    """Obs-text, control characters, empty values; what a fold has split is joined."""
    found = whole(
        OK
        + b"X-Text: caf\xe9 \xff\r\nx-control: a\x01b\r\nX-EMPTY:\r\nx-fold: a\r\n\tb\r\nx-text:   again\r\ncontent-length: 0\r\n\r\n"
    )
    names = [name for name, _ in found.headers]
    assert names == [b"X-Text", b"x-control", b"X-EMPTY", b"x-fold", b"x-text", b"content-length"]
    values = dict(found.headers)
    assert values[b"X-Text"] == b"caf\xe9 \xff"
    assert values[b"x-control"] == b"a\x01b"
    assert values[b"X-EMPTY"] == b""
    assert values[b"x-fold"].split() == [b"a", b"b"]
    assert b"\r" not in values[b"x-fold"]
    assert b"\n" not in values[b"x-fold"]
    assert values[b"x-text"] == b"again"


def test_trailers_are_no_headers() -> None:
    reader = AnswerReader()
    reader.expect("POST")
    reader.feed(CHUNKED + b"2\r\nhi\r\n")
    headers = reader.headers
    reader.feed(b"0\r\nset-cookie: a\r\n\r\n")
    assert reader.headers is headers
    assert headers == [(b"Transfer-Encoding", b"chunked")]


def a_head(size: int, lines: int = 1) -> bytes:
    """A whole answer without a body whose head has `size` bytes, the padding in so many lines."""
    begin, end = OK, b"content-length: 0\r\n\r\n"
    left = size - len(begin) - len(end)
    width = left // lines
    padding = b"".join(b"x: " + b"y" * (width - 5) + b"\r\n" for _ in range(lines - 1))
    return begin + padding + b"z: " + b"y" * (left - len(padding) - 5) + b"\r\n" + end


@pytest.mark.parametrize("lines", [1, 1_000])
def test_a_head_may_have_64_kib_and_not_a_byte_more(lines: int) -> None:
    """Many headers or a long one, in one read or in many."""
    fits, large = a_head(HEAD_MAX, lines), a_head(HEAD_MAX + 1, lines)
    for size in (1_000, 100_000):
        pieces = [[it[at : at + size] for at in range(0, len(it), size)] for it in (fits, large)]
        found = read(*pieces[0])
        assert isinstance(found, Read), found
        assert found.is_reusable
        assert read(*pieces[1]) == "the head of its answer is larger than 128 KiB"


def test_interim_heads_count_as_the_head() -> None:
    interim = b"HTTP/1.1 103 X\r\n\r\n" * (HEAD_MAX // 18)
    assert (
        read(interim + OK + b"content-length: 0\r\n\r\n") == "the head of its answer is larger than 128 KiB"
    )
    assert isinstance(read(interim[: len(interim) // 36 * 18] + OK + b"content-length: 0\r\n\r\n"), Read)


def feed_all(reader: AnswerReader, pieces: list[bytes]) -> None:
    for piece in pieces:
        reader.feed(piece)


def test_a_head_that_never_ends_is_refused_within_its_bound() -> None:
    reader = AnswerReader()
    reader.expect("POST")
    reader.feed(OK + b"x: ")
    with pytest.raises(GarbageError, match="larger than 128 KiB"):
        feed_all(reader, [b"y" * 1_024] * (HEAD_MAX // 1_024 + 1))


@pytest.mark.parametrize(
    "endless",
    [b"2;" + b"a" * 1_022, b"0" * 1_024, b"0\r\nt: " + b"v" * 1_019],
    ids=["an extension", "a size", "a trailer"],
)
def test_framing_that_never_ends_is_refused_within_its_bound(endless: bytes) -> None:
    reader = AnswerReader()
    reader.expect("POST")
    reader.feed(CHUNKED + endless)
    with pytest.raises(GarbageError, match="far more framing than body"):
        feed_all(reader, [endless[-1:] * 1_024] * 70)


def test_many_small_chunks_are_an_answer() -> None:
    found = whole(CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
    assert len(found.body) == 100_000
    assert found.is_reusable


@pytest.mark.parametrize("name", ["a length", "chunks", "no length"])
def test_an_answer_that_breaks_off_is_not_whole(name: str) -> None:
    data = ANSWERS[name].data
    for at in range(len(data) if name != "no length" else data.index(b"\r\n\r\n") + 4):
        found = read(data[:at], eof=True)
        assert isinstance(found, Read)
        assert not found.is_done
        assert not found.is_reusable


def test_one_reader_reads_one_answer_after_the_other() -> None:
    """Also behind answers that leave llhttp where it cannot go on."""
    reader = AnswerReader()
    for sample in ANSWERS.values():
        if not sample.is_reusable:
            continue
        for _ in range(2):
            reader.expect(sample.method)
            assert not reader.has_begun
            reader.feed(sample.data)
            assert (reader.status, reader.take_body(), reader.is_reusable) == (
                sample.status,
                sample.body,
                True,
            )


@given(
    st.sampled_from([*ANSWERS.values(), *(Sample(it) for it in GARBAGE.values())]),
    st.lists(st.integers(1, 200), max_size=12),
    st.binary(max_size=8),
)
def test_where_the_bytes_are_cut_changes_nothing(sample: Sample, cuts: list[int], stray: bytes) -> None:
    """A stray byte can come in the same read, or in one of its own, where the connection is idle and closes by itself."""
    data = sample.data + stray
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    pieces = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if end > begin]
    reader = AnswerReader()
    reader.expect(sample.method)
    body, refused = b"", False
    try:
        for piece in pieces:
            if reader.is_done:
                break
            reader.feed(piece)
            body += reader.take_body()
    except GarbageError:
        refused = True
    at_once = read(data, method=sample.method, eof=False)
    if isinstance(at_once, str):
        assert refused or not reader.is_done
    else:
        assert not refused
        assert (reader.status, reader.headers, body) == (at_once.status, at_once.headers, at_once.body)
        assert reader.is_done is at_once.is_done
        assert not (at_once.is_reusable and not reader.is_reusable)
