"""One line per call, which says what was asked, what was decided and why, and what came of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import allow, anthropic, config, consumer, limit, model, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import Mode
from tidegate_sidecar.telemetry.rendering import Renderer


async def test_a_served_call_has_a_record_with_everything(simulator: Simulator) -> None:
    clock = FakeClock()
    cfg = config(
        pool(
            provider(
                "first", f"{simulator.provider_url('first')}/v1", models=(model("gpt-test", "", "small"),)
            ),
            provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
        ),
        consumer=consumer(),
        rate_limits=(limit("shadow", mode=Mode.SHADOW, burst=1, models=("gpt-*",)),),
    )
    async with running_sidecar(cfg, clock=clock.clock) as sidecar:
        await sidecar.chat(headers={"x-user-id": "alice"})
        answer = await sidecar.chat(
            "small",
            headers={"x-user-id": "alice", "x-simulate-status": "500", "x-simulate-only": "first"},
        )
        document = json.loads(Renderer().render(sidecar.records.last))
        assert document == {
            "time": datetime.fromtimestamp((1_790_000_000_000_000_000 + clock.now_ns) / 1e9, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "request_id": answer.headers["x-tidegate-request-id"],
            "dialect": "OpenAI",
            "operation": "Chat",
            "stream": False,
            "consumer": "alice",
            "requested_model": "small",
            "model": "gpt-test",
            "pool": "team-a/main",
            "provider": "second",
            "status": 200,
            "ending": "served",
            "would_refuse": [
                {"object": "AIPolicy team-a/chat", "rule": "shadow", "code": "rate_limit_exceeded"}
            ],
            "attempts": [
                {
                    "provider": "first",
                    "result": "ServerError",
                    "status": 500,
                    "reason": "it answered 500 (server_error)",
                    "duration_ms": 0,
                },
                {"provider": "second", "result": "ok", "status": 200, "reason": "", "duration_ms": 0},
            ],
            "input_tokens": 1,
            "output_tokens": 6,
            "cached_input_tokens": 0,
            "reasoning_tokens": 0,
            "usage": "reported",
            "duration_ms": 0,
            "config": sidecar.pipeline.digest[:12],
            "namespace": "team-a",
            "workload": "chat",
        }


async def test_a_record_holds_nothing_of_what_was_said(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")), allow_models=(allow("gpt-*"),))
    async with running_sidecar(cfg) as sidecar:
        for streaming in (False, True):
            await sidecar.chat(
                stream=streaming, messages=[{"role": "user", "content": "confidential question"}], user="bob"
            )
        await sidecar.send(b'{"confidential": "malformed')
        written = b"".join(map(Renderer().render, sidecar.records.all)).decode()
    assert "confidential" not in written
    assert "Simulated answer" not in written


async def test_usage_of_zero_is_zero_and_not_unknown(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")))
    async with running_sidecar(cfg) as sidecar:
        await sidecar.chat(headers={"x-simulate-input-tokens": "0", "x-simulate-output-tokens": "0"})
        record = sidecar.records.last
        assert (record.usage, record.input_tokens, record.output_tokens) == ("reported", 0, 0)
        await sidecar.chat(headers={"x-simulate-usage": "none"})
        record = sidecar.records.last
        assert (record.usage, record.input_tokens, record.output_tokens) == ("unreported", None, None)


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-test",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 3,
        "cache_read_input_tokens": 4_000,
        "cache_creation_input_tokens": 500,
        "output_tokens": 7,
    },
}


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


async def answer_in_anthropics_dialect(call: ProviderCall) -> None:
    if not call.json.get("stream"):
        await call.answer(MESSAGE)
        return
    await call.begin_stream()
    await call.event(
        event("message_start", message={**MESSAGE, "content": [], "stop_reason": None})
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hello"})
        + event("content_block_stop", index=0)
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
        + event("message_stop")
    )
    await call.end_stream()


@pytest.mark.parametrize("stream", [False, True])
async def test_input_from_anthropics_cache_is_told_apart(stream: bool) -> None:
    """`input_tokens` of Anthropic has none of it: without these fields most of such a call would be invisible."""
    async with (
        raw_provider(answer_in_anthropics_dialect) as raw,
        running_sidecar(config(pool(anthropic("claude", raw.url)))) as sidecar,
    ):
        assert (await sidecar.messages(stream=stream)).status == 200
        document = json.loads(Renderer().render(sidecar.records.last))
        assert {name: value for name, value in document.items() if name.endswith("_tokens")} == {
            "input_tokens": 3,
            "output_tokens": 7,
            "cached_input_tokens": 4_000,
            "cache_write_tokens": 500,
        }
        where = 'model="claude-test",pool="team-a/main",provider="claude"'
        metrics = await sidecar.metrics()
        assert metrics[f'ai_tokens_total{{direction="cached_input",{where}}}'] == 4_000
        assert metrics[f'ai_tokens_total{{direction="cache_write",{where}}}'] == 500


async def test_input_from_openais_cache_is_a_part_of_the_input() -> None:
    async def answer(call: ProviderCall) -> None:
        usage = {
            "prompt_tokens": 4_003,
            "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 4_000},
        }
        await call.answer({**COMPLETION, "usage": usage})

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("gpt", raw.url)))) as sidecar,
    ):
        assert (await sidecar.chat()).status == 200
        record = sidecar.records.last
        assert (record.input_tokens, record.cached_input_tokens) == (4_003, 4_000)
