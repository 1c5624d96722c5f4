"""Each instruction on the wire: slow, failing, cut, silent and unreadable answers, in both dialects."""

from __future__ import annotations

import asyncio
import json
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator

if TYPE_CHECKING:
    import openai
    from aiohttp import ClientSession

PATHS = ["/v1/chat/completions", "/v1/messages"]
DELTAS = {PATHS[0]: b'"content":"', PATHS[1]: b'"text_delta"'}
DONE = {PATHS[0]: b"[DONE]", PATHS[1]: b'"message_stop"'}

both = pytest.mark.parametrize("path", PATHS)


def texts_in(path: str, body: bytes) -> int:
    """Text deltas in a stream; OpenAI's first chunk has a role and an empty text."""
    is_openai_role = path == PATHS[0] and b'"role":"assistant"' in body
    return body.count(DELTAS[path]) - is_openai_role


async def read_until_cut(response: aiohttp.ClientResponse) -> bytes:
    """What arrives before the connection breaks; AssertionError where the answer is complete."""
    pieces = []
    try:
        async for piece in response.content.iter_any():
            pieces.append(piece)  # noqa: PERF401 - what came before the cut must survive it
    except aiohttp.ClientPayloadError:
        return b"".join(pieces)
    raise AssertionError(f"the answer was not cut: {pieces!r}")


@both
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", ["delay", "first-token-delay", "chunk-delay"])
async def test_delay_is_kept(
    http: ClientSession, message: dict[str, Any], path: str, name: str, *, is_stream: bool
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    body = {**message, "stream": is_stream}
    async with http.post(path, json=body, headers={f"x-simulate-{name}": "20ms"}) as response:
        head_s = loop.time() - began
        await response.read()
        whole_s = loop.time() - began
    if name == "delay":
        assert head_s >= 0.02
    elif is_stream:
        assert whole_s >= (0.02 if name == "first-token-delay" else 6 * 0.02)


@both
async def test_head_comes_before_a_late_first_token(
    simulator: Simulator, http: ClientSession, message: dict[str, Any], path: str
) -> None:
    headers = {"x-simulate-first-token-delay": "1h"}
    async with http.post(path, json={**message, "stream": True}, headers=headers) as response:
        assert response.status == 200
        await simulator.wait_for(lambda s: s.counters.open_streams == 1)
        response.close()
    await simulator.wait_for(lambda s: s.counters.cut_by_client == 1 and s.counters.open_streams == 0)


@both
async def test_delay_holds_for_failures_and_ends_with_the_client(
    simulator: Simulator, http: ClientSession, message: dict[str, Any], path: str
) -> None:
    headers = {"x-simulate-delay": "1h", "x-simulate-status": "500"}

    async def ask() -> None:
        await http.post(path, json=message, headers=headers)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await simulator.wait_for(lambda s: s.counters.open_requests == 1)
        asking.cancel()
    await simulator.wait_for(lambda s: s.counters.cut_by_client == 1 and s.counters.open_connections == 0)


@both
@pytest.mark.parametrize("chunks", [1, 2, 7, 40])
async def test_chunks_are_text_deltas(
    http: ClientSession, message: dict[str, Any], path: str, chunks: int
) -> None:
    body = {**message, "stream": True, "max_tokens": 1000}
    async with http.post(path, json=body, headers={"x-simulate-chunks": str(chunks)}) as response:
        assert texts_in(path, await response.read()) == chunks


@both
@pytest.mark.parametrize("place", [0, 1, 3, 7, 100])
async def test_stream_is_cut_after_so_many_deltas(
    simulator: Simulator, http: ClientSession, message: dict[str, Any], path: str, place: int
) -> None:
    headers = {"x-simulate-cut-after": str(place)}
    async with http.post(path, json={**message, "stream": True}, headers=headers) as response:
        assert response.status == 200
        received = await read_until_cut(response)
    assert texts_in(path, received) == min(place, 7)
    assert DONE[path] not in received
    await simulator.wait_for(lambda s: s.counters.cut_by_simulator == 1)


@both
async def test_answer_is_cut_after_half_of_the_body(
    http: ClientSession, message: dict[str, Any], path: str
) -> None:
    headers = {"x-simulate-cut-after": "0", "x-simulate-size": "1000000"}
    async with http.post(path, json=message, headers=headers) as response:
        received = await read_until_cut(response)
        assert len(received) == int(response.headers["content-length"]) // 2


@both
@pytest.mark.parametrize("place", [0, 3, 100])
async def test_stream_stalls_until_the_client_leaves(
    simulator: Simulator, http: ClientSession, message: dict[str, Any], path: str, place: int
) -> None:
    headers = {"x-simulate-stall-after": str(place)}
    received = b""
    async with http.post(path, json={**message, "stream": True}, headers=headers) as response:
        while texts_in(path, received) < min(place, 7):
            received += await response.content.readany()
        assert simulator.counters.open_streams == 1
        response.close()
    assert DONE[path] not in received
    await simulator.wait_for(lambda s: s.counters.cut_by_client == 1 and s.counters.open_requests == 0)


@both
async def test_answer_stalls_after_half_of_the_body(
    simulator: Simulator, http: ClientSession, message: dict[str, Any], path: str
) -> None:
    async with http.post(path, json=message, headers={"x-simulate-stall-after": "0"}) as response:
        half = int(response.headers["content-length"]) // 2
        assert len(await response.content.readexactly(half)) == half
        response.close()
    await simulator.wait_for(lambda s: s.counters.cut_by_client == 1 and s.counters.open_requests == 0)


@both
@pytest.mark.parametrize("place", [0, 2, 100])
async def test_error_event_ends_the_stream(
    http: ClientSession, message: dict[str, Any], path: str, place: int
) -> None:
    headers = {"x-simulate-stream-error": str(place)}
    async with http.post(path, json={**message, "stream": True}, headers=headers) as response:
        received = await response.read()
    assert texts_in(path, received) == min(place, 7)
    assert DONE[path] not in received
    last = json.loads(received.rstrip().rpartition(b"data: ")[2])
    assert "overloaded" in last["error"]["message"]


@both
@pytest.mark.parametrize("is_stream", [False, True])
async def test_garbage_body_is_no_json(
    http: ClientSession, message: dict[str, Any], path: str, *, is_stream: bool
) -> None:
    body = {**message, "stream": is_stream}
    async with http.post(path, json=body, headers={"x-simulate-garbage": "body"}) as response:
        assert response.status == 200
        with pytest.raises(json.JSONDecodeError):
            await response.json()


@both
async def test_garbage_in_a_stream_is_one_line(
    http: ClientSession, message: dict[str, Any], path: str
) -> None:
    headers = {"x-simulate-garbage": "stream"}
    async with http.post(path, json={**message, "stream": True}, headers=headers) as response:
        lines = [line for line in (await response.read()).split(b"\n") if line.startswith(b"data: {")]
    broken = 0
    for line in lines:
        try:
            json.loads(line.removeprefix(b"data: "))
        except json.JSONDecodeError:
            broken += 1
    assert broken == 1
    async with http.post(path, json=message, headers=headers) as response:
        await response.json()


@both
@pytest.mark.parametrize(("garbage", "expected"), [("http", b"\x00simulated garbage"), ("empty", b"")])
async def test_garbage_instead_of_http(
    simulator: Simulator,
    http: ClientSession,
    message: dict[str, Any],
    *,
    path: str,
    garbage: str,
    expected: bytes,
) -> None:
    headers = {"x-simulate-garbage": garbage}
    with pytest.raises(aiohttp.ClientError):
        await http.post(path, json=message, headers=headers)
    host, port = simulator.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: x\r\nx-simulate-garbage: {garbage}\r\ncontent-length: 0\r\n\r\n".encode()
    )
    received = await reader.read()
    assert received.startswith(expected)
    assert bool(received) == bool(expected)
    writer.close()
    await writer.wait_closed()


@both
async def test_instructed_usage_and_size_are_reported(
    http: ClientSession, message: dict[str, Any], path: str
) -> None:
    headers = {"x-simulate-input-tokens": "123", "x-simulate-output-tokens": "45", "x-simulate-size": "5000"}
    async with http.post(path, json=message, headers=headers) as response:
        body = await response.json()
    if path == PATHS[0]:
        counts = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
        text = body["choices"][0]["message"]["content"]
    else:
        counts = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
        text = body["content"][0]["text"]
    assert counts == (123, 45)
    assert len(text) == 5000


@both
async def test_bad_instruction_is_told_in_the_dialect(
    http: ClientSession, message: dict[str, Any], path: str
) -> None:
    async with http.post(path, json=message, headers={"x-simulate-delay": "fast"}) as response:
        body = await response.json()
    assert response.status == 400
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"].startswith(
        "x-simulate-delay: 'fast' is not allowed; write 0 or a duration"
    )


async def test_only_the_named_provider_fails(http: ClientSession, chat: dict[str, Any]) -> None:
    headers = {"x-simulate-status": "503", "x-simulate-only": "primary"}
    statuses = {}
    for provider in ("primary", "secondary"):
        async with http.post(
            f"/providers/{provider}/v1/chat/completions", json=chat, headers=headers
        ) as response:
            statuses[response.headers["x-simulated-provider"]] = response.status
    assert statuses == {"primary": 503, "secondary": 200}


async def test_behaviour_set_for_a_provider_holds_until_reset(
    simulator: Simulator, openai_client: openai.AsyncOpenAI, http: ClientSession, chat: dict[str, Any]
) -> None:
    simulator.set_behaviour("primary", Behaviour(status=429))
    for _ in range(2):
        with pytest.raises(resolve_name("openai.RateLimitError")):
            await openai_client.chat.completions.create(**chat)
    async with http.post("/v1/chat/completions", json=chat) as response:
        assert response.status == 200
    simulator.reset_behaviour()
    await openai_client.chat.completions.create(**chat)
    simulator.set_behaviour("primary", Behaviour(status=429))
    simulator.reset_behaviour("primary")
    await openai_client.chat.completions.create(**chat)


async def test_behaviours_follow_each_other_and_the_last_stays(
    simulator: Simulator, http: ClientSession, chat: dict[str, Any]
) -> None:
    simulator.set_behaviour("default", Behaviour(status=503), Behaviour(status=429), Behaviour())
    statuses = []
    for _ in range(4):
        async with http.post("/v1/chat/completions", json=chat) as response:
            statuses.append(response.status)
    assert statuses == [503, 429, 200, 200]
    with pytest.raises(ValueError, match="no behaviour given for 'default'"):
        simulator.set_behaviour("default")


async def test_share_of_failures_can_be_repeated(chat: dict[str, Any]) -> None:
    async def statuses(seed: int) -> list[int]:
        simulator = Simulator(behaviour=Behaviour(status=503, fail_percent=50), seed=seed)
        await simulator.start()
        seen = []
        async with aiohttp.ClientSession(simulator.url) as session:
            for _ in range(20):
                async with session.post("/v1/chat/completions", json=chat) as response:
                    seen.append(response.status)
        await simulator.stop()
        return seen

    first = await statuses(7)
    assert set(first) == {200, 503}
    assert first == await statuses(7)
    assert first != await statuses(8)


def test_cut_keeps_what_was_sent_on_uvloop_too(message: dict[str, Any]) -> None:
    """uvloop writes at the end of an iteration, so an abort could swallow what the test counts on."""

    async def scenario() -> None:
        simulator = Simulator(behaviour=Behaviour(cut_after=3))
        await simulator.start()
        async with (
            aiohttp.ClientSession(simulator.url) as session,
            session.post("/v1/messages", json={**message, "stream": True}) as response,
        ):
            assert texts_in("/v1/messages", await read_until_cut(response)) == 3
        simulator.set_behaviour("default", Behaviour(stall_after=3))
        async with (
            aiohttp.ClientSession(simulator.url) as session,
            session.post("/v1/messages", json={**message, "stream": True}) as response,
        ):
            await simulator.stop()
            await read_until_cut(response)

    uvloop.run(scenario())
