"""Event streams: passed on as they come, and never cut in silence."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator

import pytest
from tidegate_testing.configs import anthropic, config, pool, provider
from tidegate_testing.provider import (
    BLOCK_START,
    DONE,
    MESSAGE_START,
    ProviderCall,
    RawProvider,
    delta,
    raw_provider,
    text_delta,
)
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.wire import Connection, ask

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.telemetry.records import Ending, UsageState


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async with raw_provider() as provider:
        yield provider


def one(raw: RawProvider, **changes: object) -> CompiledConfig:
    return config(pool(provider("only", raw.url), **changes))


def both(simulator: Simulator) -> CompiledConfig:
    return config(
        pool(
            provider("gpt", f"{simulator.provider_url('gpt')}/v1"),
            anthropic("claude", f"{simulator.provider_url('claude')}/v1"),
        )
    )


async def begin(raw: RawProvider, app: Connection) -> ProviderCall:
    """A stream of which the application has the first event."""
    await app.post(ask(stream=True))
    call = await raw.next()
    await call.begin_stream()
    await call.event(delta("first"))
    await app.read_until(delta("first"))
    return call


async def test_each_event_reaches_the_application_as_soon_as_it_is_there(raw: RawProvider) -> None:
    async with running_sidecar(one(raw)) as sidecar, await sidecar.connect() as app:
        call = await begin(raw, app)
        for number in range(3):
            await call.event(delta(f"word {number}"))
            await app.read_until(delta(f"word {number}"))
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()
        assert (await app.read_until(b"\r\n0\r\n\r\n")).endswith(DONE + b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)
        assert sidecar.records.last.ending is Ending.SERVED


@pytest.mark.parametrize("stream_options", [None, {"include_usage": True}])
async def test_openai_streams_are_relayed_byte_by_byte(
    simulator: Simulator, stream_options: dict[str, bool] | None
) -> None:
    body = ask(stream=True) | ({"stream_options": stream_options} if stream_options else {})
    async with running_sidecar(both(simulator)) as sidecar:
        url = f"{simulator.provider_url('gpt')}/v1/chat/completions"
        async with sidecar.client.post(url, json=body) as direct:
            expected = _without_ids(await direct.read())
        answer = await sidecar.send(json.dumps(body).encode())
        assert _without_ids(answer.body) == expected
        await sidecar.records.wait(1)
        record = sidecar.records.last
        assert record.stream
        assert record.first_token_ms is not None
        reported = UsageState.REPORTED if stream_options else UsageState.UNREPORTED
        assert (record.ending, record.usage) == (Ending.SERVED, reported)


async def test_anthropic_streams_are_relayed_with_their_usage(simulator: Simulator) -> None:
    async with running_sidecar(both(simulator)) as sidecar:
        answer = await sidecar.messages(stream=True)
        assert answer.body.startswith(b"event: message_start\n")
        assert b"event: message_stop\n" in answer.body
        await sidecar.records.wait(1)
        record = sidecar.records.last
        assert (record.ending, record.input_tokens, record.output_tokens) == (Ending.SERVED, 1, 6)


def _without_ids(body: bytes) -> list[object]:
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    events = [json.loads(line) if line != b"[DONE]" else line for line in lines]
    return [{**event, "id": "", "created": 0} if isinstance(event, dict) else event for event in events]


async def test_events_may_arrive_in_any_pieces(raw: RawProvider) -> None:
    events = b": hello\n\n" + delta("caf\u00e9") + b"event: x\r\ndata: {}\r\n\r\n" + delta("", "stop") + DONE
    async with running_sidecar(one(raw)) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat(stream=True))
        call = await raw.next()
        await call.begin_stream()
        for at in range(len(events)):
            await call.event(events[at : at + 1])
            await asyncio.sleep(0)
        await call.end_stream()
        assert (await asking).body == events


async def test_comments_before_the_first_event_commit_to_nothing(raw: RawProvider) -> None:
    """A provider that says that it is working, and then fails, has not answered."""
    two = config(pool(provider("first", raw.url), provider("second", raw.url, priority=1)))
    async with running_sidecar(two) as sidecar, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(sidecar.chat(stream=True))
        call = await raw.next()
        await call.begin_stream()
        await call.event(b": processing\n\n")
        await call.event(b": processing\n\n")
        call.cut()
        call = await raw.next()
        await call.begin_stream()
        await call.event(delta("from the second", "stop") + DONE)
        await call.end_stream()
        answer = await asking
        assert answer.headers["x-tidegate-provider"] == "second"
        assert answer.body == delta("from the second", "stop") + DONE


async def test_comments_within_a_stream_are_passed_on(raw: RawProvider) -> None:
    async with running_sidecar(one(raw)) as sidecar, await sidecar.connect() as app:
        call = await begin(raw, app)
        await call.event(b": still here\n\n")
        await app.read_until(b": still here\n\n")
        await call.event(delta("", "stop") + DONE)
        await call.end_stream()
        await app.read_until(b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)


class TestAStreamIsOver:
    """Some local servers do not say [DONE]; no provider stops in the middle of a text."""

    async def test_when_the_text_is_finished_and_the_connection_ends(self, raw: RawProvider) -> None:
        async with running_sidecar(one(raw)) as sidecar, asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(sidecar.chat(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("all of it") + delta("", "stop"))
            await call.end_stream()
            assert (await asking).body == delta("all of it") + delta("", "stop")
            assert sidecar.records.last.ending is Ending.SERVED

    async def test_with_its_last_event_though_the_provider_keeps_the_connection_open(
        self, raw: RawProvider
    ) -> None:
        async with running_sidecar(one(raw)) as sidecar, await sidecar.connect() as app:
            call = await begin(raw, app)
            await call.event(delta("", "stop") + DONE)
            await app.read_until(b"\r\n0\r\n\r\n")
            await sidecar.records.wait(1)
            assert sidecar.records.last.ending is Ending.SERVED
            await call.gone()

    async def test_with_its_last_event_though_the_connection_breaks_after_it(self, raw: RawProvider) -> None:
        async with running_sidecar(one(raw)) as sidecar, await sidecar.connect() as app:
            call = await begin(raw, app)
            await call.event(DONE)
            call.cut()
            assert b"error" not in await app.read_until(b"\r\n0\r\n\r\n")
            await sidecar.records.wait(1)
            assert sidecar.records.last.ending is Ending.SERVED

    async def test_and_its_connection_is_used_again(self, raw: RawProvider) -> None:
        async with running_sidecar(one(raw)) as sidecar:
            for _ in range(3):
                async with asyncio.TaskGroup() as tasks:
                    asking = tasks.create_task(sidecar.chat(stream=True))
                    call = await raw.next()
                    await call.begin_stream()
                    await call.event(delta("x", "stop") + DONE)
                    await call.end_stream()
                    await asking
            assert raw.connections == 1


class TestAStreamThatIsCut:
    """The application has seen the beginning: it is told by an error event, since nothing else can be said."""

    @pytest.mark.parametrize(
        "how",
        [
            "reset",
            "closed",
            "ended properly in the middle",
            "ended properly between events",
            "garbage",
            "endless event",
        ],
    )
    async def test_ends_with_an_error_event(self, raw: RawProvider, how: str) -> None:
        async with (
            running_sidecar(one(raw), max_response_bytes=2**20) as sidecar,
            await sidecar.connect() as app,
        ):
            call = await begin(raw, app)
            if how != "ended properly between events":
                await call.event(b'data: {"half')
            if how == "reset":
                call.cut()
            elif how == "closed":
                call.close()
            elif how == "garbage":
                await call.event(b"\n\n")
                await call.gone()
            elif how == "endless event":
                for _ in range(5):
                    await call.event(b"x" * 2**18)
                await call.gone()
            else:
                await call.end_stream()
            rest = await app.read_until(b"\r\n0\r\n\r\n")
            assert b"half" not in rest
            error = json.loads(rest.split(b"data: ")[1].split(b"\n\n")[0])["error"]
            assert error["code"] == "provider_unreachable"
            assert error["message"].startswith("The stream from the provider was cut: ")
            await sidecar.records.wait(1)
            record = sidecar.records.last
            assert (record.ending, record.status, record.code) == (Ending.FAILED, 200, "provider_unreachable")
            assert len(record.attempts) == 1, "the application has seen something: nobody else is asked"

    async def test_has_no_last_event_of_anthropics(self, simulator: Simulator) -> None:
        async with running_sidecar(both(simulator)) as sidecar:
            answer = await sidecar.messages(stream=True, headers={"x-simulate-cut-after": "2"})
            last = answer.body.strip().split(b"\n\n")[-1]
            assert last.startswith(b"event: error\ndata: ")
            assert json.loads(last.partition(b"data: ")[2])["error"]["type"] == "api_error"
            record = sidecar.records.last
            assert (record.ending, record.input_tokens) == (Ending.FAILED, 1)

    @pytest.mark.parametrize("then", ["cut", "ended"])
    async def test_by_the_providers_own_error_event_says_so_once(self, raw: RawProvider, then: str) -> None:
        event = b'data: {"error":{"code":"overloaded","message":"x"}}\n\n'
        async with running_sidecar(one(raw)) as sidecar, await sidecar.connect() as app:
            call = await begin(raw, app)
            await call.event(event)
            if then == "cut":
                call.cut()
            else:
                await call.end_stream()
            assert (await app.read_until(b"\r\n0\r\n\r\n")).count(b"error") == 1
            await sidecar.records.wait(1)
            record = sidecar.records.last
            assert (record.ending, record.attempts[0].result) == (Ending.FAILED, "Overloaded")

    async def test_by_anthropics_own_error_event_says_so_once(self, raw: RawProvider) -> None:
        start = MESSAGE_START + BLOCK_START + text_delta("a")
        error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
        async with (
            running_sidecar(config(pool(anthropic("only", raw.url)))) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask("claude-test", stream=True, max_tokens=9), path="/anthropic/v1/messages")
            call = await raw.next()
            await call.begin_stream()
            await call.event(start)
            await app.read_until(start)
            await call.event(error)
            await call.end_stream()
            assert (await app.read_until(b"\r\n0\r\n\r\n")).count(b"event: error") == 1
            await sidecar.records.wait(1)
            record = sidecar.records.last
            assert (record.ending, record.input_tokens) == (Ending.FAILED, 5)
            assert record.attempts[0].result == "Overloaded"


async def test_a_compressed_stream_is_understood_though_nobody_asked_for_it(raw: RawProvider) -> None:
    async with running_sidecar(one(raw)) as sidecar, await sidecar.connect() as app:
        await app.post(ask(stream=True))
        call = await raw.next()
        packer = zlib.compressobj(wbits=31)
        await call.begin_stream(headers={"content-encoding": "gzip"})
        await call.event(packer.compress(delta("first")) + packer.flush(zlib.Z_SYNC_FLUSH))
        await app.read_until(delta("first"))
        await call.event(packer.compress(delta("", "stop") + DONE) + packer.flush())
        await call.end_stream()
        assert DONE in await app.read_until(b"\r\n0\r\n\r\n")
        await sidecar.records.wait(1)
