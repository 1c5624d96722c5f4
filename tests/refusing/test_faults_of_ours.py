"""A bug of ours must not look like one of the provider, nor end a call without an answer and a record."""

from __future__ import annotations

import logging

import pytest
from tidegate_testing.configs import anthropic, config, limit, pool, provider
from tidegate_testing.exchange import running_exchange

from tidegate_sidecar.proxy.upstream import UpstreamRequest, UpstreamResponse
from tidegate_sidecar.telemetry.records import Ending


class BrokenLeg:
    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        raise RuntimeError(f"a bug with {request.url}")


@pytest.mark.parametrize(
    ("path", "model", "code"),
    [
        ("/openai/v1/chat/completions", "gpt-test", b'"code":"internal_error"'),
        ("/anthropic/v1/messages", "claude-test", b'"type":"api_error"'),
    ],
)
async def test_gets_500_with_the_id_under_which_the_log_has_it(
    caplog: pytest.LogCaptureFixture, path: str, model: str, code: bytes
) -> None:
    nowhere = "http://127.0.0.1:1/v1"
    cfg = config(pool(provider("gpt", nowhere), anthropic("claude", nowhere)), rate_limits=(limit(burst=60),))
    async with running_exchange(cfg, leg=BrokenLeg()) as running:
        answer = await running.ask(path=path, model=model)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert code in answer
        assert b"a bug" not in answer
        record = running.records.last
        assert (record.ending, record.status, record.code) == (Ending.INTERNAL, 500, "internal_error")
        assert record.request_id.encode() in answer
        pipeline = running.services.live.pipeline
        assert pipeline is not None
        assert [rule.outstanding for rule in pipeline.rate_rules] == [0]
    faults = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert [entry.getMessage() for entry in faults] == [f"the exchange {record.request_id} failed"]
