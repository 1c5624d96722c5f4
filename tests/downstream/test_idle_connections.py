"""Idle connections are kept longer than any client pools them, in a bounded number, and closed first when the process stops."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from downstream_site.serving import answer_from, answer_of, echo, serving
from tidegate_testing.tasks import until
from tidegate_testing.wire import Connection

from tidegate_sidecar.downstream.connection import KEEPALIVE_S
from tidegate_sidecar.downstream.idle import IdleConnections

GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def used(app: Connection) -> None:
    await app.send(GET)
    assert await answer_from(app) == b"GET /v1/models "


async def test_they_are_kept_for_an_hour() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await used(app)
        assert site.connection.keepalive_timeout == KEEPALIVE_S == 3_600
        site.tick(ms=3_500_000)
        await used(app)


async def test_of_too_many_the_one_that_has_been_idle_longest_is_closed() -> None:
    async with serving(echo, max_idle=3) as site, AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(await site.connect()) for _ in range(3)]
        for app in apps:
            await used(app)
        await used(apps[0])
        await until(lambda: site.server.idle.count == 3)
        apps.append(await stack.enter_async_context(await site.connect()))
        assert await apps[1].rest() == b""
        for app in (apps[0], apps[2], apps[3]):
            await used(app)


async def test_those_in_use_are_not_among_them() -> None:
    """Waiting for the rest of a head, of a body, for an answer, or for the reading of an unread body: none is idle."""
    async with serving(max_idle=1) as site, AsyncExitStack() as stack:
        apps: list[Connection] = []
        for part in (GET[:1], GET[:-1], GET, GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 9\r\n\r\n")):
            app = await stack.enter_async_context(await site.connect())
            await app.send(part)
            await until(lambda: len(site.server.connections) == len(apps) + 1 and not site.server.idle.count)
            apps.append(app)
        for _ in range(3):
            await stack.enter_async_context(await site.connect())
        await until(lambda: len(site.server.connections) == 5)
        assert site.server.idle.count == 1

        await apps[0].send(GET[1:])
        await apps[1].send(GET[-1:])
        for _ in range(4):
            call = await site.next_call()
            call.app.write(answer_of(b"ok"))
            call.end()
        for app in apps:
            assert await answer_from(app) == b"ok"


async def test_a_connection_whose_body_was_not_read_is_idle_when_the_rest_of_it_has_come() -> None:
    async with serving() as site, await site.connect() as app:
        await app.send(GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 9\r\n\r\n"))
        call = await site.next_call()
        call.app.write(answer_of(b"no"))
        call.end()
        await answer_from(app)
        assert site.server.idle.count == 0
        await app.send(b"123456789")
        await until(lambda: site.server.idle.count == 1)


async def test_draining_closes_the_idle_at_once_and_the_others_behind_their_answer() -> None:
    async with serving() as site, await site.connect() as idle, await site.connect() as busy:
        await busy.send(GET)
        call = await site.next_call()
        await until(lambda: len(site.server.connections) == 2)
        site.listener.stop_accepting()
        assert site.server.is_draining
        assert await idle.rest() == b""
        call.app.write(answer_of(b"last"))
        call.end()
        assert (await busy.rest()).endswith(b"last")


async def test_draining_takes_a_request_that_has_arrived_and_was_not_read_yet() -> None:
    """Closed now, its application would meet a reset in place of an answer."""
    async with serving(echo) as site, await site.connect() as app:
        await used(app)
        await until(lambda: site.server.idle.count)
        os.write(app.writer.get_extra_info("socket").fileno(), GET)  # in this turn, past the loop
        site.listener.stop_accepting()
        assert (await app.rest()).endswith(b"GET /v1/models ")
        assert len(site.requests) == 2


async def test_draining_waits_for_the_rest_of_a_request_that_has_begun() -> None:
    async with serving(echo) as site, await site.connect() as app:
        await app.send(GET[:9])
        await until(lambda: site.server.connections and site.connection._head.seen)
        site.listener.stop_accepting()
        await asyncio.sleep(0)
        await app.send(GET[9:])
        assert (await app.rest()).endswith(b"GET /v1/models ")


async def test_closing_cuts_what_is_still_in_progress() -> None:
    async with serving() as site, await site.connect() as app, await site.connect() as half:
        await app.send(GET)
        await half.send(GET[:5])
        call = await site.next_call()
        await until(lambda: len(site.server.connections) == 2 and not site.server.idle.count)
        closing = asyncio.get_running_loop().create_task(site.listener.close())
        assert await app.rest() == b""
        await closing
        assert call.is_cancelled
        await until(lambda: site.faults)
        assert site.faults[0].is_gone


class Fake:
    def __init__(self) -> None:
        self.is_closed = False

    def force_close(self) -> None:
        self.is_closed = True

    def fileno(self) -> int:
        return -1


def test_the_longest_idle_goes_first_whatever_the_order() -> None:
    idle = IdleConnections(2)
    first, second, third = Fake(), Fake(), Fake()
    idle.add(first)
    idle.add(second)
    idle.discard(first)
    idle.add(first)
    idle.add(third)
    assert [it.is_closed for it in (first, second, third)] == [False, True, False]
    assert idle.count == 2
    idle.discard(second)
    assert idle.count == 2
