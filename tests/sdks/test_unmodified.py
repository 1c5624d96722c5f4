"""The SDKs of OpenAI and Anthropic, as they are: a program that is given a base URL, a placeholder key, nothing else."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tidegate_testing.configs import (
    POOL,
    RETRY,
    TIMEOUTS,
    allow,
    anthropic,
    config,
    limit,
    model,
    pool,
    provider,
)
from tidegate_testing.sidecar import running_sidecar

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig, Pool

PROGRAMS = Path(__file__).parent / "programs"
ANSWER = "Simulated answer of chat to: hello there"

BEHAVIOURS = {
    "chat": (Behaviour(),),
    "once": (Behaviour(status=503, retry_after="0"), Behaviour()),
    "limited": (Behaviour(),),
    "invalid": (Behaviour(status=400),),
    "denied": (Behaviour(),),
    "overloaded": (Behaviour(status=503),),
    "stalled": (Behaviour(stall_after=0),),
    "broken": (Behaviour(cut_after=0),),
    "cut": (Behaviour(cut_after=3, chunk_delay_ms=5),),
    "erring": (Behaviour(stream_error_after=3, chunk_delay_ms=5),),
    "silent": (Behaviour(stall_after=3, chunk_delay_ms=5),),
}
"""Each model has a provider of its own, which behaves so."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one program printed, and what was seen of it."""

    results: dict[str, dict[str, Any]]
    requests: tuple[Any, ...]
    records: list[Any]


def serving(simulator: Simulator) -> CompiledConfig:
    """One pool per model, for both dialects."""
    pools: list[Pool] = []
    for name in BEHAVIOURS:
        url = f"{simulator.provider_url(name)}/v1"
        pools.append(
            pool(
                provider("gpt", url, models=(model(name),)),
                anthropic("claude", url, models=(model(name),)),
                source=replace(POOL, name=name),
                retry=replace(RETRY, max_attempts=1),
                timeouts=replace(
                    TIMEOUTS,
                    stream_idle_ms=200 if name == "silent" else 20_000,
                    request_ms=1_000 if name == "stalled" else 20_000,
                ),
            )
        )
    pools.append(
        pool(
            provider("only-gpt", simulator.url, models=(model("gpt"),)),
            anthropic("only-claude", simulator.url, models=(model("claude"),)),
            source=replace(POOL, name="one-dialect"),
        )
    )
    allowed = [name for name in BEHAVIOURS if name != "denied"]
    return config(
        *pools,
        allow_models=(allow(*allowed),),
        rate_limits=(limit(requests=1, per_ms=3_600_000, burst=1, models=("limited",)),),
    )


async def run(program: str, **environment: str) -> Outcome:
    simulator = Simulator()
    await simulator.start()
    for name, behaviours in BEHAVIOURS.items():
        simulator.set_behaviour(name, *behaviours)
    async with running_sidecar(serving(simulator), max_body_bytes=65_536) as sidecar:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAMS / program),
            env={name: value.replace("SIDECAR", sidecar.url) for name, value in environment.items()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        records = sidecar.records.all
    requests = simulator.requests
    await simulator.stop()
    lines = [json.loads(line) for line in out.splitlines()]
    return Outcome(results={line["name"]: line for line in lines}, requests=requests, records=records)


SDKS = {
    "openai": (
        "openai_app.py",
        {"OPENAI_BASE_URL": "SIDECAR/openai/v1", "OPENAI_API_KEY": "placeholder-of-the-app"},
    ),
    "anthropic": (
        "anthropic_app.py",
        {"ANTHROPIC_BASE_URL": "SIDECAR/anthropic", "ANTHROPIC_API_KEY": "placeholder-of-the-app"},
    ),
}


@pytest.fixture(scope="module")
def outcomes(no_authorities: None) -> dict[str, Outcome]:
    """Both programs, side by side: each test looks at what they came to."""
    _ = no_authorities

    def one(sdk: str) -> Outcome:
        program, environment = SDKS[sdk]
        return asyncio.run(run(program, **environment))

    with ThreadPoolExecutor() as threads:
        return dict(zip(SDKS, threads.map(one, SDKS), strict=True))


@pytest.fixture(params=list(SDKS))
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Outcome]) -> Outcome:
    return outcomes[request.param]


def test_a_chat_is_answered(outcome: Outcome) -> None:
    assert outcome.results["chat"] == {"name": "chat", "text": ANSWER, "tokens": 9}


def test_a_stream_arrives_in_pieces_with_its_usage(outcome: Outcome) -> None:
    result = outcome.results["stream"]
    assert (result["text"], result["tokens"]) == (ANSWER, 9)
    assert result["pieces"] > 3


def test_the_asynchronous_client_is_served_at_once(outcome: Outcome) -> None:
    result = outcome.results["async"]
    assert result["texts"] == [ANSWER] * 10
    assert result["text"] == ANSWER


def test_the_placeholder_key_stays_in_the_application(outcome: Outcome) -> None:
    assert outcome.requests
    for request in outcome.requests:
        assert "placeholder-of-the-app" not in str(list(request.headers.items()))


def test_an_error_that_may_pass_is_tried_again_by_the_sdk(outcome: Outcome) -> None:
    assert outcome.results["retried"]["text"] == "Simulated answer of once to: hello there"


@pytest.mark.parametrize(
    ("name", "raised", "status", "code"),
    [
        ("limited", {"RateLimitError"}, 429, "rate_limit_exceeded"),
        ("denied", {"PermissionDeniedError"}, 403, "model_not_allowed"),
        ("missing", {"NotFoundError"}, 404, "model_not_found"),
        ("large", {"APIStatusError", "RequestTooLargeError", "ContentTooLargeError"}, 413, "invalid_request"),
        ("broken", {"InternalServerError"}, 502, "provider_unreachable"),
        (
            "stalled",
            {"InternalServerError", "DeadlineExceededError", "GatewayTimeoutError"},
            504,
            "provider_timeout",
        ),
    ],
)
def test_our_refusals_raise_the_class_that_programs_expect(
    outcome: Outcome, name: str, raised: set[str], status: int, code: str
) -> None:
    """Where versions of an SDK differ in the name of a class, each of them will do."""
    result = outcome.results[name]
    assert result["raised"] in raised
    assert (result["status"], result["code"]) == (status, code)
    assert result["message"]


def test_a_limit_says_how_long_to_wait(outcome: Outcome) -> None:
    assert 3_500 < int(outcome.results["limited"]["retry_after"]) <= 3_600


def test_a_model_of_the_other_dialect_is_a_bad_request(outcomes: dict[str, Outcome]) -> None:
    for sdk, name in (("openai", "claude"), ("anthropic", "gpt")):
        result = outcomes[sdk].results[name]
        assert (result["raised"], result["code"]) == ("BadRequestError", "not_supported")


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("invalid", {"BadRequestError"}),
        ("overloaded", {"InternalServerError", "ServiceUnavailableError", "OverloadedError"}),
    ],
)
def test_the_providers_own_errors_raise_what_they_would_without_us(
    outcome: Outcome, name: str, raised: set[str]
) -> None:
    result = outcome.results[name]
    assert result["raised"] in raised
    assert f"Simulated failure with status {result['status']}." in result["message"]


@pytest.mark.parametrize("name", ["cut stream", "erring stream", "silent stream"])
def test_half_a_stream_raises_and_is_not_taken_for_a_whole_one(outcome: Outcome, name: str) -> None:
    result = outcome.results[name]
    assert result["raised"] in {"APIError", "APIStatusError", "InternalServerError", "OverloadedError"}, (
        result
    )
    if name != "erring stream":
        assert result["message"].startswith("The stream from the provider was cut: ")


def test_what_came_before_the_cut_was_seen(outcomes: dict[str, Outcome]) -> None:
    seen = outcomes["openai"].results["seen"]
    assert seen["cut"] == "Simulated answer of "


def test_a_stream_that_never_began_raises_like_any_call(outcome: Outcome) -> None:
    assert outcome.results["overloaded stream"]["is_status_error"]


def test_each_call_has_a_record(outcome: Outcome) -> None:
    assert len(outcome.records) >= len(outcome.results)
    assert {"served", "refused", "failed", "provider_error"} <= {record.ending for record in outcome.records}
