"""A bug of ours must not look like one of the provider, nor end a call without an answer and a record."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from tidegate_testing.configs import anthropic, config, limit, pool, provider
from tidegate_testing.exchange import running_exchange
from tidegate_testing.provider import delta, raw_provider
from tidegate_testing.wire import ask

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.config.registry import DEFAULT, FilterKind
from tidegate_sidecar.dialects.base import Event
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.filters import Context, Emit
from tidegate_sidecar.telemetry.records import Ending


class BrokenOnRequests:
    """A filter with a bug."""

    async def on_request(self, context: Context) -> None:
        raise RuntimeError(f"a bug with {context.message.body!r}")


class BrokenOnStreams:
    """A rule whose filter has a bug."""

    def on_answer(self, _: Context) -> BrokenFilter:
        return BrokenFilter()


class BrokenFilter:
    """A filter whose bug shows at the second piece of a stream."""

    needs_whole = False

    def __init__(self) -> None:
        self._seen = 0

    def feed(self, events: list[Event]) -> Emit:
        self._seen += 1
        if self._seen > 1:
            raise RuntimeError(f"a bug with {events!r}")
        return Emit(b"".join(event[0] for event in events))

    def end(self) -> Emit:
        return Emit(b"")

    async def judge(self, answer: Answer) -> Answer:
        return answer


def on_requests() -> FilterKind:
    return FilterKind(rules=lambda _: (None,), make=lambda *_: BrokenOnRequests(), identity=str)


def on_answers() -> FilterKind:
    return FilterKind(rules=lambda _: (None,), make=lambda *_: BrokenOnStreams(), identity=str)


def both(url: str) -> CompiledConfig:
    return config(pool(provider("gpt", url), anthropic("claude", url)), rate_limits=(limit(burst=60),))


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
    registry = replace(DEFAULT, filters=(on_requests(),))
    async with running_exchange(both("http://127.0.0.1:1/v1"), registry=registry) as running:
        answer = await running.ask(path=path, model=model)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert code in answer
        assert b"a bug" not in answer
        record = running.records.last
        assert (record.ending, record.status, record.code) == (Ending.INTERNAL, 500, "internal_error")
        assert record.request_id.encode() in answer
        pipeline = running.services.live.pipeline
        assert pipeline is not None
        assert [rule.outstanding for rule in pipeline.rules if isinstance(rule, RateLimiter)] == [0]
    faults = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert [entry.getMessage() for entry in faults] == [f"the exchange {record.request_id} failed"]


async def test_within_a_stream_ends_it_with_an_error_and_is_nobodys_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = replace(DEFAULT, filters=(on_answers(),))
    async with raw_provider() as raw, running_exchange(both(raw.url), registry=registry) as running:
        async with await running.connect() as app:
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("half"))
            await app.read_until(delta("half"))
            await call.event(delta("more"))
            assert b'"error"' in await app.read_until(b"\r\n0\r\n\r\n")
            await call.gone()
        (record,) = await running.records.wait(1)
        assert (record.ending, record.code) == (Ending.INTERNAL, "internal_error")
        assert [it.result for it in record.attempts] == ["Cancelled"]
        pipeline = running.services.live.pipeline
        assert pipeline is not None
        (gpt, _) = pipeline.pools[0].providers
        assert {breaker._failures_in_a_row for _, breaker in gpt.breakers.each()} == {0}
    faults = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert [entry.getMessage() for entry in faults] == ["a stream could not be read on"]
