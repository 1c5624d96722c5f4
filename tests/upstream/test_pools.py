"""Connections are kept for the next request, within limits of number, time and age."""

from __future__ import annotations

import asyncio
import gc

import pytest
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.places import Leg, Place, leg, listening, send

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.faults import ConnectError, FaultKind
from tidegate_sidecar.upstream.origins import Origins


async def used(it: Leg, place: Place, count: int) -> list[Connection]:
    """So many connections that are idle; the last one was used last."""
    made = [(await it.connect(), await place.peer()) for _ in range(count)]
    for connection, peer in made:
        it.clock.advance(ms=1)
        send(connection, heard := Heard())
        await peer.answer()
        await heard.end()
    return [connection for connection, _ in made]


async def test_the_connection_that_was_used_last_is_taken_first() -> None:
    async with listening() as place, leg(place) as it:
        first, second, third = await used(it, place, 3)
        assert [it.take(), it.take(), it.take(), it.take()] == [third, second, first, None]
        assert (it.origin.open_count, it.origin.idle_count) == (3, 0)
        assert all(connection.is_reused for connection in (first, second, third))


async def test_a_connection_that_is_idle_for_too_long_is_closed() -> None:
    async with listening() as place, leg(place) as it:
        first, second = await used(it, place, 2)
        it.clock.advance(ms=49_999)
        it.tick()
        assert (first.is_closed, second.is_closed) == (False, False)
        it.clock.advance(ms=1_001)
        it.tick()
        assert (first.is_closed, second.is_closed) == (True, True)
        await until(lambda: it.origin.open_count == 0)


async def test_a_connection_that_is_too_old_carries_no_other_request() -> None:
    async with listening() as place, leg(place, idle_ms=10**9) as it:
        (connection,) = await used(it, place, 1)
        it.clock.advance(ms=599_999)
        assert it.take() is connection
        send(connection, heard := Heard())
        it.clock.advance(ms=2)
        await place.peers[0].answer()
        await heard.end()
        assert it.take() is None
        assert connection.is_closed


async def test_a_connection_that_becomes_too_old_while_it_is_idle_is_closed() -> None:
    async with listening() as place, leg(place, idle_ms=10**9) as it:
        (connection,) = await used(it, place, 1)
        it.clock.advance(ms=600_001)
        it.tick()
        assert connection.is_closed


async def test_of_too_many_idle_connections_the_one_goes_that_is_idle_longest() -> None:
    async with listening() as place, leg(place, idle_max=2) as it:
        first, second, third = await used(it, place, 3)
        assert (first.is_closed, second.is_closed, third.is_closed) == (True, False, False)
        assert it.origin.idle_count == 2


async def test_more_connections_than_there_may_be_are_not_made() -> None:
    """That is no failure of the provider, and has a kind of its own."""
    async with listening() as place, leg(place, open_max=2) as it:
        first = await it.connect()
        await it.connect()
        with pytest.raises(ConnectError) as caught:
            await it.connect()
        fault = caught.value.fault
        assert (fault.kind, fault.sent) == (FaultKind.TOO_MANY, False)
        assert fault.reason == "there are 2 connections to it, and there may be no more"
        first.close()
        await until(lambda: it.origin.open_count == 1)
        await it.connect()


async def test_connections_that_are_being_made_count() -> None:
    async with listening() as place, leg(place, open_max=1) as it:
        making = it.connect()
        making.send(None)
        assert it.origin.open_count == 1
        with pytest.raises(ConnectError):
            await it.connect()
        making.close()
        assert it.origin.open_count == 0


async def test_closing_ends_all_connections_whatever_they_carry() -> None:
    async with listening() as place, leg(place) as it:
        await used(it, place, 2)
        busy = await it.connect()
        peer = await place.peer()
        send(busy, heard := Heard())
        assert (it.origins.open_count, it.origins.idle_count) == (3, 2)
        await it.origins.close()
        assert (it.origins.open_count, it.origins.idle_count) == (0, 0)
        await peer.gone()
        assert heard.told == []
        with pytest.raises(ConnectError, match="no connections are made any more"):
            await it.connect()


async def test_a_connection_that_was_being_made_when_all_were_closed_is_closed() -> None:
    async with listening() as place, leg(place) as it:
        making = asyncio.get_running_loop().create_task(it.connect())
        await asyncio.sleep(0)
        await it.origins.close()
        with pytest.raises(ConnectError, match="no connections are made any more"):
            await making
        await (await place.peer()).gone()


async def test_an_origin_is_the_same_as_long_as_somebody_holds_it_or_it_has_connections() -> None:
    async with listening() as place, leg(place) as it:
        origins: Origins = it.origins
        assert len(origins) == 1
        assert origins.get(place.key()) is it.origin
        other = origins.get(place.key(public_only=True))
        assert other is not it.origin
        assert len(origins) == 2
        del other
        assert len(origins) == 1

        (connection,) = await used(it, place, 1)
        del it.origin
        gc.collect()
        assert (len(origins), origins.idle_count) == (1, 1), "its connection is open"
        it.clock.advance(ms=51_000)
        it.tick()
        assert connection.is_closed
        await until(lambda: origins.open_count == 0)
        del connection
        await until(lambda: len(origins) == 0)
        it.origin = origins.get(place.key())


async def test_nothing_refers_to_a_connection_that_is_gone() -> None:
    """Nor does it wait for the collector."""
    async with listening() as place, leg(place) as it:
        gc.collect()
        gc.disable()
        try:
            (connection,) = await used(it, place, 1)
            connection.close()
            await until(lambda: it.origin.open_count == 0)
            del connection
            await until(lambda: not any(isinstance(found, Connection) for found in gc.get_objects()))
        finally:
            gc.enable()


async def test_what_is_shown_of_an_origin_is_where_it_leads_and_what_it_holds() -> None:
    async with listening() as place, leg(place, proxy="http://me:secret@proxy.test:3128") as it:
        assert "secret" not in repr(it.origin)
        assert repr(it.origin) == (
            f"<Origin OriginKey(http://127.0.0.1:{place.port}, None, through a proxy) open=0 idle=0>"
        )
