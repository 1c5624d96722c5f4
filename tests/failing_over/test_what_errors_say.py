"""A failure is judged by what it says, wherever a provider puts it: status, whole body, or first event of a stream."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tidegate_testing.configs import BREAKER, RETRY, anthropic, config, pool, provider
from tidegate_testing.provider import ProviderCall, RawProvider, raw_provider
from tidegate_testing.scripts import OUR_KEY, answering, asked, events, serving
from tidegate_testing.sidecar import Answer, Sidecar, running_sidecar

from tidegate_policy.model import CompiledConfig, RetryOn
from tidegate_sidecar.telemetry.records import Ending

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-test",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
MESSAGE_EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"hello"}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
MAKE = {"openai": provider, "anthropic": anthropic}
COUNTED = {"ServerError", "Overloaded", "Timeout"}


async def serving_messages(call: ProviderCall) -> None:
    await (events(MESSAGE_EVENTS) if call.json.get("stream") else answering(200, MESSAGE))(call)


WELL = {"openai": serving, "anthropic": serving_messages}


def first_and_second(dialect: str, first: RawProvider, second: RawProvider, **changes: Any) -> CompiledConfig:
    """One failure opens a breaker, so that nothing counts unseen."""
    make = MAKE[dialect]
    providers = (make("first", first.url), make("second", second.url, priority=1))
    return config(pool(*providers, **{"breaker": replace(BREAKER, consecutive_failures=1), **changes}))


async def ask(sidecar: Sidecar, dialect: str, *, stream: bool = False) -> Answer:
    answer = await (sidecar.chat if dialect == "openai" else sidecar.messages)(stream=stream)
    await sidecar.records.wait(1)
    return answer


async def is_counted(sidecar: Sidecar, name: str = "first") -> bool:
    """Whether the breaker of a model of that provider has heard of a failure."""
    metrics = await sidecar.metrics()
    return any(
        sample.startswith("tidegate_breaker_state") and f'provider="{name}"' in sample and value == 2
        for sample, value in metrics.items()
    )


IN_A_200: list[tuple[str, dict[str, Any], str]] = [
    ("openai", {"error": {"message": "m", "code": 429}}, "RateLimited"),
    ("openai", {"error": {"message": "m", "code": "429"}}, "RateLimited"),
    ("openai", {"error": {"message": "m", "code": "rate_limit_exceeded"}}, "RateLimited"),
    ("openai", {"error": {"message": "m", "type": "insufficient_quota"}}, "AccountExhausted"),
    ("openai", {"error": {"message": "m", "code": 402}}, "AccountExhausted"),
    ("openai", {"error": {"message": "m", "code": 401}}, "KeyRefused"),
    ("openai", {"error": {"message": "m", "code": "invalid_api_key"}}, "KeyRefused"),
    ("openai", {"error": {"message": "m", "code": "model_not_found"}}, "ModelUnavailable"),
    ("openai", {"error": {"message": "No such model", "code": 404}}, "ModelUnavailable"),
    ("openai", {"error": {"message": "m", "code": 408}}, "Timeout"),
    ("openai", {"error": {"message": "m", "code": 504}}, "Timeout"),
    ("openai", {"error": {"message": "m", "code": 503}}, "Overloaded"),
    ("openai", {"error": {"message": "m", "code": 500}}, "ServerError"),
    ("openai", {"error": {"message": "m", "type": "server_error"}}, "ServerError"),
    ("openai", {"object": "error", "message": "m", "code": 500}, "ServerError"),
    ("anthropic", {"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}, "RateLimited"),
    ("anthropic", {"type": "error", "error": {"type": "billing_error", "message": "m"}}, "AccountExhausted"),
    ("anthropic", {"type": "error", "error": {"type": "authentication_error", "message": "m"}}, "KeyRefused"),
    (
        "anthropic",
        {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-test"}},
        "ModelUnavailable",
    ),
    ("anthropic", {"type": "error", "error": {"type": "timeout_error", "message": "m"}}, "Timeout"),
    ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "Overloaded"),
    ("anthropic", {"type": "error", "error": {"type": "api_error", "message": "m"}}, "ServerError"),
    ("anthropic", {"type": "error", "error": {"message": "m", "code": 529}}, "Overloaded"),
]

THE_CALLERS_OWN_IN_A_200: list[tuple[str, dict[str, Any]]] = [
    ("openai", {"error": {"message": "m", "code": 400}}),
    ("openai", {"error": {"message": "m", "type": "invalid_request_error"}}),
    ("openai", {"error": {"message": "m", "code": "context_length_exceeded"}}),
    ("openai", {"object": "error", "message": "m", "type": "BadRequestError", "code": 400}),
    ("anthropic", {"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}),
    ("anthropic", {"type": "error", "error": {"message": "m", "code": "413"}}),
]


def as_first_event(dialect: str, error: dict[str, Any]) -> bytes:
    name = b"event: error\n" if dialect == "anthropic" else b""
    return name + b"data: " + json.dumps(error).encode() + b"\n\n"


@pytest.mark.parametrize("stream", [False, True], ids=["whole body", "first event"])
class TestAnErrorInsideA200:
    @pytest.mark.parametrize(("dialect", "error", "result"), IN_A_200)
    async def test_is_a_failed_attempt_and_another_provider_is_asked(
        self, dialect: str, error: dict[str, Any], result: str, *, stream: bool
    ) -> None:
        script = events(as_first_event(dialect, error)) if stream else answering(200, error)
        async with (
            raw_provider(script) as first,
            raw_provider(WELL[dialect]) as second,
            running_sidecar(first_and_second(dialect, first, second)) as sidecar,
        ):
            answer = await ask(sidecar, dialect, stream=stream)
            assert answer.status == 200
            assert answer.headers["x-tidegate-provider"] == "second"
            assert asked(sidecar) == [("first", result), ("second", "ok")]
            assert await is_counted(sidecar) is (result in COUNTED)

    @pytest.mark.parametrize(("dialect", "error"), THE_CALLERS_OWN_IN_A_200)
    async def test_that_is_the_callers_own_is_relayed_at_once(
        self, dialect: str, error: dict[str, Any], *, stream: bool
    ) -> None:
        data = as_first_event(dialect, error) if stream else json.dumps(error).encode()
        async with (
            raw_provider(events(data) if stream else answering(200, data)) as first,
            raw_provider(WELL[dialect]) as second,
            running_sidecar(first_and_second(dialect, first, second)) as sidecar,
        ):
            answer = await ask(sidecar, dialect, stream=stream)
            assert answer.body == data
            assert asked(sidecar) == [("first", "CallerError")]
            assert second.calls == []
            assert not await is_counted(sidecar)
            assert sidecar.records.last.ending is Ending.PROVIDER_ERROR

    @pytest.mark.parametrize("dialect", ["openai", "anthropic"])
    async def test_is_in_the_end_told_in_the_providers_words(self, dialect: str, *, stream: bool) -> None:
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}
        data = as_first_event(dialect, error) if stream else json.dumps(error).encode()
        script = events(data) if stream else answering(200, data)
        async with (
            raw_provider(script) as first,
            raw_provider(script) as second,
            running_sidecar(
                first_and_second(dialect, first, second, retry=replace(RETRY, max_attempts=2))
            ) as sidecar,
        ):
            answer = await ask(sidecar, dialect, stream=stream)
            assert answer.body == data
            assert asked(sidecar) == [("first", "RateLimited"), ("second", "RateLimited")]


STATUSES: list[tuple[str, int, dict[str, Any], str]] = [
    ("openai", 400, {"error": {"message": "m", "type": "invalid_request_error"}}, "CallerError"),
    ("openai", 401, {"error": {"message": "m", "code": "invalid_api_key"}}, "KeyRefused"),
    ("openai", 402, {"error": {"message": "m"}}, "AccountExhausted"),
    (
        "openai",
        403,
        {"error": {"message": "m", "code": "unsupported_country_region_territory"}},
        "KeyRefused",
    ),
    ("openai", 403, {"error": {"message": "Your input was flagged"}}, "CallerError"),
    ("openai", 403, {}, "CallerError"),
    ("openai", 404, {"error": {"message": "m", "code": "model_not_found"}}, "ModelUnavailable"),
    ("openai", 404, {"error": {"message": "No such thread"}}, "CallerError"),
    ("openai", 408, {}, "Timeout"),
    ("openai", 409, {}, "ServerError"),
    ("openai", 413, {}, "CallerError"),
    ("openai", 422, {}, "CallerError"),
    ("openai", 429, {}, "RateLimited"),
    ("openai", 429, {"error": {"message": "m", "code": "insufficient_quota"}}, "AccountExhausted"),
    ("openai", 500, {}, "ServerError"),
    ("openai", 503, {}, "Overloaded"),
    ("openai", 504, {}, "Timeout"),
    ("anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error"}}, "CallerError"),
    (
        "anthropic",
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to"},
        },
        "AccountExhausted",
    ),
    ("anthropic", 401, {"type": "error", "error": {"type": "authentication_error"}}, "KeyRefused"),
    ("anthropic", 402, {"type": "error", "error": {"type": "billing_error"}}, "AccountExhausted"),
    ("anthropic", 403, {"type": "error", "error": {"type": "permission_error"}}, "KeyRefused"),
    (
        "anthropic",
        404,
        {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
        "ModelUnavailable",
    ),
    ("anthropic", 404, {"type": "error", "error": {"type": "not_found_error"}}, "CallerError"),
    ("anthropic", 408, {}, "Timeout"),
    ("anthropic", 429, {"type": "error", "error": {"type": "rate_limit_error"}}, "RateLimited"),
    ("anthropic", 500, {"type": "error", "error": {"type": "api_error"}}, "ServerError"),
    ("anthropic", 529, {"type": "error", "error": {"type": "overloaded_error"}}, "Overloaded"),
]


@pytest.mark.parametrize(("dialect", "status", "error", "result"), STATUSES)
async def test_a_status_is_judged_together_with_the_body(
    dialect: str, status: int, error: dict[str, Any], result: str
) -> None:
    async with (
        raw_provider(answering(status, error)) as first,
        raw_provider(WELL[dialect]) as second,
        running_sidecar(first_and_second(dialect, first, second)) as sidecar,
    ):
        answer = await ask(sidecar, dialect)
        if result == "CallerError":
            assert (answer.status, answer.json) == (status, error)
            assert asked(sidecar) == [("first", "CallerError")]
        else:
            assert answer.status == 200
            assert asked(sidecar) == [("first", result), ("second", "ok")]
        assert await is_counted(sidecar) is (result in COUNTED)
        assert sidecar.records.last.attempts[0].status == status


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("status", "result"), [(429, "RateLimited"), (500, "ServerError"), (400, "CallerError")]
)
async def test_an_error_in_an_encoding_that_nobody_reads_is_judged_by_its_status(
    status: int, result: str, *, stream: bool
) -> None:
    """And relayed with its encoding, which the application may read."""
    script = answering(status, b"\x00\x01", {"content-encoding": "x-private"})
    async with (
        raw_provider(script) as raw,
        running_sidecar(
            config(pool(provider("first", raw.url), retry=replace(RETRY, max_attempts=1)))
        ) as sidecar,
    ):
        answer = await ask(sidecar, "openai", stream=stream)
        assert (answer.status, answer.body) == (status, b"\x00\x01")
        assert answer.headers["content-encoding"] == "x-private"
        assert asked(sidecar) == [("first", result)]


class TestOurKey:
    """That it is refused is no error of the caller, however the provider says so."""

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, {"error": {"message": "Incorrect API key provided: sk-ours"}}),
            (200, {"error": {"message": "Incorrect API key provided: sk-ours", "code": 401}}),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_refused_is_told_in_our_words(
        self, status: int, error: dict[str, Any], *, stream: bool
    ) -> None:
        inside = stream and status == 200
        script = events(as_first_event("openai", error)) if inside else answering(status, error)
        async with (
            raw_provider(script) as raw,
            running_sidecar(
                config(pool(provider("only", raw.url, credentials=(OUR_KEY,)))),
                environment={"KEY": "sk-ours"},
            ) as sidecar,
        ):
            answer = await ask(sidecar, "openai", stream=stream)
            assert (answer.status, answer.code) == (503, "provider_unavailable")
            assert "it refused the key of ProviderCredential team-a/prod" in answer.text
            assert "Incorrect" not in answer.text
            assert answer.headers["x-should-retry"] == "false"
            assert asked(sidecar) == [("only", "KeyRefused")]


SAYING_NOT_TO_RETRY = answering(503, b"{}", {"x-should-retry": "false"})


class TestAProviderThatSaysNotToRetry:
    async def test_is_not_asked_again(self) -> None:
        async with (
            raw_provider(SAYING_NOT_TO_RETRY) as raw,
            running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        ):
            answer = await sidecar.chat()
            assert answer.status == 503
            assert answer.headers["x-should-retry"] == "false"
            assert asked(sidecar) == [("only", "Overloaded")]

    async def test_keeps_nobody_from_asking_others_and_them_again(self) -> None:
        async with (
            raw_provider(SAYING_NOT_TO_RETRY) as first,
            raw_provider(answering(503)) as second,
            running_sidecar(
                config(pool(provider("first", first.url), provider("second", second.url, priority=1)))
            ) as sidecar,
        ):
            await sidecar.chat()
            assert asked(sidecar) == [
                ("first", "Overloaded"),
                ("second", "Overloaded"),
                ("second", "Overloaded"),
            ]


async def test_half_an_answer_is_no_failure_to_connect() -> None:
    """The provider has worked, and who retries failures to connect has not asked to pay twice."""

    async def half(call: ProviderCall) -> None:
        await call.send(
            b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"id":'
        )
        call.close()

    only = replace(RETRY, retry_on=(RetryOn.CONNECT_FAILURE,))
    async with (
        raw_provider(half) as raw,
        running_sidecar(config(pool(provider("first", raw.url), retry=only))) as sidecar,
    ):
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (502, "provider_unreachable")
        (attempt,) = sidecar.records.last.attempts
        assert (attempt.result, attempt.status, attempt.sent) == ("Incomplete", 200, True)
        assert len(raw.calls) == 1


async def test_neutral_results_neither_close_nor_reset_a_breaker() -> None:
    """Four failures with an error of the caller's own between them and the fifth are still five in a row."""
    script = {"status": 500}

    async def answer(call: ProviderCall) -> None:
        await call.answer(b"{}", status=script["status"])

    async with (
        raw_provider(answer) as raw,
        running_sidecar(
            config(pool(provider("first", raw.url), retry=replace(RETRY, max_attempts=1)))
        ) as sidecar,
    ):
        for status in (500, 500, 500, 500, 403, 429, 400, 404):
            script["status"] = status
            await sidecar.chat()
        assert not await is_counted(sidecar)
        script["status"] = 500
        await sidecar.chat()
        assert await is_counted(sidecar)
