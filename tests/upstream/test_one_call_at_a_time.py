"""One call never gets another's answer: a byte on a connection that nobody waits on is the end of that connection."""

from __future__ import annotations

import pytest
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.places import ANSWER, closed, leg, listening, send

from tidegate_sidecar.upstream.faults import FaultKind, is_stale

STRAYS = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nanothers",
    b"HTTP/1.1 408 Request Time-out\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    b"\r\n",
    b"\0",
]


@pytest.mark.parametrize("stray", STRAYS)
async def test_a_byte_on_an_idle_connection_ends_it(stray: bytes) -> None:
    async with listening() as place, leg(place) as it:
        connection, peer = await it.used(place)
        assert it.origin.idle_count == 1
        await peer.send(stray)
        await closed(connection)
        assert it.take() is None
        assert it.origin.idle_count == 0
        await until(lambda: it.origin.open_count == 0)


@pytest.mark.parametrize("stray", STRAYS)
async def test_a_byte_in_the_packet_of_an_answer_ends_the_connection_and_not_the_answer(stray: bytes) -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        await (await place.peer()).answer(ANSWER + stray)
        await heard.end()
        assert (heard.status, heard.body) == (200, b"hi")
        assert heard.told == ["head", "body", "end"]
        assert connection.is_closed
        assert it.take() is None


@pytest.mark.parametrize("stray", STRAYS)
async def test_a_connection_on_which_somebody_speaks_first_is_not_used(stray: bytes) -> None:
    async with listening() as place, leg(place) as it:
        connection, heard = await it.connect(), Heard()
        await (await place.peer()).send(stray)
        await closed(connection)
        send(connection, heard)
        fault = await heard.failure()
        assert (fault.kind, fault.sent, fault.is_reused) == (FaultKind.CLOSED, False, False)
        assert heard.told == ["failure"]


@pytest.mark.parametrize("idle_ms", [0, 1_001])
@pytest.mark.parametrize("stray", STRAYS)
async def test_what_lies_unread_on_an_idle_connection_is_seen_before_it_is_used(
    stray: bytes, idle_ms: int
) -> None:
    """The loop was busy, and has not read it yet."""
    async with listening() as place, leg(place) as it:
        connection, peer = await it.used(place)
        peer.writer.write(stray)
        it.clock.advance(ms=idle_ms)
        assert it.take() is None
        assert connection.is_closed


async def test_so_is_its_end() -> None:
    async with listening() as place, leg(place) as it:
        connection, peer = await it.used(place)
        peer.reset()
        await until(connection.has_unread)
        it.clock.advance(ms=1_001)
        assert it.take() is None
        assert connection.is_closed


async def test_a_connection_that_is_well_is_taken_after_a_look() -> None:
    async with listening() as place, leg(place) as it:
        connection, _ = await it.used(place)
        it.clock.advance(ms=1_001)
        assert it.take() is connection
        assert connection.is_reused
        connection.close()


async def test_a_connection_that_was_closed_while_it_was_idle_is_dropped() -> None:
    async with listening() as place, leg(place) as it:
        connection, peer = await it.used(place)
        peer.close()
        await closed(connection)
        assert (it.take(), it.origin.idle_count) == (None, 0)


async def test_a_request_on_a_connection_that_closed_meanwhile_is_stale_and_not_sent() -> None:
    async with listening() as place, leg(place) as it:
        _, peer = await it.used(place)
        connection, heard = it.take(), Heard()
        assert connection is not None
        peer.close()
        await closed(connection)
        send(connection, heard)
        fault = await heard.failure()
        assert (fault.kind, fault.sent, fault.is_reused, fault.after_ms) == (FaultKind.CLOSED, False, True, 0)
        assert is_stale(fault)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_that_crosses_the_end_of_its_connection_is_stale(how: str) -> None:
    async with listening() as place, leg(place) as it:
        _, peer = await it.used(place)
        connection, heard = it.take(), Heard()
        assert connection is not None
        send(connection, heard)
        getattr(peer, how)()
        fault = await heard.failure()
        assert (fault.kind, fault.sent, fault.answer_began) == (FaultKind.CLOSED, True, False)
        assert fault.reason == "it closed the connection"
        assert is_stale(fault)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_that_somebody_had_time_to_work_on_is_not_stale(how: str) -> None:
    async with listening() as place, leg(place) as it:
        _, peer = await it.used(place)
        connection, heard = it.take(), Heard()
        assert connection is not None
        send(connection, heard)
        await peer.request()
        it.clock.advance(ms=1_001)
        getattr(peer, how)()
        fault = await heard.failure()
        assert (fault.after_ms, fault.sent) == (1_001, True)
        assert not is_stale(fault)


async def test_half_an_answer_is_not_stale() -> None:
    async with listening() as place, leg(place) as it:
        _, peer = await it.used(place)
        connection, heard = it.take(), Heard()
        assert connection is not None
        send(connection, heard)
        await peer.answer(ANSWER[:10])
        peer.close()
        fault = await heard.failure()
        assert (fault.kind, fault.answer_began) == (FaultKind.CLOSED, True)
        assert fault.reason == "it closed the connection within the answer"
        assert not is_stale(fault)
