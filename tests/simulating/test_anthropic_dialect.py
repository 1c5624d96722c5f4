"""Anthropic's shapes, checked by its client's own models and by the unmodified client over a real socket."""

from __future__ import annotations

import json
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import anthropic
    from aiohttp import ClientSession

PATH = "/v1/messages"
TEXT = "Simulated answer of claude-test to: Hello there"


def events_in(body: bytes) -> list[tuple[str, bytes]]:
    blocks = body.split(b"\n\n")
    assert blocks.pop() == b""
    events = []
    for block in blocks:
        kind, data = block.split(b"\n")
        name = kind.removeprefix(b"event: ").decode()
        events.append((name, data.removeprefix(b"data: ")))
        assert json.loads(events[-1][1])["type"] == name
    return events


async def test_message_is_strictly_valid(
    http: ClientSession, message: dict[str, Any], strictly: Callable[..., Any]
) -> None:
    async with http.post(PATH, json={**message, "system": "Be brief."}) as response:
        answer = strictly("anthropic.types.Message", await response.read())
        assert response.headers["request-id"] == "req_simulated_00000001"
    assert [block.text for block in answer.content] == [TEXT]
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 7)


async def test_stream_is_strictly_valid_and_in_order(
    http: ClientSession, message: dict[str, Any], strictly: Callable[..., Any]
) -> None:
    async with http.post(PATH, json={**message, "stream": True}) as response:
        events = events_in(await response.read())
    names = [name for name, _ in events]
    assert names == [
        *("message_start", "content_block_start", "ping"),
        *["content_block_delta"] * 7,
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    values = [
        strictly("anthropic.types.RawMessageStreamEvent", data) for name, data in events if name != "ping"
    ]
    assert (values[0].message.usage.input_tokens, values[0].message.usage.output_tokens) == (2, 1)
    assert values[0].message.content == []
    assert "".join(value.delta.text for value in values if value.type == "content_block_delta") == TEXT
    assert values[-2].delta.stop_reason == "end_turn"
    assert (values[-2].usage.input_tokens, values[-2].usage.output_tokens) == (2, 7)


async def test_unreported_usage_is_absent_everywhere(http: ClientSession, message: dict[str, Any]) -> None:
    headers = {"x-simulate-usage": "none"}
    async with http.post(PATH, json=message, headers=headers) as response:
        assert b"usage" not in await response.read()
    async with http.post(PATH, json={**message, "stream": True}, headers=headers) as response:
        assert b"usage" not in await response.read()


async def test_models_are_strictly_valid(http: ClientSession, strictly: Callable[..., Any]) -> None:
    async with http.get("/v1/models", headers={"anthropic-version": "2023-06-01"}) as response:
        body = await response.json()
    models = [strictly("anthropic.types.ModelInfo", json.dumps(model)) for model in body["data"]]
    assert (body["first_id"], body["last_id"], body["has_more"]) == (models[0].id, models[-1].id, False)


async def test_real_client_talks_streams_and_lists(
    anthropic_client: anthropic.AsyncAnthropic, message: dict[str, Any]
) -> None:
    answer = await anthropic_client.messages.create(**message)
    assert answer.content[0].type == "text"
    assert answer.content[0].text == TEXT
    async with anthropic_client.messages.stream(**message) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == TEXT
    assert (final.usage.input_tokens, final.usage.output_tokens) == (2, 7)
    models = [model.id async for model in anthropic_client.models.list()]
    assert models == ["simulated-large", "simulated-small"]


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (400, "anthropic.BadRequestError", "invalid_request_error"),
        (401, "anthropic.AuthenticationError", "authentication_error"),
        (403, "anthropic.PermissionDeniedError", "permission_error"),
        (404, "anthropic.NotFoundError", "not_found_error"),
        (422, "anthropic.UnprocessableEntityError", "invalid_request_error"),
        (429, "anthropic.RateLimitError", "rate_limit_error"),
        (500, "anthropic.InternalServerError", "api_error"),
        (503, "anthropic.InternalServerError", "api_error"),
        (504, "anthropic.InternalServerError", "timeout_error"),
        (529, "anthropic.InternalServerError", "overloaded_error"),
    ],
)
async def test_failure_reaches_the_real_client_as_its_own_error(
    anthropic_client: anthropic.AsyncAnthropic,
    message: dict[str, Any],
    strictly: Callable[..., Any],
    *,
    status: int,
    expected: str,
    kind: str,
) -> None:
    headers = {"x-simulate-status": str(status), "x-simulate-retry-after": "3"}
    with pytest.raises(resolve_name(expected)) as caught:
        await anthropic_client.messages.create(**message, extra_headers=headers)
    body = strictly("anthropic.types.shared.ErrorResponse", caught.value.response.content)
    assert (caught.value.status_code, body.error.type) == (status, kind)
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.request_id == body.request_id == "req_simulated_00000001"


async def test_error_inside_a_stream_reaches_the_real_client(
    anthropic_client: anthropic.AsyncAnthropic, message: dict[str, Any]
) -> None:
    pieces: list[str] = []

    async def read() -> None:
        headers = {"x-simulate-stream-error": "2"}
        async with anthropic_client.messages.stream(**message, extra_headers=headers) as stream:
            async for piece in stream.text_stream:
                pieces.append(piece)  # noqa: PERF401 - what came before the error must survive it

    with pytest.raises(resolve_name("anthropic.APIStatusError"), match="overloaded_error"):
        await read()
    assert pieces == ["Simulated ", "answer "]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stream": 1}, "stream"),
    ],
)
async def test_invalid_request_names_the_field(
    http: ClientSession,
    message: dict[str, Any],
    strictly: Callable[..., Any],
    change: dict[str, Any],
    field: str,
) -> None:
    async with http.post(PATH, json={**message, **change}) as response:
        body = strictly("anthropic.types.shared.ErrorResponse", await response.read())
    assert response.status == 400
    assert body.error.type == "invalid_request_error"
    assert body.error.message.startswith(f"{field}: ")


async def test_tools_and_images_are_taken(
    anthropic_client: anthropic.AsyncAnthropic, message: dict[str, Any]
) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    message["messages"] = [
        {"role": "user", "content": [image, {"type": "text", "text": "See this"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]},
    ]
    message["system"] = [{"type": "text", "text": "Be brief."}]
    tools: list[Any] = [{"name": "f", "input_schema": {"type": "object"}}]
    answer = await anthropic_client.messages.create(**message, tools=tools)
    assert answer.usage.input_tokens == 4 + 3 * 100


async def test_bound_on_output_is_kept(
    anthropic_client: anthropic.AsyncAnthropic, message: dict[str, Any]
) -> None:
    answer = await anthropic_client.messages.create(**{**message, "max_tokens": 3})
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 3)
