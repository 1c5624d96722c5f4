"""Every endpoint that is served, asked by the provider's own SDK: what it reads, what the provider is sent, what is recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tidegate_testing.configs import TIMEOUTS, allow, config, model, pool, provider
from tidegate_testing.configs import anthropic as anthropic_provider
from tidegate_testing.provider import ProviderCall, RawProvider, Script, raw_provider
from tidegate_testing.scripts import OUR_KEY, answering
from tidegate_testing.sidecar import Sidecar, running_sidecar

from tidegate_policy.model import CompiledConfig, CredentialRef, Denial, DenialCode, ObjectRef, Timeouts
from tidegate_sidecar.telemetry.records import Ending, UsageState

USAGE: dict[str, Any] = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 12,
}
ITEM: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": []}],
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-test",
    "status": "completed",
    "error": None,
    "output": [ITEM],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": USAGE,
}
STREAM: list[dict[str, Any]] = [
    {
        "type": "response.created",
        "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None},
    },
    {"type": "response.output_item.added", "output_index": 0, "item": {**ITEM, "content": []}},
    {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "hello",
        "logprobs": [],
    },
    {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
    {"type": "response.completed", "response": RESPONSE},
]
OTHER_KEY = CredentialRef(
    source=ObjectRef(kind="ProviderCredential", namespace="team-a", name="other"), environment_variable="KEY"
)


def event(document: dict[str, Any], number: int) -> bytes:
    text = json.dumps({**document, "sequence_number": number})
    return f"event: {document['type']}\ndata: {text}\n\n".encode()


def streaming(*documents: dict[str, Any], mark: bytes = b"") -> Script:
    async def stream(call: ProviderCall) -> None:
        await call.begin_stream()
        for number, document in enumerate(documents):
            await call.event(event(document, number))
        if mark:
            await call.event(mark)
        await call.end_stream()

    return stream


def one_pool(
    url: str, *, credentials: tuple[CredentialRef, ...] = (OUR_KEY,), timeouts: Timeouts = TIMEOUTS
) -> CompiledConfig:
    """An alias and a name of its own for each model, so that what is sent on is not what came."""
    models = (
        model("gpt-test", "gpt-upstream"),
        model("omni-moderation-latest", "moderation-upstream"),
        model("claude-test", "claude-upstream"),
    )
    return config(
        pool(
            provider("gpt", url, models=models, credentials=credentials),
            anthropic_provider("claude", url, models=models),
            timeouts=timeouts,
        )
    )


@pytest.fixture(scope="module")
def sdk() -> Any:
    """OpenAI's, with what it loads late."""
    import openai  # noqa: PLC0415 - seconds of every worker's time, for one of them

    with openai.OpenAI(api_key="x") as client:
        _ = client.responses, client.completions, client.embeddings, client.moderations
    return openai


@pytest.fixture(scope="module", autouse=True)
def no_authorities() -> None:
    """They stay: the SDKs are in this process, and do not begin without."""


@asynccontextmanager
async def served(sdk: Any, script: Script, **changes: Any) -> AsyncIterator[tuple[Sidecar, RawProvider, Any]]:
    async with (
        raw_provider(script) as upstream,
        running_sidecar(one_pool(upstream.url, **changes), environment={"KEY": "sk-ours"}) as sidecar,
        sdk.AsyncOpenAI(base_url=f"{sidecar.url}/openai/v1", api_key="placeholder", max_retries=0) as client,
    ):
        yield sidecar, upstream, client


async def test_a_response_is_read_as_a_whole(sdk: Any) -> None:
    async with served(sdk, answering(body=RESPONSE)) as (sidecar, upstream, client):
        answer = await client.responses.create(model="gpt-test", input="hi", store=False)
        assert answer.output_text == "hello"
        (call,) = upstream.calls
        assert call.json == {"model": "gpt-upstream", "input": "hi", "store": False}
        assert call.target == "/v1/responses"
        record = (await sidecar.records.wait(1))[0]
        assert (record.operation, record.ending, record.usage) == (
            "Responses",
            Ending.SERVED,
            UsageState.REPORTED,
        )
        assert (record.input_tokens, record.output_tokens) == (5, 7)
        assert (record.cached_input_tokens, record.reasoning_tokens) == (2, 3)


@pytest.mark.parametrize("mark", [b"", b"data: [DONE]\n\n"])
async def test_a_response_is_read_as_a_stream(sdk: Any, mark: bytes) -> None:
    async with served(sdk, streaming(*STREAM, mark=mark)) as (sidecar, _, client):
        seen = [
            it.type async for it in await client.responses.create(model="gpt-test", input="hi", stream=True)
        ]
        assert seen == [document["type"] for document in STREAM]
        record = (await sidecar.records.wait(1))[0]
        assert (record.ending, record.usage) == (Ending.SERVED, UsageState.REPORTED)
        assert (record.input_tokens, record.output_tokens) == (5, 7)


async def test_a_response_whose_first_event_says_that_it_failed_is_the_providers_error(sdk: Any) -> None:
    failed = {**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "out of order"}}
    script = streaming(STREAM[0], {"type": "response.failed", "response": failed})
    async with served(sdk, script) as (sidecar, _, client):
        seen = [
            it.type async for it in await client.responses.create(model="gpt-test", input="hi", stream=True)
        ]
        assert seen == ["response.created", "response.failed"], (
            "what is left of it are the provider's own words"
        )
        record = (await sidecar.records.wait(1))[0]
        assert record.ending is Ending.PROVIDER_ERROR
        assert {attempt.result for attempt in record.attempts} == {"ServerError"}


async def test_a_response_that_breaks_off_raises_in_the_sdk(sdk: Any) -> None:
    async def cut(call: ProviderCall) -> None:
        await call.begin_stream()
        for number, document in enumerate(STREAM[:3]):
            await call.event(event(document, number))
        call.close()

    async with served(sdk, cut) as (sidecar, _, client):
        stream = await client.responses.create(model="gpt-test", input="hi", stream=True)
        with pytest.raises(sdk.APIError):
            [it async for it in stream]
        assert (await sidecar.records.wait(1))[0].ending is Ending.FAILED


async def test_a_provider_that_does_not_end_the_body_of_a_response_takes_nothing_from_it(sdk: Any) -> None:
    async def unended(call: ProviderCall) -> None:
        await call.begin_stream()
        for number, document in enumerate(STREAM):
            await call.event(event(document, number))
        await call.gone()

    timeouts = replace(TIMEOUTS, stream_idle_ms=300)
    async with served(sdk, unended, timeouts=timeouts) as (sidecar, _, client):
        seen = [
            it.type async for it in await client.responses.create(model="gpt-test", input="hi", stream=True)
        ]
        assert seen[-1] == "response.completed"
        record = (await sidecar.records.wait(1))[0]
        assert (record.ending, record.usage) == (Ending.SERVED, UsageState.REPORTED)


async def test_what_one_account_knows_is_asked_of_it(sdk: Any) -> None:
    async with served(sdk, answering(body=RESPONSE)) as (_, upstream, client):
        await client.responses.create(model="gpt-test", input="hi", previous_response_id="resp_0")
        assert upstream.calls[0].json["previous_response_id"] == "resp_0"


async def test_what_one_account_knows_is_not_asked_of_several(sdk: Any) -> None:
    async with served(sdk, answering(body=RESPONSE), credentials=(OUR_KEY, OTHER_KEY)) as (
        sidecar,
        upstream,
        client,
    ):
        with pytest.raises(
            sdk.BadRequestError, match=r"`previous_response_id` names .* any of 2 accounts"
        ) as raised:
            await client.responses.create(model="gpt-test", input="hi", previous_response_id="resp_0")
        assert raised.value.code == "not_supported"
        assert not upstream.calls
        assert (await sidecar.records.wait(1))[0].ending is Ending.REFUSED
        assert (await client.responses.create(model="gpt-test", input="hi")).output_text == "hello"


async def test_embeddings_are_read(sdk: Any) -> None:
    vectors = {
        "object": "list",
        "model": "gpt-upstream",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -1.0]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    async with served(sdk, answering(body=vectors)) as (sidecar, upstream, client):
        answer = await client.embeddings.create(model="gpt-test", input=["a", "b"], encoding_format="float")
        assert answer.data[0].embedding == [0.25, -1.0]
        assert upstream.calls[0].target == "/v1/embeddings"
        record = (await sidecar.records.wait(1))[0]
        assert (record.operation, record.usage) == ("Embeddings", UsageState.REPORTED)
        assert (record.input_tokens, record.output_tokens) == (4, None)


async def test_moderations_without_a_model_are_asked_of_the_usual_one(sdk: Any) -> None:
    verdict = {"id": "modr-1", "model": "omni", "results": []}
    async with served(sdk, answering(body=verdict)) as (sidecar, upstream, client):
        assert (await client.moderations.create(input="text")).id == "modr-1"
        assert upstream.calls[0].json == {"model": "moderation-upstream", "input": "text"}
        record = (await sidecar.records.wait(1))[0]
        assert (record.model, record.operation) == ("omni-moderation-latest", "Moderations")
        assert record.usage is UsageState.NONE, "nothing is charged, so nothing is missing"


async def test_a_text_is_continued(sdk: Any) -> None:
    text = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "gpt-test",
        "choices": [{"index": 0, "text": "there", "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }

    async def answer(call: ProviderCall) -> None:
        if not call.json.get("stream"):
            await call.answer(text)
            return
        await call.begin_stream()
        await call.event(b"data: " + json.dumps(text).encode() + b"\n\ndata: [DONE]\n\n")
        await call.end_stream()

    async with served(sdk, answer) as (sidecar, upstream, client):
        whole = await client.completions.create(model="gpt-test", prompt="hello")
        stream = await client.completions.create(model="gpt-test", prompt="hello", stream=True)
        assert [it.choices[0].text async for it in stream] == [whole.choices[0].text] == ["there"]
        assert {call.target for call in upstream.calls} == {"/v1/completions"}
        for record in await sidecar.records.wait(2):
            assert (record.operation, record.output_tokens) == ("Completions", 1)


async def test_tokens_are_counted_before_they_are_asked_for(sdk: Any) -> None:
    async with served(sdk, answering(body={"input_tokens": 14})) as (sidecar, upstream, _):
        import anthropic  # noqa: PLC0415 - as above

        async with anthropic.AsyncAnthropic(
            base_url=f"{sidecar.url}/anthropic", api_key="placeholder", max_retries=0
        ) as client:
            counted = await client.messages.count_tokens(
                model="claude-test", messages=[{"role": "user", "content": "hello"}]
            )
        assert counted.input_tokens == 14
        (call,) = upstream.calls
        assert (call.target, call.json["model"]) == ("/v1/messages/count_tokens", "claude-upstream")
        record = (await sidecar.records.wait(1))[0]
        assert (record.operation, record.usage) == ("CountTokens", UsageState.NONE)


@pytest.fixture
def allowed() -> CompiledConfig:
    """Names and aliases, of which one model is not allowed; a second provider has all that nobody lists."""
    return config(
        pool(
            provider(
                "gpt",
                "http://127.0.0.1:9",
                models=(model("gpt-a", "", "small"), model("gpt-secret", "", "mine")),
            ),
            anthropic_provider("claude", "http://127.0.0.1:9", models=()),
        ),
        allow_models=(allow("gpt-a", "claude-a", "claude-b-*", "mine"),),
    )


async def test_the_models_that_a_policy_allows_are_listed_with_their_aliases(
    sdk: Any, allowed: CompiledConfig
) -> None:
    async with (
        running_sidecar(allowed) as sidecar,
        sdk.AsyncOpenAI(base_url=f"{sidecar.url}/openai/v1", api_key="x", max_retries=0) as client,
    ):
        assert [it.id async for it in client.models.list()] == ["gpt-a", "small"]
        assert (await client.models.retrieve("small")).id == "small"
        with pytest.raises(
            sdk.NotFoundError, match=r"No model 'gpt-secret' is listed .* Listed are: gpt-a, small"
        ):
            await client.models.retrieve("gpt-secret")
        records = await sidecar.records.wait(3)
        assert [record.operation for record in records] == ["Models"] * 3
        assert [record.ending for record in records] == [Ending.SERVED, Ending.SERVED, Ending.REFUSED]


async def test_models_that_only_an_allow_list_names_are_listed_too(allowed: CompiledConfig) -> None:
    """A provider that takes any model lists none; what stands in the list as a whole name can be asked for."""
    import anthropic  # noqa: PLC0415 - as above

    async with (
        running_sidecar(allowed) as sidecar,
        anthropic.AsyncAnthropic(base_url=f"{sidecar.url}/anthropic", api_key="x", max_retries=0) as client,
    ):
        assert [it.id async for it in client.models.list()] == ["claude-a", "gpt-a", "mine"]
        assert (await client.models.retrieve("claude-a")).display_name == "claude-a"


async def test_whose_models_are_listed_on_the_shared_path_the_header_tells(allowed: CompiledConfig) -> None:
    async with running_sidecar(allowed) as sidecar:
        answer = await sidecar.send(b"", path="/v1/models", method="GET")
        assert [it["id"] for it in answer.json["data"]] == ["gpt-a", "small"]
        marked = {"anthropic-version": "2023-06-01"}
        answer = await sidecar.send(b"", path="/v1/models", method="GET", headers=marked)
        assert answer.json["first_id"] == "claude-a"


@pytest.mark.parametrize("path", ["/models", "/v1/models/", "/openai/v1/model", "/openai/v1/modelsx"])
async def test_nothing_else_is_listed(allowed: CompiledConfig, path: str) -> None:
    async with running_sidecar(allowed) as sidecar:
        answer = await sidecar.send(b"", path=path, method="GET")
        assert (answer.status, answer.code) == (404, "invalid_request")


async def test_a_workload_that_is_denied_everything_is_told_of_no_model(allowed: CompiledConfig) -> None:
    denial = Denial(code=DenialCode.NO_POLICY, reason="No AIPolicy applies.")
    async with running_sidecar(replace(allowed, denials=(denial,))) as sidecar:
        answer = await sidecar.send(b"", path="/openai/v1/models", method="GET")
        assert (answer.status, answer.code) == (403, "no_policy")
