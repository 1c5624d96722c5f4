"""Answers that are one document."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace

import pytest
from tidegate_testing.configs import TIMEOUTS, anthropic, config, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import ask

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import ProviderType
from tidegate_sidecar.telemetry.records import Ending, UsageState


async def test_chat_completions_come_back_byte_by_byte() -> None:
    body = json.dumps(COMPLETION, indent=3, ensure_ascii=False).encode() + b"\n"

    async def answer(call: ProviderCall) -> None:
        await call.answer(body)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        answered = await sidecar.chat()
        assert answered.status == 200
        assert answered.body == body
        record = sidecar.records.last
        assert (record.ending, record.input_tokens, record.output_tokens) == (Ending.SERVED, 3, 1)


async def test_anthropic_messages_come_back(simulator: Simulator) -> None:
    cfg = config(pool(anthropic("claude", f"{simulator.provider_url('claude')}/v1")))
    async with running_sidecar(cfg) as sidecar:
        answer = await sidecar.messages(
            headers={"anthropic-version": "2023-06-01", "x-api-key": "placeholder"}
        )
        assert answer.json["content"][0]["text"] == "Simulated answer of claude-test to: hello"
        record = sidecar.records.last
        assert (record.dialect, record.usage) == ("Anthropic", UsageState.REPORTED)
    sent = simulator.requests[-1]
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert "x-api-key" not in sent.headers


@pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/anthropic/messages", "/v1/messages"])
async def test_both_ways_to_write_anthropics_base_url_work(simulator: Simulator, path: str) -> None:
    cfg = config(pool(anthropic("claude", f"{simulator.provider_url('claude')}/v1")))
    async with running_sidecar(cfg) as sidecar:
        assert (await sidecar.messages(path=path)).status == 200
    assert simulator.requests[-1].path == "/providers/claude/v1/messages"


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/v1/chat/completions"])
async def test_a_local_server_without_a_key_is_asked_without_one(simulator: Simulator, path: str) -> None:
    cfg = config(pool(provider("local", f"{simulator.url}/v1", type=ProviderType.OPENAI_COMPATIBLE)))
    async with running_sidecar(cfg) as sidecar:
        answer = await sidecar.chat(path=path, headers={"authorization": "Bearer placeholder"})
        assert answer.status == 200
    assert "authorization" not in simulator.requests[-1].headers


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_errors_that_are_the_callers_own_pass_unchanged(simulator: Simulator, status: int) -> None:
    two = config(
        pool(
            provider("first", f"{simulator.provider_url('first')}/v1"),
            provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
        )
    )
    async with running_sidecar(two) as sidecar:
        direct = await sidecar.client.post(
            f"{simulator.provider_url('first')}/v1/chat/completions",
            json=ask(),
            headers={"x-simulate-status": str(status)},
        )
        expected = await direct.read()
        answer = await sidecar.chat(headers={"x-simulate-status": str(status)})
        assert (answer.status, answer.body) == (status, expected)
        record = sidecar.records.last
        assert (record.ending, record.status, record.usage) == (
            Ending.PROVIDER_ERROR,
            status,
            UsageState.NONE,
        )
        assert [(attempt.result, attempt.status) for attempt in record.attempts] == [("CallerError", status)]
    assert simulator.requests_to("second") == ()


@pytest.mark.parametrize("body", [b"", b"not json", b"<html>denied</html>"])
async def test_an_error_of_the_callers_own_need_not_be_json(body: bytes) -> None:
    async def answer(call: ProviderCall) -> None:
        await call.answer(body, status=403)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        answered = await sidecar.chat()
        assert (answered.status, answered.body) == (403, body)


async def test_a_compressed_answer_is_understood_though_nobody_asked_for_it() -> None:
    async def answer(call: ProviderCall) -> None:
        await call.answer(
            gzip.compress(json.dumps(COMPLETION).encode()), headers={"content-encoding": "gzip"}
        )

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        answered = await sidecar.chat()
        assert answered.json == COMPLETION
        assert "content-encoding" not in answered.headers
        assert sidecar.records.last.output_tokens == 1


async def test_an_answer_that_ends_with_its_connection_is_whole() -> None:
    """HTTP/1.0, as some local servers speak it."""

    async def answer(call: ProviderCall) -> None:
        await call.send(
            b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + json.dumps(COMPLETION).encode()
        )
        call.close()

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        assert (await sidecar.chat()).json == COMPLETION


async def test_a_connection_is_used_again() -> None:
    async def answer(call: ProviderCall) -> None:
        await call.answer(COMPLETION)

    async with (
        raw_provider(answer) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        for _ in range(5):
            await sidecar.chat()
        assert raw.connections == 1


class TestAnAnswerLargerThanIsHeld:
    LIMIT = 64 * 1024

    async def test_is_relayed_as_it_comes(self) -> None:
        body = json.dumps({**COMPLETION, "padding": "x" * 10 * self.LIMIT}).encode()

        async def answer(call: ProviderCall) -> None:
            await call.answer(body)

        async with (
            raw_provider(answer) as raw,
            running_sidecar(
                config(pool(provider("only", raw.url))), max_response_bytes=self.LIMIT
            ) as sidecar,
        ):
            assert (await sidecar.chat()).body == body
            record = sidecar.records.last
            assert (record.ending, record.usage) == (Ending.SERVED, UsageState.UNREPORTED)

    async def test_is_cut_visibly_when_the_provider_breaks_off(self) -> None:
        async def answer(call: ProviderCall) -> None:
            await call.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999999\r\n\r\n{"
            )
            await call.send(b"x" * 4 * self.LIMIT)
            call.close()

        async with (
            raw_provider(answer) as raw,
            running_sidecar(
                config(pool(provider("only", raw.url))), max_response_bytes=self.LIMIT
            ) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask())
            answered = await app.rest()
            assert answered.startswith(b"HTTP/1.1 200 OK")
            assert not answered.endswith(b"0\r\n\r\n"), (
                "a proper end would pass half an answer for a whole one"
            )
            await sidecar.records.wait(1)
            record = sidecar.records.last
            assert (record.ending, record.code) == (Ending.FAILED, "provider_unreachable")
            assert len(record.attempts) == 1

    async def test_is_not_asked_for_again_when_its_deadline_passes(self) -> None:
        async def answer(call: ProviderCall) -> None:
            await call.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999999\r\n\r\n{"
            )
            await call.send(b"x" * 4 * self.LIMIT)
            await call.gone()

        async with (
            raw_provider(answer) as raw,
            running_sidecar(
                config(
                    pool(
                        provider("only", raw.url),
                        provider("other", raw.url, priority=1),
                        timeouts=replace(TIMEOUTS, request_ms=500),
                    )
                ),
                max_response_bytes=self.LIMIT,
            ) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask())
            assert (await app.rest()).count(b"HTTP/1.1") == 1
            await sidecar.records.wait(1)
            assert [attempt.result for attempt in sidecar.records.last.attempts] == ["Timeout"]
            assert sidecar.records.last.code == "provider_timeout"


async def test_calls_do_not_wait_for_each_other() -> None:
    async with (
        raw_provider() as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        slow = tasks.create_task(sidecar.chat())
        first = await raw.next()
        quick = tasks.create_task(sidecar.chat())
        second = await raw.next()
        await second.answer(COMPLETION)
        assert (await quick).status == 200
        assert not slow.done()
        await first.answer(COMPLETION)
        assert (await slow).status == 200
