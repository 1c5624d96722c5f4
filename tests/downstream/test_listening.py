"""Listening says what is wrong with an address, and leaves nothing open when one of several is wrong."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web
from downstream_site.serving import LOCAL, Site, answer_from, echo
from tidegate_testing.wire import Connection

from tidegate_sidecar.downstream.listener import ListenError, listening, listening_app
from tidegate_sidecar.downstream.server import AppServer
from tidegate_sidecar.settings import Address


async def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(host="127.0.0.1", port=taken.getsockname()[1])
        site = Site(echo)
        server = AppServer(site.handle, on_fault=site.on_fault, now_ns=0)
        with pytest.raises(ListenError, match=rf"{address} is already in use"):
            async with listening_app(server, (*LOCAL, address)):
                pass


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0 is no address of this machine"):
        async with listening(
            lambda _: asyncio.sleep(0, web.Response()), (Address(host="192.0.2.1", port=0),)
        ):
            pass


async def test_one_server_listens_on_several_addresses() -> None:
    site = Site(echo)
    server = AppServer(site.handle, on_fault=site.on_fault, now_ns=0)
    async with listening_app(server, LOCAL + LOCAL) as listener:
        assert len({address.port for address in listener.addresses}) == 2
        for address in listener.addresses:
            async with await Connection.open(address.host, address.port) as app:
                await app.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert await answer_from(app) == b"GET /x "


async def test_the_admin_port_has_aiohttps_own_requests() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.query["a"])

    async with listening(handle, LOCAL) as listener, aiohttp.ClientSession() as session:
        async with session.get(f"http://{listener.addresses[0]}/x?a=b") as response:
            assert await response.text() == "b"
        listener.stop_accepting()
