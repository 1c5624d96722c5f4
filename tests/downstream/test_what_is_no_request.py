"""What cannot be read as a request gets a record and an answer all the same, and no key in it gets anywhere."""

from __future__ import annotations

import asyncio
import logging

import pytest
from downstream_site.serving import Site, answer_from, answer_of, echo, reset, serving
from tidegate_testing.tasks import until

from tidegate_sidecar.downstream import connection
from tidegate_sidecar.downstream.connection import AppConnection
from tidegate_sidecar.downstream.faults import MAX_HEAD_BYTES, SEEN_BYTES
from tidegate_sidecar.downstream.request import AppRequest, HeadFault, Written

KEY = b"sk-SECRET-KEY"
LINE = b"POST /anthropic/v1/messages HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
HEADERS = b"authorization: Bearer " + KEY + b"\r\n"
HEAD = LINE + HOST + HEADERS
GOOD = LINE + HOST + b"content-length: 2\r\n\r\nhi"

FAULTS = {
    "a control character": (400, "control character", HEAD + b"x: " + KEY + b"\x01\r\n\r\n"),
    "a zero byte": (400, "control character", HEAD + b"x: " + KEY + b"\x00\r\n\r\n"),
    "a bare carriage return": (400, "control character", HEAD + b"x: " + KEY + b"\rb\r\n\r\n"),
    "a space in a name": (400, "in its name", HEAD + b"x y: " + KEY + b"\r\n\r\n"),
    "a space before the colon": (400, "in its name", HEAD + b"x : " + KEY + b"\r\n\r\n"),
    "no colon": (400, "no colon", HEAD + KEY + b"\r\n\r\n"),
    "a folded line": (400, "line break", HEAD + b"x: a\r\n " + KEY + b"\r\n\r\n"),
    "a long header": (431, "too large", HEAD + b"x: " + KEY + b"a" * 70_000 + b"\r\n\r\n"),
    "a long target": (431, "too large", b"POST /" + KEY + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "many headers": (431, "too large", HEAD + b"x: y\r\n" * 300 + b"\r\n"),
    "an unknown transfer coding": (501, "Transfer-Encoding", HEAD + b"transfer-encoding: gzip\r\n\r\n"),
    "a transfer coding before chunked": (
        501,
        "Transfer-Encoding",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    "chunked twice": (
        501,
        "Transfer-Encoding",
        HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    "both lengths": (
        400,
        "both Content-Length and Transfer-Encoding",
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "both lengths, the other way round": (
        400,
        "both Content-Length and Transfer-Encoding",
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    ),
    "two lengths": (400, "Content-Length", HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nhi"),
    "a signed length": (400, "Content-Length", HEAD + b"content-length: +2\r\n\r\nhi"),
    "an endless length": (400, "Content-Length", HEAD + b"content-length: " + b"9" * 30 + b"\r\n\r\nhi"),
    "no host": (400, "no Host", LINE + HEADERS + b"\r\n"),
    "two hosts": (400, "twice", HEAD + b"host: other\r\n\r\n"),
    "two content types": (400, "twice", HEAD + b"content-type: a\r\ncontent-type: b\r\n\r\n"),
    "bad chunks": (400, "chunked body", HEAD + b"transfer-encoding: chunked\r\n\r\n" + KEY + b"\r\n"),
    "an unknown method": (501, "method", b"FETCH /v1/x HTTP/1.1\r\n" + HOST + HEADERS + b"\r\n"),
    "no http": (400, "not valid HTTP/1.1", b"hello " + KEY + b"\r\n\r\n"),
    "tls": (400, "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + KEY),
    "no path": (400, "target", b"POST x HTTP/1.1\r\n" + HOST + HEADERS + b"\r\n"),
    "a target that is no url": (400, "target", b"POST http:///" + KEY + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target with control characters": (
        400,
        "target",
        b"POST /" + KEY + b"\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    "a target with a space": (400, "METHOD TARGET", b"POST /a " + KEY + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "http/0.9": (505, "version", b"GET /" + KEY + b"\r\n\r\n"),
    "http/1.2": (505, "version", b"GET / HTTP/1.2\r\n" + HOST + HEADERS + b"\r\n"),
    "http/2 in its words": (505, "version", b"GET / HTTP/2.0\r\n" + HOST + HEADERS + b"\r\n"),
    "http/2": (505, "version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "line feeds alone": (
        400,
        "METHOD TARGET",
        LINE.replace(b"\r", b"") + HEADERS.replace(b"\r", b"") + b"\n",
    ),
}


def assert_no_key(caplog: pytest.LogCaptureFixture, *answers: bytes) -> None:
    assert caplog.records == []
    for answer in answers:
        assert b"SECRET" not in answer


@pytest.mark.parametrize(("status", "words", "data"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_it_is_recorded_and_answered_without_any_of_its_bytes(
    status: int, words: str, data: bytes, pieces: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged by aiohttp or by asyncio, whatever it is; nor does the answer quote any of it."""
    caplog.set_level(logging.INFO)
    size = -(-len(data) // pieces)
    async with serving(echo) as site, await site.connect() as app:
        for at in range(0, len(data), size):
            await app.send(data[at : at + size])
            await asyncio.sleep(0.01 if pieces > 1 else 0)
        answer = await app.rest()
        (fault,) = site.faults
        assert answer == answer_of(fault.message.encode(), status, b"connection: close\r\n")
        assert (fault.status, fault.is_gone) == (status, False)
        assert words in fault.message
        assert site.requests == []
        assert_no_key(caplog, answer)


@pytest.mark.parametrize("half_close", [False, True])
async def test_the_dialect_can_be_guessed_from_how_it_began(*, half_close: bool) -> None:
    async with serving(echo) as site:
        await site.exchange(HEAD + b"x: \x01\r\n\r\n", half_close=half_close)
        assert site.faults[0].seen.startswith(HEAD)
        await site.exchange(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n")
        assert site.faults[1].seen == b"POST /anthropic/v1/messages"
        await site.exchange(HEAD + b"x: " + b"y" * 70_000 + b"\r\n\r\n")
        assert site.faults[2].seen.startswith(HEAD)
        assert len(site.faults[2].seen) == SEEN_BYTES


async def test_a_head_larger_than_all_its_lines_may_be_is_refused() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(HEAD)
        await until(lambda: site.connection._head.seen)
        line = b"x: " + b"y" * 60_000 + b"\r\n"
        for _ in range(MAX_HEAD_BYTES // len(line) + 1):
            await app.send(line)
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert [fault.status for fault in site.faults] == [431]


async def test_more_of_a_refused_head_does_not_take_the_answer_with_it() -> None:
    """Closed at once, with bytes unread, the connection would be reset, and the answer lost with it."""
    async with serving(echo) as site, await site.connect() as app:
        await app.send(HEAD + b"x: " + b"y" * 70_000)
        await until(lambda: site.faults)
        for _ in range(20):
            await app.send(b"y" * 100_000)
        assert (await app.rest()).startswith(b"HTTP/1.1 431 ")


async def test_who_goes_on_sending_behind_a_refused_head_is_cut_after_a_while() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(b"hello\r\n\r\n")
        assert (await app.rest()).startswith(b"HTTP/1.1 400 ")
        site.tick(ms=connection.LINGER_NS // 1_000_000 - 1)
        await asyncio.sleep(0)
        assert len(site.server.connections) == 1
        site.tick(ms=500)
        await until(lambda: not site.server.connections)


@pytest.mark.parametrize("data", [b"G", b"POST /v1/x HTTP/1.1\r\n", HEAD, HEAD + b"content-length: 2\r\n"])
async def test_a_head_that_never_ends_is_given_up_ten_seconds_after_its_first_byte(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as site, await site.connect() as app:
        site.tick(ms=60_000)
        await app.send(data[:1])
        await until(lambda: site.connection._head.seen)
        site.tick(ms=6_000)
        await app.send(data[1:])
        await until(lambda: len(data) == 1 or site.connection._head._size == len(data))
        site.tick(ms=3_999)
        assert site.faults == []
        site.tick(ms=501)
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert (site.faults[0].status, site.faults[0].seen, len(site.faults)) == (408, data[:1], 1)
        assert_no_key(caplog, answer)


async def test_a_head_that_began_behind_another_request_is_given_up_just_so() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(GOOD + b"PO")
        assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
        site.tick(ms=9_500)
        assert site.faults == []
        site.tick(ms=500)
        assert (await app.rest()).startswith(b"HTTP/1.1 408 ")


async def test_the_time_of_a_head_begins_when_it_is_waited_for() -> None:
    """Behind a call that takes long it is nobody's fault that the rest of a head was not read."""
    async with serving() as site, await site.connect() as app:
        await app.send(GOOD)
        call = await site.next_call()
        await app.send(b"POST /v1")
        await until(lambda: site.connection._head.seen)
        site.tick(ms=60_000)
        call.app.write(answer_of(b"1"))
        call.end()
        await answer_from(app)
        site.tick(ms=9_000)
        assert site.faults == []
        await app.send(b"/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        call = await site.next_call()
        assert call.request.target == "/v1/x"
        call.app.write(answer_of(b"2"))
        call.end()
        assert await answer_from(app) == b"2"
        assert site.faults == []


async def test_waiting_for_a_request_is_no_head_that_never_ends() -> None:
    async with serving(echo) as site, await site.connect() as app:
        for blank in (b"", b"\r\n\r\n"):
            await app.send(blank)
            site.tick(ms=60_000)
            await app.send(GOOD)
            assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
            site.tick(ms=20_000)
            site.tick(ms=20_000)
        assert site.faults == []


@pytest.mark.parametrize("data", [b"G", HEAD, GOOD + b"PO", GOOD + HEAD])
async def test_half_a_head_and_a_half_closed_connection_get_an_answer(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(data)
        if data.startswith(GOOD):
            assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
        else:
            await until(lambda: site.connection._head.seen)
        app.writer.write_eof()
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        (fault,) = site.faults
        assert "before the request's head was complete" in fault.message
        assert_no_key(caplog, answer)


@pytest.mark.parametrize("data", [b"", b"\r\n", GOOD, GOOD + b"\r\n"])
async def test_a_connection_that_is_closed_between_requests_is_nobodys_fault(data: bytes) -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(data)
        if data.startswith(GOOD):
            await answer_from(app)
        app.writer.write_eof()
        assert await app.rest() == b""
        assert site.faults == []


@pytest.mark.parametrize("data", [b"GET", HEAD, b"hello\r\n\r\n" + HEAD])
async def test_who_is_gone_before_the_head_was_complete_is_recorded(data: bytes) -> None:
    async with serving(echo) as site:
        app = await site.connect()
        await app.send(data)
        await until(lambda: site.server.connections and (site.connection._head.seen or site.faults))
        reset(app)
        await until(lambda: not site.server.connections)
        (fault,) = site.faults
        assert fault.is_gone is not data.startswith(b"hello")


async def test_behind_a_call_in_progress_it_waits_for_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as site, await site.connect() as app:
        await app.send(GOOD)
        call = await site.next_call()
        await app.send(HEAD + b"x: \x01\r\n\r\n")
        await until(lambda: site.connection._is_deaf)
        assert site.faults == []
        call.app.write(answer_of(b"first"))
        call.end()
        assert await answer_from(app) == b"first"
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert_no_key(caplog, answer)


@pytest.mark.parametrize("count", [1, 3, 30])
async def test_requests_before_it_in_the_same_read_are_answered_first(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the network cuts decides nothing: what came before it is a request all the same."""
    async with serving(echo) as site, await site.connect() as app:
        await app.send(GOOD * count + HEAD + b"x: \x01\r\n\r\n" + GOOD)
        for _ in range(count):
            assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        (fault,) = site.faults
        assert "control character" in fault.message
        assert len(site.requests) == count
        assert_no_key(caplog, answer)


@pytest.mark.parametrize("size", [2, 70_000])
async def test_a_request_whose_body_the_read_completes_comes_before_it_too(size: int) -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(HEAD + b"content-length: %d\r\n\r\n" % size)
        await until(lambda: site.requests)
        await app.send(b"x" * size + GOOD + b"hello\r\n\r\n")
        assert await answer_from(app) == b"POST /anthropic/v1/messages " + b"x" * size
        assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
        assert (await app.rest()).startswith(b"HTTP/1.1 400 ")
        assert len(site.faults) == 1


async def test_a_request_whose_head_the_read_completes_comes_before_it_too() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(GOOD[:20])
        await until(lambda: site.server.connections and site.connection._head.seen)
        await app.send(GOOD[20:] + GOOD + b"hello\r\n\r\n")
        for _ in range(2):
            assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
        assert (await app.rest()).startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_breaks_off_behind_requests_belongs_to_its_own() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(GOOD + HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        assert await answer_from(app) == b"POST /anthropic/v1/messages hi"
        await app.send(b"zz\r\n")
        assert b"not framed as HTTP wants it" in await app.rest()
        assert site.faults == []


async def test_behind_a_call_whose_application_leaves_it_is_recorded() -> None:
    async with serving() as site:
        app = await site.connect()
        await app.send(GOOD)
        call = await site.next_call()
        await app.send(b"hello\r\n\r\n")
        await until(lambda: site.connection._is_deaf)
        app.abort()
        await until(lambda: call.is_cancelled)
        (fault,) = site.faults
        assert fault.is_gone


async def test_a_record_that_fails_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Site):
        def on_fault(self, fault: HeadFault, _: AppConnection) -> bytes:
            raise ValueError(fault.seen)

    site = Failing(echo)
    async with serving(echo) as other:
        other.server._on_fault = site.on_fault
        assert await other.exchange(HEAD + b"x: \x01\r\n\r\n") == b""
    assert [record.getMessage() for record in caplog.records] == [
        "a request that is no HTTP was not recorded: ValueError"
    ]


async def test_what_the_parser_itself_stumbles_over_is_a_fault_like_all_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio would log an exception out of `data_received`, with what was received."""

    async def handle(request: AppRequest) -> Written:
        return await echo(request)

    async with serving(handle) as site, await site.connect() as app:
        await until(lambda: site.server.connections)

        class Stumbling:
            def feed_data(self, data: bytes) -> None:
                raise ValueError(data)

            def feed_eof(self) -> None:
                return None

        site.connection._parser = Stumbling()  # type: ignore[assignment]
        await app.send(GOOD + KEY)
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert_no_key(caplog, answer)
