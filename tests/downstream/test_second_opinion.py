"""h11 reads the same requests: what it accepts is accepted here, too, with the same meaning; exceptions are stated.

And whatever comes, in whatever pieces, each request ends in exactly one call or fault.
"""

from __future__ import annotations

import logging
import re

import h11
import pytest
from downstream_site.wireless import Heard, cut, hear
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_sidecar.downstream.faults import MAX_HEAD_BYTES

Request = tuple[str, str, list[tuple[bytes, bytes]]]

TOKEN = "!#$%&'*+-.^_`|~0123456789abcXYZ"
VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))

METHODS = {b"DELETE", b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"}
ONCE = {
    b"content-length", b"content-location", b"content-range", b"content-type", b"etag", b"host", b"max-forwards",
    b"server", b"transfer-encoding", b"user-agent",
}  # fmt: skip


def exception_of(request: h11.Request) -> str:
    """Why a request that h11 accepts is refused here; empty: it is not."""
    names = [name for name, _ in request.headers]
    exceptions = {
        "a method that llhttp does not know": request.method not in METHODS,
        "another version": request.http_version not in {b"1.0", b"1.1"},
        "a header that may come once comes twice": any(names.count(name) > 1 for name in ONCE),
        "a control character in a value, which h11 lets pass": any(
            (byte < 0x20 and byte != 0x09) or byte == 0x7F for _, value in request.headers for byte in value
        ),
        "both lengths, where h11 goes by the transfer coding": {b"content-length", b"transfer-encoding"}
        <= set(names),
        "a length that is a list": any(
            b"," in value for name, value in request.headers if name == b"content-length"
        ),
        "the whole server is asked for, by another method than OPTIONS": (
            request.target == b"*" and request.method != b"OPTIONS"
        ),
    }
    return next((reason for reason, holds in exceptions.items() if holds), "")


def heard_by_h11(data: bytes) -> list[h11.Request]:
    """Requests whose heads it accepts, up to the first error."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.receive_data(data)
    requests = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                requests.append(event)
            elif isinstance(event, h11.EndOfMessage):
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            elif not isinstance(event, h11.Data):
                return requests
    except h11.ProtocolError:
        return requests


tokens = st.text(TOKEN, min_size=1, max_size=12)
values = st.binary(max_size=20).map(
    lambda data: bytes(byte for byte in data if (byte >= 0x20 and byte != 0x7F) or byte == 9).strip(b" \t")
)
targets = st.text(VISIBLE, max_size=20).map(lambda text: "/" + text) | st.sampled_from(
    ["http://localhost/x?y", "http://[::1]:1/", "*", "/", "/openai/v1/chat/completions?a=b#c"]
)
lines = st.tuples(
    tokens
    | st.sampled_from(
        ["Accept", "content-type", "Connection", "Upgrade", "Expect", "user-agent", "Authorization"]
    ),
    st.sampled_from(["", " ", "\t", "  \t"]),
    values
    | st.sampled_from([b"close", b"keep-alive", b"upgrade", b"h2c", b"100-continue", b"application/json"]),
    st.sampled_from(["", " ", "\t"]),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One that is framed as it should be; the rest is as wild as the grammar allows."""
    method = draw(st.sampled_from(["POST"] * 6 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"]))
    target = draw(targets)
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    fields = [
        ("Host", " ", draw(st.sampled_from([b"localhost", b"127.0.0.1:19280", b"[::1]"])), ""),
        *draw(st.lists(lines, max_size=8)),
    ]
    body = draw(st.binary(max_size=40))
    if version == "1.1" and draw(st.booleans()):
        fields.append(("Transfer-Encoding", " ", b"chunked", ""))
        sizes = draw(st.lists(st.integers(1, 20), max_size=5))
        framed = b"".join(b"%x\r\n%b\r\n" % (size, b"c" * size) for size in sizes) + b"0\r\n\r\n"
    elif body or draw(st.booleans()):
        fields.append(("Content-Length", " ", str(len(body)).encode(), ""))
        framed = body
    else:
        framed = b""
    fields = draw(st.permutations(fields))
    head = f"{method} {target} HTTP/{version}\r\n".encode()
    return head + b"".join(
        name.encode() + b":" + before.encode() + value + after.encode() + b"\r\n" for name, before, value, after in fields
    ) + b"\r\n" + framed  # fmt: skip


def same(request: h11.Request) -> Request:
    return request.method.decode(), request.target.decode(), list(request.headers)


places = st.lists(st.integers(0, 2**16), max_size=6)


@given(data=requests(), at=places)
def test_what_h11_accepts_is_accepted_with_the_same_meaning(data: bytes, at: list[int]) -> None:
    accepted = heard_by_h11(data)
    heard = hear(cut(data, at))
    if not accepted:
        return
    (request,) = accepted
    if reason := exception_of(request):
        assert heard.requests == [], reason
        assert len(heard.faults) == 1, reason
        return
    assert heard.faults == []
    assert heard.requests == [same(request)]


@given(data=requests(), at=places, other=places)
def test_it_makes_no_difference_where_a_request_is_cut(data: bytes, at: list[int], other: list[int]) -> None:
    assert_same(hear(cut(data, at)), hear(cut(data, other)))


@given(data=st.lists(requests(), min_size=2, max_size=4), at=places)
def test_requests_behind_one_another_are_heard_as_if_each_came_alone(
    data: list[bytes], at: list[int]
) -> None:
    each: list[Request] = []
    for request in data:
        alone = hear([request])
        each += alone.requests
        if alone.faults or not is_kept(request):
            return  # nothing is read behind it
    assert hear(cut(b"".join(data), at)).requests == each


def is_kept(data: bytes) -> bool:
    """Whether further requests are read behind this one, and at once."""
    (request,) = heard_by_h11(data) or (None,)
    if request is None or request.http_version == b"1.0":
        return False
    said = b",".join(value.lower() for name, value in request.headers if name == b"connection")
    # aiohttp loses what is pipelined behind an offer to upgrade, and no client does that: it waits for what is spoken next.
    return b"close" not in said and b"upgrade" not in said


@settings(max_examples=300)
@given(
    data=st.lists(requests(), min_size=1, max_size=3).map(b"".join),
    edits=st.lists(
        st.tuples(
            st.integers(0, 2**16),
            st.integers(0, 6),
            st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\0", b":"]),
        ),
        min_size=1,
        max_size=4,
    ),
    at=places,
)
def test_whatever_comes_ends_in_calls_and_at_most_one_fault(
    data: bytes, edits: list[tuple[int, int, bytes]], at: list[int]
) -> None:
    """Also what no grammar allows; and nothing of it is logged by anybody."""
    for place, length, instead in edits:
        start = place % (len(data) + 1)
        data = data[:start] + instead + data[start + length :]
    said: list[logging.LogRecord] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record)

    handler = Noting()
    logging.getLogger().addHandler(handler)
    try:
        heard = hear(cut(data, at))
    finally:
        logging.getLogger().removeHandler(handler)
    assert said == []
    answered = len(re.findall(rb"HTTP/1\.1 [0-9]{3} -\r\n", heard.written))
    gone = sum(fault.is_gone for fault in heard.faults)
    assert len(heard.faults) - gone <= 1
    assert answered <= len(heard.requests) + len(heard.faults)
    if data.strip(b"\r\n"):
        assert heard.requests or heard.faults, "there is a record of it"


def assert_same(one: Heard, other: Heard) -> None:
    assert one.requests == other.requests
    assert [fault._replace(seen=b"") for fault in one.faults] == [
        fault._replace(seen=b"") for fault in other.faults
    ]
    assert one.written == other.written


@pytest.mark.parametrize(
    "line",
    [
        b"x-long: " + b"a" * 60_000,
        b"authorization: Bearer " + b"eyJ" * 15_000,
        b"\r\n".join(b"x-%d: y" % number for number in range(240)),
    ],
    ids=["long", "token", "many"],
)
def test_long_and_many_headers_are_read(line: bytes) -> None:
    data = b"POST /x HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n"
    (request,) = heard_by_h11(data)
    assert hear([data]).requests == [same(request)]
