"""The simulator as a server: where it listens, what it remembers, who may call, and how it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator

if TYPE_CHECKING:
    from aiohttp import ClientSession

CHAT = "/v1/chat/completions"


async def test_request_is_remembered_without_showing_its_key(
    simulator: Simulator, http: ClientSession, chat: dict[str, Any]
) -> None:
    headers = {"Authorization": "Bearer sk-secret", "X-Api-Key": "sk-other", "x-tier": "free"}
    async with http.post(f"/providers/a{CHAT}", json=chat, headers=headers):
        pass
    (request,) = simulator.requests
    assert (request.number, request.method, request.provider) == (1, "POST", "a")
    assert request.path == f"/providers/a{CHAT}"
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert request.json() == chat
    assert "sk-" not in repr(request)
    assert "x-tier" in repr(request)
    assert simulator.requests_to("a") == (request,)
    assert simulator.requests_to("b") == ()


async def test_memory_of_requests_is_bounded(chat: dict[str, Any]) -> None:
    simulator = Simulator(requests_max=2)
    await simulator.start()
    async with aiohttp.ClientSession(simulator.url) as session:
        for _ in range(3):
            async with session.post(CHAT, json=chat):
                pass
    await simulator.stop()
    assert [request.number for request in simulator.requests] == [2, 3]
    assert simulator.counters.received == 3


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (CHAT, {}, 401),
        (CHAT, {"authorization": "Bearer "}, 401),
        (CHAT, {"authorization": "Basic abc"}, 401),
        (CHAT, {"x-api-key": "k"}, 401),
        (CHAT, {"authorization": "Bearer k"}, 200),
        ("/v1/messages", {}, 401),
        ("/v1/messages", {"x-api-key": "k"}, 200),
        ("/v1/messages", {"authorization": "Bearer k"}, 200),
    ],
)
async def test_required_key_must_arrive(
    message: dict[str, Any], path: str, headers: dict[str, str], status: int
) -> None:
    simulator = Simulator(require_key=True)
    await simulator.start()
    async with (
        aiohttp.ClientSession(simulator.url) as session,
        session.post(path, json=message, headers=headers) as response,
    ):
        assert response.status == status
        if status == 401:
            kind = (await response.json())["error"]["type"]
            assert kind == ("authentication_error" if path == "/v1/messages" else "invalid_request_error")
    await simulator.stop()


async def test_revoked_key_is_refused(
    simulator: Simulator, http: ClientSession, chat: dict[str, Any]
) -> None:
    simulator.set_behaviour("default", Behaviour(accepted_keys=frozenset({"new"})))
    statuses = []
    for headers in ({}, {"authorization": "Bearer old"}, {"authorization": "Bearer new"}):
        async with http.post(CHAT, json=chat, headers=headers) as response:
            statuses.append(response.status)
    assert statuses == [401, 401, 200]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/embeddings", 404),
        ("POST", "/providers/a/v2/chat/completions", 404),
        ("POST", "/providers/not a name/v1/chat/completions", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}])
async def test_unknown_path_or_method_is_told_in_a_dialect(
    http: ClientSession, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with http.request(method, path, headers=headers) as response:
        assert response.status == status
        body = await response.json()
    assert body["error"]["message"]
    assert (body.get("type") == "error") == (bool(headers) and path != CHAT)


async def test_too_long_request_is_refused(http: ClientSession) -> None:
    async with http.post(CHAT, data=BytesIO(b" " * (32 * 1024 * 1024 + 1))) as response:
        assert response.status == 413
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_several_megabytes_are_taken(http: ClientSession, chat: dict[str, Any]) -> None:
    chat["messages"][0]["content"] = "word " * 1_000_000
    async with http.post(CHAT, data=BytesIO(json.dumps(chat).encode())) as response:
        assert (await response.json())["usage"]["prompt_tokens"] == 1_000_000


async def test_connection_serves_many_calls(
    simulator: Simulator, http: ClientSession, message: dict[str, Any]
) -> None:
    for is_stream in (False, True, False):
        async with http.post("/v1/messages", json={**message, "stream": is_stream}) as response:
            await response.read()
    await simulator.wait_for(lambda s: s.counters.answered == 3)
    assert simulator.counters.open_connections == 1


async def test_client_that_leaves_while_sending_is_counted(simulator: Simulator) -> None:
    host, port = simulator.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
    await simulator.wait_for(lambda s: s.counters.open_requests == 1)
    writer.close()
    await writer.wait_closed()
    await simulator.wait_for(lambda s: s.counters.cut_by_client == 1 and s.counters.open_requests == 0)
    assert simulator.counters.open_connections == simulator.counters.received == 0


async def test_unread_stream_is_backed_up_and_ends_with_the_client(
    simulator: Simulator, http: ClientSession, chat: dict[str, Any]
) -> None:
    headers = {"x-simulate-size": "16000000", "x-simulate-chunks": "100"}
    response = await http.post(CHAT, json={**chat, "stream": True}, headers=headers)
    await simulator.wait_for(lambda s: s.counters.open_streams == 1)
    response.close()
    await simulator.wait_for(lambda s: s.counters.open_streams == 0 and s.counters.cut_by_client == 1)


async def test_stop_ends_stalled_streams_idle_connections_and_half_requests(message: dict[str, Any]) -> None:
    """Nothing of the simulator is left in the loop, and a deadline that could not be kept would be seen."""
    tasks_before = asyncio.all_tasks()
    simulator = Simulator()
    address = await simulator.start()
    _, idle = await asyncio.open_connection(*address)
    _, half = await asyncio.open_connection(*address)
    half.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(simulator.url))
        headers = {"x-simulate-stall-after": "1"}
        for is_stream in (False, True, True):
            body = {**message, "stream": is_stream}
            await stack.enter_async_context(session.post("/v1/messages", json=body, headers=headers))
        async with session.post("/v1/messages", json=message) as response:
            await response.read()
        await simulator.wait_for(lambda s: s.counters.open_requests == 4 and s.counters.open_streams == 2)
        began = asyncio.get_running_loop().time()
        await simulator.stop(deadline_s=30)
        assert asyncio.get_running_loop().time() - began < 15
    assert simulator.counters.open_requests == simulator.counters.open_streams == 0
    assert simulator.counters.cut_by_simulator == 4
    for writer in (idle, half):
        writer.close()
        await writer.wait_closed()
    await simulator.wait_for(lambda s: s.counters.open_connections == 0)
    assert asyncio.all_tasks() == tasks_before


async def test_stopped_simulator_refuses_and_starts_again_where_it_was(chat: dict[str, Any]) -> None:
    simulator = Simulator()
    address = await simulator.start()
    url = simulator.url
    with pytest.raises(RuntimeError, match="already listens"):
        await simulator.start()
    await simulator.stop()
    await simulator.stop()
    with pytest.raises(RuntimeError, match="not listening"):
        _ = simulator.url
    async with aiohttp.ClientSession(url) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(CHAT, json=chat)
        assert await simulator.start(*address) == address
        async with session.post(CHAT, json=chat) as response:
            assert response.status == 200
    await simulator.stop()


async def test_wait_for_has_a_deadline(simulator: Simulator) -> None:
    with pytest.raises(TimeoutError, match=r"did not happen within 0.01 s: <Simulator http://127.0.0.1:"):
        await simulator.wait_for(lambda s: s.counters.answered == 1, deadline_s=0.01)


async def test_address_in_use_is_an_error(simulator: Simulator) -> None:
    port = int(simulator.url.rpartition(":")[2])
    other = Simulator()
    with pytest.raises(OSError, match="in use"):
        await other.start(port=port)
    assert repr(other).startswith("<Simulator not listening Counters(")
