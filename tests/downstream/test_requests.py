"""Whatever an application may say in HTTP/1.1 arrives as it was said, in the order in which it was said."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from downstream_site.serving import answer_from, answer_of, echo, serving, whole
from tidegate_testing.tasks import until

from tidegate_sidecar.downstream.request import AppRequest, Written

HEAD = b"POST /v1/chat HTTP/1.1\r\nHost: localhost\r\n"


def post(body: bytes, head: bytes = b"") -> bytes:
    return HEAD + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_a_request_arrives_as_it_was_sent() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(
            b"POST /openai/v1/a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: localhost:1\r\nX-Name: caf\xe9 \r\nx-name:2\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
        assert await answer_from(app) == b"POST /openai/v1/a%2Fb?x=1&y=%20 {}"
        (request,) = site.requests
        assert (request.path, request.query, request.authority) == ("/openai/v1/a%2Fb", "x=1&y=%20", "")
        assert request.headers == (
            (b"Host", b"localhost:1"),
            (b"X-Name", b"caf\xe9"),
            (b"x-name", b"2"),
            (b"Content-Length", b"2"),
        )
        assert request.fields.getall("X-NAME") == ["caf\udce9", "2"]
        assert (request.is_http10, request.wants_close, request.is_chunked) == (False, False, False)


async def test_a_request_in_pieces_of_one_byte_is_one_request() -> None:
    async with serving(echo) as site, await site.connect() as app:
        for byte in post(b"hello"):
            await app.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await answer_from(app) == b"POST /v1/chat hello"
        assert len(site.requests) == 1
        assert site.faults == []


async def test_a_target_in_absolute_form_has_its_authority_beside_its_path() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(b"GET http://127.0.0.1:80/v1/models?a=b HTTP/1.1\r\nHost: other\r\n\r\n")
        await answer_from(app)
        await app.send(b"GET HTTP://localhost HTTP/1.1\r\nHost: other\r\n\r\n")
        await answer_from(app)
        await app.send(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await answer_from(app)
        assert [(it.authority, it.path, it.query) for it in site.requests] == [
            ("127.0.0.1:80", "/v1/models", "a=b"),
            ("localhost", "/", ""),
            ("", "", ""),
        ]


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with serving() as site, await site.connect() as app:
        await app.send(post(b"1") + post(b"2") + post(b"3"))
        for number in (b"1", b"2", b"3"):
            call = await site.next_call()
            assert site.calls == [], "one at a time"
            assert await whole(call.request) == number
            call.app.write(answer_of(number))
            call.end()
            assert await answer_from(app) == number


async def test_chunked_bodies_have_no_more_framing_than_they_need() -> None:
    """Extensions of chunks and trailers carry nothing that anybody reads, and have no end of their own."""
    small = b"1\r\nx\r\n" * 20_000
    for endless in (b"1;" + b"x" * 2**20, b"0\r\n" + (b"a: " + b"x" * 2**15 + b"\r\n") * 32):
        async with serving(echo) as site, await site.connect() as app:
            await app.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + small)
            await app.send(b"0\r\n\r\n")
            assert await answer_from(app) == b"POST /v1/chat " + b"x" * 20_000
            await app.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            await until(lambda: len(site.requests) == 2)
            await app.send(endless)
            assert b"far more framing than body" in await app.rest()


async def test_an_application_that_waits_to_be_invited_is_invited_by_the_call() -> None:
    async def handle(request: AppRequest) -> Written:
        assert request.fields["expect"] == "100-continue"
        request.app.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await echo(request)

    async with serving(handle) as site, await site.connect() as app:
        await app.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await app.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await app.send(b"hello")
        assert await answer_from(app) == b"POST /v1/chat hello"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_an_offer_of_another_protocol_is_answered_in_this_one(protocol: bytes) -> None:
    """java.net.http offers h2c with every POST to http://; a server that does not know it goes on in HTTP/1.1."""
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + b"\r\nHTTP2-Settings: AAMAAABk\r\n"
    )
    async with serving(echo) as site, await site.connect() as app:
        for body in (b"", b"hello", b"x" * 100_000):
            await app.send(post(body, offer))
            assert await answer_from(app) == b"POST /v1/chat " + body
        assert site.faults == []


async def test_chunks_arrive_without_their_frames() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(HEAD + b"Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n")
        await until(lambda: site.requests)
        await app.send(b" world\r\n0\r\nx-trailer: 1\r\n\r\n")
        assert await answer_from(app) == b"POST /v1/chat hello world"
        await app.send(post(b"again"))
        assert await answer_from(app) == b"POST /v1/chat again"


async def test_http_1_0_is_known_as_such() -> None:
    async with serving(echo) as site:
        answer = await site.exchange(b"POST /v1/chat HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        assert answer.endswith(b"POST /v1/chat hi")
        assert site.requests[0].is_http10
        assert site.requests[0].wants_close


@pytest.mark.parametrize("body", [b"x" * 3_000_000, b"x" * 10])
async def test_a_refusal_before_the_body_was_read_is_received(body: bytes) -> None:
    """The rest of the body is read and thrown away: a reset would take the answer with it."""

    async def refuse(request: AppRequest) -> Written:
        request.app.write(answer_of(b"no", 413, b"connection: close\r\n"))
        return Written(keep_alive=False)

    async with serving(refuse) as site:
        assert (await site.exchange(post(body))).endswith(b"no")


async def test_an_unread_body_does_not_end_the_connection() -> None:
    async def refuse(request: AppRequest) -> Written:
        request.app.write(answer_of(b"no", 403))
        return Written(keep_alive=True)

    async with serving(refuse) as site, await site.connect() as app:
        for _ in range(2):
            await app.send(post(b"x" * 1_000_000))
            assert await answer_from(app) == b"no"
        await until(lambda: site.server.idle.count)


async def test_a_large_body_waits_with_the_application_until_it_is_read() -> None:
    async with serving() as site, await site.connect() as app:
        sending = asyncio.get_running_loop().create_task(app.send(post(b"x" * 20_000_000)))
        call = await site.next_call()
        await asyncio.wait((sending,), timeout=0.2)
        assert not sending.done()
        assert call.request.content.total_bytes < 1_000_000
        assert len(await whole(call.request)) == 20_000_000
        await sending
        call.app.write(answer_of(b"all"))
        call.end()
        assert await answer_from(app) == b"all"


@pytest.mark.parametrize(
    "rest",
    [b"zz\r\nhello", b"5\r\nhelloX", b"-1\r\n", b"ffffffffffffffffffff\r\n", b"0\r\nbad trailer\r\n\r\n"],
)
async def test_a_body_that_is_framed_wrongly_is_told_to_who_reads_it(
    rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one request: its call answers, and nothing follows it."""
    async with serving(echo) as site, await site.connect() as app:
        await app.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await until(lambda: site.requests)
        await app.send(rest)
        answer = await app.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert site.faults == []
    assert caplog.records == []


async def test_the_handler_has_the_last_word_on_the_connection_but_for_who_closes_it() -> None:
    async def handle(request: AppRequest) -> Written:
        request.app.close_after_this()
        return await echo(request)

    async with serving(handle) as site:
        assert (await site.exchange(post(b"hi"))).endswith(b"hi")


async def test_a_handler_that_fails_cuts_the_connection_and_says_no_more_than_its_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handle(request: AppRequest) -> Written:
        raise ValueError(request.fields["authorization"])

    async with serving(handle) as site, await site.connect() as app:
        await app.send(post(b"hi", b"Authorization: Bearer sk-SECRET\r\n"))
        with suppress(ConnectionResetError):
            assert await app.rest() == b""
    assert [record.getMessage() for record in caplog.records] == [
        "a handler failed with ValueError; the connection is cut"
    ]
