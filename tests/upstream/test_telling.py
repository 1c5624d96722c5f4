"""A receiver is told what came, once per read, and may let go of the connection within anything that it is told."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.places import ANSWER, closed, leg, listening, send

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.faults import FaultKind

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_what_one_read_brings_is_told_as_one_piece() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        peer = await place.peer()
        await peer.answer(CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
        await until(lambda: heard.pieces)
        assert heard.told == ["head", "body"]
        await peer.send(b"1\r\nd\r\n0\r\n\r\n")
        await heard.end()
        assert heard.told == ["head", "body", "body", "end"]
        assert heard.pieces == [b"abc", b"d"]
        assert connection.is_idle


async def test_an_answer_that_comes_byte_by_byte_is_an_answer() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        peer = await place.peer()
        await peer.request()
        for at in range(len(ANSWER)):
            await peer.send(ANSWER[at : at + 1])
            await asyncio.sleep(0)
        await heard.end()
        assert (heard.status, heard.body) == (200, b"hi")
        assert connection.is_idle


async def test_interim_heads_are_passed_over() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        peer = await place.peer()
        await peer.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n")
        await peer.send(ANSWER)
        await heard.end()
        assert (heard.status, heard.headers) == (200, [(b"content-length", b"2")])
        assert connection.is_idle


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        peer = await place.peer()
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await until(lambda: heard.pieces)
        await peer.send(b" and half")
        peer.end()
        await heard.end()
        assert heard.body == b"half and half"
        assert connection.is_closed
        await peer.gone()


async def test_an_answer_without_a_length_that_is_reset_is_not_whole() -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        peer = await place.peer()
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await until(lambda: heard.pieces)
        peer.reset()
        fault = await heard.failure()
        assert (fault.kind, fault.answer_began) == (FaultKind.CLOSED, True)


async def test_an_answer_to_head_has_no_body() -> None:
    async with listening() as place, leg(place) as it:
        connection, peer = await it.used(place)
        for _ in range(2):
            heard = Heard()
            assert it.take() is connection
            send(connection, heard, method="HEAD")
            await peer.answer(ANSWER[:-2])
            await heard.end()
            assert heard.told == ["head", "end"]
            assert connection.is_idle


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"SSH-2.0-x\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "it switches to a protocol that nobody asked for"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 140_000, "the head of its answer is larger than 128 KiB"),
        (CHUNKED + b"x\r\n", "its answer is not HTTP"),
    ],
)  # fmt: skip
async def test_garbage_ends_the_connection(garbage: bytes, reason: str) -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        peer = await place.peer()
        await peer.answer(garbage)
        fault = await heard.failure()
        assert (fault.kind, fault.reason, fault.sent, fault.answer_began) == (
            FaultKind.GARBAGE,
            reason,
            True,
            True,
        )
        assert connection.is_closed
        await peer.gone()


async def test_what_came_before_garbage_is_told_first() -> None:
    """As if the network had cut there, and however the bytes were cut."""
    async with listening() as place, leg(place) as it:
        for data in (
            [CHUNKED + b"2\r\nhi\r\nx"],
            [CHUNKED, b"2\r\nhi\r\nx"],
            [CHUNKED + b"2\r\nhi\r\n", b"x"],
        ):
            connection, heard = await it.connect(), Heard()
            send(connection, heard)
            peer = await place.peer()
            await peer.request()
            for number, piece in enumerate(data):
                await peer.send(piece)
                await until(lambda: heard.told and len(heard.told) > number)  # noqa: B023 - it is awaited here
            assert (await heard.failure()).kind is FaultKind.GARBAGE
            assert heard.told == ["head", "body", "failure"]
            assert heard.body == b"hi"


@pytest.mark.parametrize(
    "data",
    [
        b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nx: \x01\r\ncontent-length:\r\n 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 140_000 + b"\r\ncontent-length: 2\r\n\r\nhi",
    ],
    ids=["no HTTP", "a coding", "a fold", "too large"],
)
async def test_nothing_is_told_of_a_head_that_is_refused(data: bytes) -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        await (await place.peer()).answer(data)
        assert (await heard.failure()).kind is FaultKind.GARBAGE
        assert heard.told == ["failure"]


@pytest.mark.parametrize("moment", ["head", "body", "end"])
async def test_a_receiver_that_closes_hears_nothing_more(moment: str) -> None:
    async with listening() as place, leg(place) as it:
        connection = await it.connect()
        heard = Heard(lambda what: connection.close() if what == moment else None)
        send(connection, heard)
        peer = await place.peer()
        await peer.answer()
        await peer.gone()
        assert heard.told == ["head", "body", "end"][: ["head", "body", "end"].index(moment) + 1]
        assert connection.is_closed
        assert it.origin.idle_count == 0


async def test_a_connection_is_idle_before_its_receiver_hears_of_the_end() -> None:
    """Whoever goes on within that may take it, and it then is the next request's alone."""
    async with listening() as place, leg(place) as it:
        second = Heard()

        def go_on(what: str) -> None:
            if what == "end":
                again = it.take()
                assert again is connection
                send(again, second)

        connection, first = await it.connect(), Heard(go_on)
        send(connection, first)
        peer = await place.peer()
        await peer.answer()
        await peer.answer(ANSWER.replace(b"hi", b"ho"))
        await second.end()
        assert (first.body, second.body) == (b"hi", b"ho")
        assert (first.told, second.told) == (["head", "body", "end"], ["head", "body", "end"])


@pytest.mark.parametrize("moment", ["head", "body"])
async def test_a_connection_that_lingers_may_be_taken_at_once_when_its_answer_is_over(moment: str) -> None:
    """In the same read, and while its former receiver is still being told."""
    async with listening() as place, leg(place) as it:
        second = Heard()

        def leave(what: str) -> None:
            if what == moment:
                connection.linger(it.clock.now_ns)
                again = it.take()
                assert again is connection
                send(again, second)

        connection, first = await it.connect(), Heard(leave)
        send(connection, first)
        peer = await place.peer()
        await peer.answer()
        await peer.answer(ANSWER.replace(b"hi", b"ho"))
        await second.end()
        assert second.body == b"ho"
        assert first.told[-1] == moment


@pytest.mark.parametrize("moment", ["head", "body"])
async def test_a_receiver_that_fails_ends_its_connection_and_hears_of_it(
    moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours is told in the log, and no call waits for ever because of it."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fail(what: str) -> None:
        if what == moment:
            raise ValueError(what)

    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard(fail)
        send(connection, heard)
        await (await place.peer()).answer()
        fault = await heard.failure()
        assert (fault.kind, fault.answer_began) == (FaultKind.CLOSED, True)
        assert connection.is_closed
    assert [str(error) for error in told] == [moment]
    assert [it for it in caplog.records if it.levelno >= logging.ERROR] == []


async def test_a_connection_is_closed_in_any_state_and_says_nothing() -> None:
    async with listening() as place, leg(place) as it:
        never = Connection(it.origin)
        never.close()
        made = await it.connect()
        await place.peer()
        idle, _ = await it.used(place)
        waiting, heard = await it.connect(), Heard()
        send(waiting, heard)
        for connection in (never, made, idle, waiting):
            for _ in range(2):
                connection.close()
                assert connection.is_closed
                connection.pause()
                connection.resume()
                connection.linger(it.clock.now_ns)
        await until(lambda: it.origin.open_count == 0)
        assert heard.told == []
        send(waiting, heard)
        assert (await heard.failure()).sent is False


class TestLingering:
    async def test_a_connection_is_kept_if_the_end_of_its_answer_comes_soon(self) -> None:
        async with listening() as place, leg(place) as it:
            connection = await it.connect()
            heard = Heard(lambda what: connection.linger(it.clock.now_ns) if what == "body" else None)
            send(connection, heard)
            peer = await place.peer()
            await peer.answer(CHUNKED + b"2\r\nhi\r\n")
            await until(lambda: connection.is_lingering)
            it.clock.advance(ms=250)
            it.tick()
            await peer.send(b"5\r\n more\r\n0\r\n\r\n")
            await until(lambda: connection.is_idle)
            assert heard.told == ["head", "body"]
            assert not connection.is_lingering
            again = Heard()
            assert it.take() is connection
            send(connection, again)
            await peer.answer()
            await again.end()
            assert again.body == b"hi"

    async def test_it_is_closed_if_the_end_does_not_come(self) -> None:
        async with listening() as place, leg(place) as it:
            connection = await it.connect()
            heard = Heard(lambda what: connection.linger(it.clock.now_ns) if what == "body" else None)
            send(connection, heard)
            peer = await place.peer()
            await peer.answer(CHUNKED + b"2\r\nhi\r\n")
            await until(lambda: connection.is_lingering)
            it.clock.advance(ms=251)
            it.tick()
            assert connection.is_closed
            await peer.gone()

    @pytest.mark.parametrize(
        "rest",
        [b"x\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"20000\r\n" + b"x" * 0x20000 + b"\r\n", b"5\r\nha"],
        ids=["garbage", "another answer", "far more than an end", "half of it"],
    )
    async def test_it_is_closed_if_something_else_comes(self, rest: bytes) -> None:
        async with listening() as place, leg(place) as it:
            connection = await it.connect()
            heard = Heard(lambda what: connection.linger(it.clock.now_ns) if what == "body" else None)
            send(connection, heard)
            peer = await place.peer()
            await peer.answer(CHUNKED + b"2\r\nhi\r\n")
            await until(lambda: connection.is_lingering)
            peer.writer.write(rest)
            peer.end()
            await closed(connection)
            assert it.origin.idle_count == 0
            assert heard.told == ["head", "body"]
