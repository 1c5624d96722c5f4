"""h11 reads answers, too, and the SDKs of the providers read by it: what is an answer there is one here, and the other way round.

Where the two differ on purpose stands in `REFUSED_HERE` and `READ_HERE`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tidegate_sidecar.upstream.answer import HEAD_MAX, AnswerReader, GarbageError

REFUSED_HERE = {
    "a line that ends without a carriage return": re.compile(rb"[^\r]\n|\A\n"),
    "a length that is given more than once, be it the same": re.compile(
        rb"content-length:[^\r\n]*(?:\d *,|\r\n(?:[^\r\n]+\r\n)*?content-length:)", re.IGNORECASE
    ),
    "a length beside chunks": re.compile(rb"(?=.*\r\ncontent-length:)(?=.*\r\ntransfer-encoding:)", re.IGNORECASE | re.DOTALL),
    "a framing header that is folded": re.compile(
        rb"\r\n(?:content-length|transfer-encoding):[^\r\n]*\r\n[ \t]", re.IGNORECASE
    ),
    "a length of more digits than any has": re.compile(rb"content-length: *\d{19,}", re.IGNORECASE),
    "a version that is none": re.compile(rb"HTTP/(?!1\.[01] )"),
    "an extension of a chunk that is none": re.compile(rb"\r\n0*[0-9a-f]+[ \t]*;(?![a-z]+(?:=[a-z]+)?\r\n)", re.IGNORECASE),
    "an interim head that names a body": re.compile(
        rb"HTTP/1\.\d 1\d\d[^\r\n]*\r\n(?:[^\r\n]+\r\n)*?(?:transfer-encoding:|content-length:(?! *0[ \t]*\r\n))", re.IGNORECASE
    ),
    "a trailer that frames, or with a control character": re.compile(
        rb"\r\n0[^\r\n]*\r\n(?:[^\r\n]+\r\n)*?(?:content-length:|[^\r\n]*[\x01-\x08\x0b-\x1f\x7f]|[ \t])", re.IGNORECASE
    ),
}  # fmt: skip


READ_HERE = {
    "white space before an extension of a chunk, as RFC 9112 has it": re.compile(
        rb"\r\n[0-9a-f]+[ \t]+;", re.IGNORECASE
    ),
}


class Opinion(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_whole: bool


def opinion_of_h11(data: bytes, method: str, *, eof: bool) -> Opinion | None:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * HEAD_MAX)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    status, headers, body, is_whole = 0, [], b"", False
    try:
        client.receive_data(data)
        if eof:
            client.receive_data(b"")
        while True:
            told = client.next_event()
            if isinstance(told, h11.Response):
                status, headers = told.status_code, list(told.headers.raw_items())
            elif isinstance(told, h11.Data):
                body += bytes(told.data)
            elif isinstance(told, h11.EndOfMessage):
                is_whole = True
                break
            elif told is h11.NEED_DATA or told is h11.PAUSED or isinstance(told, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError:
        # What comes before the fault has been told by then, so that alone says nothing.
        return None
    return Opinion(status, headers, body, is_whole)


def own_opinion(data: bytes, method: str, *, eof: bool, step: int) -> Opinion | None:
    reader = AnswerReader()
    reader.expect(method)
    body = b""
    try:
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])
            body += reader.take_body()
            if reader.is_done:
                break
    except GarbageError:
        return None
    if eof:
        reader.end()
        if not reader.is_done and data:
            return None
    headers = [(name, value.strip()) for name, value in reader.headers] if reader.status else []
    return Opinion(reader.status, headers, body, reader.is_done)


def normal(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Folds are joined in two ways, and h11 writes codings in lower case."""
    return [(name, b" ".join(value.lower().split())) for name, value in headers]


STATUS_LINES = st.sampled_from(
    [
        *[b"HTTP/1.1 200 OK"] * 8,
        *(b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 500 Caf\xe9 \t x", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 Not"),
        *(b"HTTP/1.1 429 \x01", b"HTTP/2.0 200 OK", b"HTTP/1.9 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1  200 OK"),
        *(b"HTTP/1.1 200\tOK", b"http/1.1 200 OK", b"RTSP/1.0 200 OK", b" HTTP/1.1 200 OK", b"", b"HTTP/1.1 099 X", b"HTTP/1.1 999 X"),
    ]
)  # fmt: skip

PLAIN_LINES = st.sampled_from(
    [
        *(b"x: y", b"X:y", b"x:", b"x: ", b"x:  a  b\t", b"x: caf\xe9", b"x: \x01\x02", b"x: a\x7f", b"date: now", b"connection: close"),
        *(b"connection: keep-alive", b"x: a\r\n b", b"x: a\r\n\tb\r\n  c", b"upgrade: h2c", b"connection: upgrade", b"!#$%&'*+.^_`|~: x"),
    ]
)  # fmt: skip
ODD_LINES = st.sampled_from(
    [
        b"x : y",
        b": y",
        b"xy",
        b"x y: z",
        b"x: a\0b",
        b"x\xe9: y",
        b"\x01: y",
        b" x: y",
        b"x: a\rb",
        b"(x): y",
        b"x: a\nb: c",
    ]
)
FRAMING_LINES = st.sampled_from(
    [
        *(b"content-length: 5", b"Content-Length:5", b"content-length: 5 ", b"content-length: 0", b"content-length: 3", b"content-length: 05"),
        *(b"content-length: -5", b"content-length: 5, 5", b"content-length: 5,6", b"content-length: 5a", b"content-length:", b"content-length : 5"),
        *(b"content-length: 0x5", b"content-length: 5 5", b"content-length:\r\n 5", b"content-length: 9999999999999999999999"),
        *(b"transfer-encoding: chunked", b"Transfer-Encoding: Chunked ", b"transfer-encoding: gzip", b"transfer-encoding: gzip, chunked"),
        *(b"transfer-encoding: identity", b"transfer-encoding: chunked, chunked", b"transfer-encoding:", b"transfer-encoding:\r\n chunked"),
        *(b"transfer-encoding: \x0bchunked", b"transfer-encoding : chunked", b"transfer-encoding: chunkedx", b"transfer-encoding: xchunked"),
    ]
)  # fmt: skip
CHUNK = st.sampled_from(
    [
        *[b"5\r\nhello\r\n"] * 4,
        *(b"5 \r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"005\r\nhello\r\n", b"A\r\n0123456789\r\n", b"2\r\n\r\n\r\n", b"5 ;a\r\nhello\r\n"),
        *(b"5;\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello", b"0x5\r\nhello\r\n", b"-5\r\nhello\r\n", b"\r\nhello\r\n"),
        *(b"5\r\nhell\r\n", b"5\r\nhelloo\r\n", b"g\r\nhello\r\n", b" 5\r\nhello\r\n", b'5;a="b;c"\r\nhello\r\n', b"5\r\r\nhello\r\n"),
    ]
)  # fmt: skip
LAST_CHUNK = st.sampled_from(
    [
        *[b"0\r\n\r\n"] * 6,
        *(b"0\r\nt: v\r\n\r\n", b"000\r\n\r\n", b"0;x\r\n\r\n", b"0\r\n", b"0\n\n", b"0\r\ncontent-length: 5\r\n\r\n", b"", b"0\r\nt v\r\n\r\n"),
        *(b"0\r\nt: \x01\r\n\r\n", b"0\r\n t: v\r\n\r\n", b"0\r\n: v\r\n\r\n", b"0 \r\n\r\n"),
    ]
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Mostly well-formed, and wrong in every way that somebody has thought of."""
    data = b""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        interim = draw(st.sampled_from([b"100 Continue", b"103 Early Hints", b"150 X"]))
        lines = draw(st.lists(st.one_of(PLAIN_LINES, PLAIN_LINES, FRAMING_LINES), max_size=2))
        data += b"\r\n".join([b"HTTP/1.1 " + interim, *lines]) + b"\r\n\r\n"
    lines = draw(st.lists(st.one_of(PLAIN_LINES, PLAIN_LINES, PLAIN_LINES, ODD_LINES), max_size=4))
    framing = draw(
        st.lists(FRAMING_LINES, max_size=2)
        | st.sampled_from([[b"content-length: 5"], [b"transfer-encoding: chunked"]])
    )
    lines = draw(st.permutations([*lines, *framing]))
    data += b"\r\n".join([draw(STATUS_LINES), *lines]) + b"\r\n\r\n"
    if draw(st.booleans()):
        data += b"".join(draw(st.lists(CHUNK, max_size=3))) + draw(LAST_CHUNK)
    else:
        data += draw(st.sampled_from([b"hello", b"hello", b"hel", b"", b"hello\r\n", b"\r\n\r\n\r\n"]))
    return data


@settings(max_examples=600)
@given(
    data=answers(),
    method=st.sampled_from(["POST", "POST", "POST", "HEAD"]),
    eof=st.booleans(),
    step=st.sampled_from([10**6, 10**6, 1, 7]),
)
@example(
    data=b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    method="POST",
    eof=False,
    step=1,
)
def test_both_read_the_same_and_refuse_the_same(*, data: bytes, method: str, eof: bool, step: int) -> None:
    theirs = opinion_of_h11(data, method, eof=eof)
    ours = own_opinion(data, method, eof=eof, step=step)
    if theirs is None:
        # What is not there yet cannot be refused yet: h11 looks at a head when it is whole.
        event("refused by h11")
        assert ours is None or not ours.is_whole or any(it.search(data) for it in READ_HERE.values()), (
            ours,
            data,
        )
    elif theirs.is_whole:
        event("read by h11")
        if ours is None or not ours.is_whole:
            assert any(it.search(data) for it in REFUSED_HERE.values()), (theirs, ours, data)
            return
        assert (ours.status, ours.body) == (theirs.status, theirs.body)
        assert normal(ours.headers) == normal(theirs.headers)
    else:
        event("not whole for h11")
        assert ours is None or not ours.is_whole, (theirs, ours, data)
