"""OpenAI's shapes, checked by its client's own models and by the unmodified client over a real socket."""

from __future__ import annotations

import asyncio
import json
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai
    from aiohttp import ClientSession

    from tidegate_cli.simulator.server import Simulator

PATH = "/v1/chat/completions"
TEXT = "Simulated answer of gpt-4o-mini to: Hello there"


def data_lines(body: bytes) -> list[bytes]:
    lines = body.split(b"\n\n")
    assert lines.pop() == b""
    assert all(line.startswith(b"data: ") for line in lines)
    return [line.removeprefix(b"data: ") for line in lines]


async def test_completion_is_strictly_valid(
    http: ClientSession, chat: dict[str, Any], strictly: Callable[..., Any]
) -> None:
    async with http.post(PATH, json={**chat, "n": 2}) as response:
        completion = strictly("openai.types.chat.ChatCompletion", await response.read())
        assert response.headers["x-request-id"] == "req_simulated_00000001"
        assert response.headers["x-simulated-provider"] == "default"
    assert [choice.message.content for choice in completion.choices] == [TEXT, TEXT]
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (2, 14)
    assert completion.usage.total_tokens == 16


@pytest.mark.parametrize("choices", [1, 3])
async def test_stream_without_usage_has_no_usage_field(
    http: ClientSession, chat: dict[str, Any], strictly: Callable[..., Any], choices: int
) -> None:
    async with http.post(PATH, json={**chat, "stream": True, "n": choices}) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        *lines, done = data_lines(await response.read())
    assert done == b"[DONE]"
    assert all("usage" not in json.loads(line) for line in lines)
    chunks = [strictly("openai.types.chat.ChatCompletionChunk", line) for line in lines]
    assert len({chunk.id for chunk in chunks}) == 1
    for index in range(choices):
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert own[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in own) == TEXT
        assert [choice.finish_reason for choice in own] == [None] * (len(own) - 1) + ["stop"]


async def test_stream_with_usage_ends_with_a_chunk_without_choices(
    http: ClientSession, chat: dict[str, Any], strictly: Callable[..., Any]
) -> None:
    """The other chunks carry `usage: null`, as the API reference demands."""
    body = {**chat, "stream": True, "stream_options": {"include_usage": True}}
    async with http.post(PATH, json=body) as response:
        *lines, last, done = data_lines(await response.read())
    assert done == b"[DONE]"
    assert all(json.loads(line)["usage"] is None for line in lines)
    chunk = strictly("openai.types.chat.ChatCompletionChunk", last)
    assert chunk.choices == []
    assert (chunk.usage.prompt_tokens, chunk.usage.completion_tokens) == (2, 7)


async def test_unreported_usage_is_absent_everywhere(http: ClientSession, chat: dict[str, Any]) -> None:
    headers = {"x-simulate-usage": "none"}
    async with http.post(PATH, json=chat, headers=headers) as response:
        assert "usage" not in await response.json()
    body = {**chat, "stream": True, "stream_options": {"include_usage": True}}
    async with http.post(PATH, json=body, headers=headers) as response:
        *lines, _ = data_lines(await response.read())
    assert all(json.loads(line)["choices"] for line in lines)


async def test_models_are_strictly_valid(http: ClientSession, strictly: Callable[..., Any]) -> None:
    async with http.get("/v1/models") as response:
        body = await response.json()
    assert body["object"] == "list"
    models = [strictly("openai.types.Model", json.dumps(model)) for model in body["data"]]
    assert [model.id for model in models] == ["simulated-large", "simulated-small"]


async def test_real_client_chats_streams_and_lists(
    openai_client: openai.AsyncOpenAI, chat: dict[str, Any]
) -> None:
    completion = await openai_client.chat.completions.create(**chat)
    assert completion.choices[0].message.content == TEXT
    text = ""
    usages = []
    async for chunk in await openai_client.chat.completions.create(
        **chat, stream=True, stream_options={"include_usage": True}
    ):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usages.append(chunk.usage)
    assert text == TEXT
    assert usages[-1] is not None
    assert usages[-1].total_tokens == 9
    assert [model.id async for model in openai_client.models.list()] == ["simulated-large", "simulated-small"]


async def test_real_synchronous_client_works_from_a_thread(
    simulator: Simulator, chat: dict[str, Any]
) -> None:
    def run() -> str | None:
        client_of_sdk = resolve_name("openai.OpenAI")
        with client_of_sdk(base_url=f"{simulator.url}/v1", api_key="sk-test", max_retries=0) as client:
            text: str | None = client.chat.completions.create(**chat).choices[0].message.content
            return text

    assert await asyncio.to_thread(run) == TEXT


async def test_stream_helper_of_the_real_client_accepts_the_events(
    openai_client: openai.AsyncOpenAI, chat: dict[str, Any]
) -> None:
    async with openai_client.chat.completions.stream(**chat) as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == TEXT


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "openai.BadRequestError"),
        (401, "openai.AuthenticationError"),
        (403, "openai.PermissionDeniedError"),
        (404, "openai.NotFoundError"),
        (409, "openai.ConflictError"),
        (422, "openai.UnprocessableEntityError"),
        (429, "openai.RateLimitError"),
        (500, "openai.InternalServerError"),
        (503, "openai.InternalServerError"),
        (504, "openai.InternalServerError"),
    ],
)
async def test_failure_reaches_the_real_client_as_its_own_error(
    openai_client: openai.AsyncOpenAI,
    chat: dict[str, Any],
    status: int,
    expected: str,
) -> None:
    headers = {"x-simulate-status": str(status), "x-simulate-retry-after": "3"}
    with pytest.raises(resolve_name(expected)) as caught:
        await openai_client.chat.completions.create(**chat, extra_headers=headers)
    assert caught.value.status_code == status
    assert caught.value.type
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.request_id == "req_simulated_00000001"


async def test_error_inside_a_stream_reaches_the_real_client(
    openai_client: openai.AsyncOpenAI, chat: dict[str, Any]
) -> None:
    pieces: list[str | None] = []

    async def read() -> None:
        headers = {"x-simulate-stream-error": "2"}
        stream = await openai_client.chat.completions.create(**chat, stream=True, extra_headers=headers)
        async for chunk in stream:
            pieces.append(chunk.choices[0].delta.content)  # noqa: PERF401 - what came before the error must survive it

    with pytest.raises(resolve_name("openai.APIError"), match="overloaded") as caught:
        await read()
    assert pieces == ["", "Simulated ", "answer "]
    assert caught.value.type == "server_error"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
    ],
)
async def test_invalid_request_names_the_field(
    http: ClientSession, chat: dict[str, Any], change: dict[str, Any], param: str
) -> None:
    async with http.post(PATH, json={**chat, **change}) as response:
        error = (await response.json())["error"]
    assert response.status == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, None)
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
async def test_body_that_is_no_object_is_refused(http: ClientSession, body: bytes) -> None:
    async with http.post(PATH, data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_tools_images_and_null_content_are_taken(
    openai_client: openai.AsyncOpenAI, chat: dict[str, Any]
) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    tool_call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chat["messages"] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "See this"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [tool_call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    ]
    tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    completion = await openai_client.chat.completions.create(**chat, tools=tools)
    assert completion.choices[0].message.content == "Simulated answer of gpt-4o-mini to: 42"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 5 + 100


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_bound_on_output_is_kept(
    openai_client: openai.AsyncOpenAI, chat: dict[str, Any], name: str
) -> None:
    completion = await openai_client.chat.completions.create(**chat, **{name: 3})
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == "Simulated answer of"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 3
