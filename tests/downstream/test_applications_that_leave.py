"""A call hears of its application at once: what it writes from then on goes nowhere, and every request has its record."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest
from downstream_site.serving import Site, answer_from, answer_of, echo, reset, serving, whole
from tidegate_testing.tasks import until
from tidegate_testing.wire import Connection

from tidegate_sidecar.downstream.request import AppRequest, BrokenBodyError, Written

POST = b"POST /v1/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
CLOSED = "the application closed its connection"
LOST = "the application's connection was lost"


def half_close(app: Connection) -> None:
    app.writer.write_eof()


def close(app: Connection) -> None:
    app.writer.close()


@pytest.mark.parametrize(("leave", "reason"), [(close, CLOSED), (half_close, CLOSED), (reset, LOST)])
async def test_a_call_is_told_once_before_it_is_cancelled(
    leave: Callable[[Connection], None], reason: str
) -> None:
    async with serving() as site, await site.connect() as app:
        await app.send(POST)
        call = await site.next_call()
        leave(app)
        await until(lambda: call.told)
        assert call.app.is_gone
        assert not call.is_cancelled, "aiohttp cancels it in a later turn"
        for _ in range(10):
            call.app.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await until(lambda: call.is_cancelled)
        assert call.told == [reason]
        assert call.app.events is None
        assert site.faults == []


async def test_bytes_that_come_in_the_turn_in_which_it_leaves_are_thrown_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """uvloop raises RuntimeError for a write to a closed transport; asyncio logs it."""
    async with serving() as site, await site.connect() as app:
        await app.send(POST)
        call = await site.next_call()
        call.app.abort()
        for _ in range(10):
            call.app.write(b"x")
        assert call.app.buffered_bytes == 0
        await until(lambda: call.is_cancelled)
        call.app.write(b"x")
        call.app.abort()
        assert call.app.fileno() == -1
        assert call.told == [], "who cuts a connection knows that it is cut"
    assert caplog.records == []


async def test_a_request_whose_application_has_left_before_it_begins_is_recorded() -> None:
    """aiohttp never calls the handler then: nobody else would write it down."""
    async with serving() as site:
        app = await site.connect()
        await until(lambda: site.server.connections)
        connection = site.connection
        connection.data_received(POST)
        connection.abort()
        await until(lambda: not site.server.connections)
        assert site.requests == []
        (fault,) = site.faults
        assert (fault.is_gone, fault.seen) == (True, b"POST /v1/chat")
        app.abort()


@pytest.mark.parametrize("turns", range(6))
async def test_each_request_is_recorded_once_whenever_its_application_leaves(turns: int) -> None:
    async with serving(echo) as site:
        app = await site.connect()
        await until(lambda: site.server.connections)
        connection = site.connection
        connection.data_received(POST + POST)
        for _ in range(turns):
            await asyncio.sleep(0)
        connection.abort()
        await until(lambda: not site.server.connections)
        assert len(site.requests) + len(site.faults) == 2
        assert all(fault.is_gone for fault in site.faults)
        app.abort()


async def test_requests_behind_the_one_in_progress_are_recorded_too() -> None:
    async with serving() as site:
        app = await site.connect()
        await app.send(POST * 3 + b"GET")
        call = await site.next_call()
        reset(app)
        await until(lambda: call.is_cancelled)
        assert [fault.seen for fault in site.faults] == [b"POST /v1/chat", b"POST /v1/chat", b""]
        assert {fault.is_gone for fault in site.faults} == {True}


async def test_who_reads_a_body_hears_of_it() -> None:
    errors: list[BaseException] = []

    async def handle(request: AppRequest) -> Written:
        try:
            await whole(request)
        except BaseException as error:
            errors.append(error)
            raise
        return Written(keep_alive=True)

    async with serving(handle) as site:
        app = await site.connect()
        await app.send(POST[:-1])
        await until(lambda: site.requests)
        reset(app)
        await until(lambda: not site.server.connections)
        assert isinstance(errors[0], asyncio.CancelledError | BrokenBodyError)
        assert site.faults == []


async def test_a_reader_that_pauses_and_goes_on_is_told_of() -> None:
    async with serving() as site, await site.connect(receive_buffer=2**16) as app:
        app.writer.transport.pause_reading()  # type: ignore[attr-defined] # of asyncio's own
        await app.send(POST)
        call = await site.next_call()
        answer = answer_of(b"x" * 20_000_000)
        call.app.write(answer)
        assert call.app.is_paused
        assert call.told == ["paused"]
        assert 0 < call.app.buffered_bytes < call.app.written_bytes == len(answer)
        app.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await answer_from_slowly(app, len(answer))) == len(answer)
        assert call.told == ["paused", "resumed"]
        assert not call.app.is_paused
        call.end()


async def answer_from_slowly(app: Connection, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await app.reader.read(2**16)
    return bytes(data)


@pytest.mark.parametrize("leave", [close, half_close])
async def test_an_answer_that_was_written_is_sent_to_who_has_closed_only_its_own_side(
    leave: Callable[[Connection], None],
) -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(POST)
        assert await answer_from(app) == b"POST /v1/chat hi"
        leave(app)
        await until(lambda: not site.server.connections)
        assert site.faults == []


async def test_the_rest_of_an_answer_that_nobody_takes_is_given_up() -> None:
    """The call is over and the connection closes as soon as its bytes are taken, which may be never."""
    async with serving(stall_ms=60_000) as site, await site.connect(receive_buffer=2**16) as app:
        app.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await app.send(POST)
        call = await site.next_call()
        call.app.write(answer_of(b"x" * 20_000_000))
        call.end(keep_alive=False)
        await until(lambda: call.app.current is None)
        for _ in range(100):
            site.tick(ms=500)
            await asyncio.sleep(0)
        assert len(site.server.connections) == 1
        site.tick(ms=60_000)
        site.tick(ms=60_000)
        await until(lambda: not site.server.connections)


async def test_no_call_is_kept_by_its_connection() -> None:
    """Nor is there a cycle between them that only the collector would find."""
    async with serving(echo) as site, await site.connect() as app:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await app.send(POST)
                await answer_from(app)
            await until(lambda: site.server.idle.count)
            site.requests.clear()
            await app.send(POST)
            await answer_from(app)
            await until(lambda: site.server.idle.count)
            site.requests.clear()
            kept = [it for it in gc.get_objects() if isinstance(it, AppRequest)]
            assert len(kept) <= 1, "aiohttp's loop has the last one in a variable"
        finally:
            gc.enable()


async def test_many_applications_at_once_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo) as site:

        async def one(number: int) -> None:
            async with await site.connect() as app:
                for _ in range(number % 5):
                    await app.send(POST)
                    await answer_from(app)
                await app.send(POST[: number % len(POST)])

        await asyncio.gather(*(one(number) for number in range(60)))
        await until(lambda: not site.server.connections)
        assert_nothing_kept(site)
    assert caplog.records == []


def assert_nothing_kept(site: Site) -> None:
    assert site.server.idle.count == 0
    assert site.server.connections == []
