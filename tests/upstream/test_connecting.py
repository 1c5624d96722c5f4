"""Connections are made within their time, by the addresses that there are, and are left to nobody when their maker leaves."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tidegate_testing.cancelling import Cancelling, Moment
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.networks import Authority, Names, http_proxy, silent, sockets
from upstream_testing.places import Leg, Place, leg, listening, send

from tidegate_sidecar.upstream.connection import Connection
from tidegate_sidecar.upstream.faults import ConnectError, ConnectionFault, FaultKind
from tidegate_sidecar.upstream.tls import TlsSettings

SUSPENSIONS_MAX = 100


async def fault_of(it: Leg, within_ms: int = 15_000) -> ConnectionFault:
    with pytest.raises(ConnectError) as caught:
        await it.connect(within_ms)
    fault = caught.value.fault
    assert not fault.sent
    assert it.origin.open_count == 0
    return fault


async def test_a_name_leads_to_a_connection() -> None:
    async with listening() as place, leg(place, host="provider.test", lookup=Names("127.0.0.1")) as it:
        connection, heard = await it.connect(), Heard()
        send(connection, heard)
        await (await place.peer()).answer()
        await heard.end()
        assert heard.body == b"hi"


async def test_options_of_the_socket() -> None:
    """Requests are not held back to be joined with others, and a silent connection is not forgotten on the way."""
    async with listening() as place, leg(place) as it:
        connection = await it.connect()
        assert connection._transport is not None
        with socket.socket(fileno=os.dup(connection._transport.get_extra_info("socket").fileno())) as ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_port_on_which_nobody_listens_is_a_failure() -> None:
    async with listening() as place, leg(place, port=1) as it:
        fault = await fault_of(it)
        assert (fault.kind, fault.reason) == (FaultKind.CONNECT, "the connection failed: Connection refused")


async def test_of_many_failures_the_first_is_told() -> None:
    async with listening() as place, leg(place, port=1, lookup=Names("127.0.0.1", "127.0.0.2", "::1")) as it:
        fault = await fault_of(it)
        assert (fault.kind, fault.reason) == (FaultKind.CONNECT, "the connection failed: Connection refused")


async def test_a_name_that_leads_nowhere_is_a_failure() -> None:
    async with listening() as place, leg(place, lookup=Names()) as it:
        fault = await fault_of(it)
        assert (fault.kind, fault.reason) == (FaultKind.DNS, "its host name was not found")


async def test_a_connection_that_takes_too_long_is_a_failure() -> None:
    with silent("127.0.0.1") as port:
        async with listening() as place, leg(place, port=port) as it:
            before = sockets()
            fault = await fault_of(it, within_ms=50)
            assert (fault.kind, fault.reason) == (
                FaultKind.CONNECT_TIMEOUT,
                "the connection was not made in time",
            )
            await until(lambda: sockets() == before)


@pytest.mark.parametrize("dead", ["127.0.0.2", "::1"])
async def test_a_silent_address_is_passed_by(dead: str) -> None:
    """RFC 8305: the next one is tried after a quarter of a second, and those of both families by turns."""
    async with listening() as place, leg(place, lookup=Names(dead, "127.0.0.1")) as it:
        if dead == "::1":
            await it.connect()  # nobody listens there at all, so there is no wait
            return
        with silent(dead, place.port):
            begun = asyncio.get_running_loop().time()
            await it.connect()
            assert asyncio.get_running_loop().time() - begun >= 0.2
            await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_only_public_addresses_are_connected_to() -> None:
    async with listening() as place:
        for addresses in (["127.0.0.1"], ["10.0.0.1", "::1", "fd00::1", "169.254.169.254"]):
            async with leg(place, host="provider.test", public_only=True, lookup=Names(*addresses)) as it:
                fault = await fault_of(it)
                assert fault.kind is FaultKind.NOT_PUBLIC
                assert fault.reason == (
                    "its host name leads to no public address, and its pool does not say allowPrivate"
                )
        async with leg(place, public_only=True) as it:
            assert (await fault_of(it)).kind is FaultKind.NOT_PUBLIC
        await asyncio.sleep(0)
        assert place.peers == []


async def test_a_private_address_among_public_ones_is_passed_by() -> None:
    names = Names("127.0.0.1", "2001:4860:4860::8888", "10.0.0.1", "8.8.8.8")
    async with leg(Place(), host="provider.test", public_only=True, lookup=names) as it:
        addresses = await it.origin._connector._addresses()
        assert [address[4][0] for address in addresses] == ["2001:4860:4860::8888", "8.8.8.8"]


# Cancelled at every moment.


class Closing(asyncio.Protocol):
    """A server that says nothing, and closes when the other side does."""


@asynccontextmanager
async def directly(folder: Path) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    server = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0)
    async with server:
        yield {"port": server.sockets[0].getsockname()[1]}, Names("127.0.0.1")


@asynccontextmanager
async def by_the_second_address(folder: Path) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    async with directly(folder) as (key, _):
        with silent("127.0.0.2", key["port"]):
            yield key, Names("127.0.0.2", "127.0.0.1")


@asynccontextmanager
async def by_tls(folder: Path) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    authority = Authority(folder)
    context = authority.server_context("localhost")
    server = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0, ssl=context)
    async with server:
        tls = TlsSettings(ca_file=str(authority.file))
        yield {"scheme": "https", "port": server.sockets[0].getsockname()[1], "tls": tls}, Names("127.0.0.1")


@asynccontextmanager
async def by_tls_that_is_not_trusted(folder: Path) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    async with by_tls(folder) as (key, names):
        yield {**key, "tls": None}, names


@asynccontextmanager
async def through_a_proxy(folder: Path) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    async with AsyncExitStack() as stack:
        key, names = await stack.enter_async_context(by_tls(folder))
        proxy = await stack.enter_async_context(http_proxy(lambda: ("127.0.0.1", key["port"])))
        yield {**key, "host": "localhost", "proxy": proxy.url}, names


WAYS = [directly, by_the_second_address, by_tls, by_tls_that_is_not_trusted, through_a_proxy]


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_nothing_is_left_of_a_connection_whose_maker_is_cancelled(
    way: Any, moment: Moment, tmp_path: Path
) -> None:
    """Neither a socket nor a task nor a word in the log, whenever it happens."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    cancelling = Cancelling(moment)
    async with way(tmp_path) as (key, names), leg(Place(), **key, lookup=names) as it:
        connect = cancelling.wrap(lambda _: it.connect())
        it.origins._resolver._known.clear()
        sockets_before, tasks_before = sockets(), asyncio.all_tasks()
        for cancelling.at in range(1, SUSPENSIONS_MAX):
            it.origins._resolver._known.clear()
            making: asyncio.Task[Any] = loop.create_task(connect(None))  # type: ignore[arg-type]
            outcome: Any = (await asyncio.gather(making, return_exceptions=True))[0]
            if not cancelling.has_cancelled:
                if isinstance(outcome, Connection):
                    outcome.close()
                break
            assert isinstance(outcome, asyncio.CancelledError | ConnectError), cancelling.at
            del making, outcome
            await until(lambda: it.origin.open_count == 0)
            await until(lambda: asyncio.all_tasks() == tasks_before)
            await until(lambda: sockets() == sockets_before)
        assert cancelling.at > 2
        await until(lambda: sockets() == sockets_before)
        gc.collect()
    assert told == []
