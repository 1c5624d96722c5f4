"""Applications that go away: the provider is let go at once, and the record says what was used."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
from tidegate_testing.configs import anthropic, config, limit, pool, provider
from tidegate_testing.provider import delta, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_cli.simulator.server import Simulator
from tidegate_sidecar.telemetry.records import Ending, UsageState


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Applications hang up all the time; whoever reads the log must not be told each time."""
    yield
    gc.collect()  # the loop tells of failures that nobody looked at when they are forgotten
    told = [entry.getMessage() for entry in caplog.get_records("call") if entry.levelno >= logging.WARNING]
    assert told == []


async def test_hanging_up_within_a_stream_ends_it_at_the_provider(simulator: Simulator) -> None:
    cfg = config(
        pool(anthropic("claude", f"{simulator.provider_url('claude')}/v1")), rate_limits=(limit(burst=60),)
    )
    async with running_sidecar(cfg) as sidecar, await sidecar.connect() as app:
        await app.post(
            ask("claude-test", stream=True, max_tokens=9),
            path="/anthropic/v1/messages",
            head="x-simulate-stall-after: 2\r\n",
        )
        await app.read_until(b"content_block_delta")
        app.abort()
        await sidecar.records.wait(1)
        await simulator.wait_for(lambda it: it.counters.cut_by_client == 1)
        record = sidecar.records.last
        assert (record.ending, record.status) == (Ending.CLIENT_GONE, 200)
        assert (record.usage, record.input_tokens) == (UsageState.REPORTED, 1)
        assert record.first_token_ms is not None
        assert [attempt.result for attempt in record.attempts] == ["Cancelled"]


async def test_usage_that_was_not_reported_before_is_not_forgotten(simulator: Simulator) -> None:
    """Whoever counts costs must see that there is something that nobody counted."""
    cfg = config(pool(provider("gpt", f"{simulator.provider_url('gpt')}/v1")))
    async with running_sidecar(cfg) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True), head="x-simulate-stall-after: 2\r\n")
        await app.read_until(b"content")
        app.abort()
        await sidecar.records.wait(1)
        assert sidecar.records.last.usage is UsageState.UNREPORTED
        sample = 'tidegate_usage_unreported_total{model="gpt-test",pool="team-a/main",provider="gpt"}'
        assert await sidecar.metric(sample) == 1


async def test_hanging_up_before_the_answer_ends_the_call_at_the_provider() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask())
        call = await raw.next()
        app.abort()
        await call.gone()
        await sidecar.records.wait(1)
        record = sidecar.records.last
        assert (record.ending, record.status, record.usage) == (Ending.CLIENT_GONE, 0, UsageState.UNREPORTED)


async def test_hanging_up_within_the_body_is_no_fault_of_ours() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.send(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
        )
        await sidecar.busy()
        app.abort()
        await sidecar.records.wait(1)
        assert sidecar.records.last.ending is Ending.CLIENT_GONE
        assert raw.calls == []


async def test_hanging_up_while_events_flow_is_no_fault_of_the_provider() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        for _ in range(6):
            async with await sidecar.connect() as app:
                await app.post(ask(stream=True))
                call = await raw.next()
                await call.begin_stream()
                await call.event(delta("first"))
                await app.read_until(delta("first"))
                app.abort()
                await call.gone()
        await sidecar.records.wait(6)
        assert await sidecar.metric('tidegate_breaker_state{pool="team-a/main",provider="only"}') == 0
