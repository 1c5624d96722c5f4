"""After a while one call at a time finds out whether a provider is back: for one model, or for getting a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from aiohappyeyeballs import AddrInfoType
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, RETRY, TIMEOUTS, config, model, pool, provider
from tidegate_testing.exchange import running_exchange
from tidegate_testing.provider import COMPLETION, DONE, RawProvider, delta, raw_provider
from tidegate_testing.scripts import answering, asked, serving
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import ask

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.policies.breakers import MAX_MODELS, OTHERS, PROVIDER

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
FAILURES: Final = BREAKER.consecutive_failures
MODELS: Final = (model("gpt-test"), model("other"))


def only(url: str, **changes: object) -> CompiledConfig:
    endless = replace(TIMEOUTS, first_token_ms=10**9, stream_idle_ms=10**9, request_ms=10**9, stream_ms=10**9)
    return config(
        pool(
            provider("only", url, **{"models": MODELS, **changes}),
            retry=replace(RETRY, max_attempts=1),
            timeouts=endless,
        )
    )


async def state(sidecar: Sidecar, of: str = "gpt-test") -> float:
    return await sidecar.metric(f'tidegate_breaker_state{{model="{of}",pool="team-a/main",provider="only"}}')


async def fail(sidecar: Sidecar, raw: RawProvider, model: str = "gpt-test", times: int = FAILURES) -> None:
    raw.script = answering(500)
    for _ in range(times):
        await sidecar.chat(model)
    raw.script = None


async def test_a_stream_from_before_the_opening_is_never_the_probe() -> None:
    """It may go on for minutes, while the provider is well again."""
    clock = FakeClock()
    async with (
        raw_provider() as raw,
        running_sidecar(only(raw.url), clock=clock.clock) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=True))
        old = await raw.next()
        await fail(sidecar, raw)
        assert await state(sidecar) == OPEN
        clock.advance(ms=BREAKER.open_for_ms)
        await old.begin_stream()
        await old.event(delta("first"))
        await app.read_until(delta("first"))
        assert await state(sidecar) == HALF_OPEN, "its beginning says nothing of the provider as it is now"
        raw.script = serving
        assert (await sidecar.chat()).status == 200, "the next call is the probe"
        assert await state(sidecar) == CLOSED
        clock.advance(ms=300_000)
        await old.event(delta("last", "stop") + DONE)
        await old.end_stream()
        await app.read_until(b"\r\n0\r\n\r\n")
        assert await state(sidecar) == CLOSED


async def test_whatever_becomes_of_such_a_stream_while_a_probe_is_under_way_is_none_of_the_probes() -> None:
    clock = FakeClock()
    async with (
        raw_provider() as raw,
        running_sidecar(only(raw.url), clock=clock.clock) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=True))
        old = await raw.next()
        await fail(sidecar, raw)
        clock.advance(ms=BREAKER.open_for_ms)
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(sidecar.chat())
            probe = await raw.next()
            await old.begin_stream()
            await old.event(delta("first"))
            await app.read_until(delta("first"))
            assert (await sidecar.chat()).status == 503, "the probe is still under way"
            old.cut()
            await app.read_until(b"\r\n0\r\n\r\n")
            assert await state(sidecar) == HALF_OPEN
            await probe.answer(COMPLETION)
            assert (await probing).status == 200
        assert await state(sidecar) == CLOSED


async def test_of_many_calls_at_once_one_is_the_probe() -> None:
    clock = FakeClock()
    async with raw_provider() as raw, running_sidecar(only(raw.url), clock=clock.clock) as sidecar:
        await fail(sidecar, raw)
        clock.advance(ms=BREAKER.open_for_ms)
        count = len(raw.calls)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(sidecar.chat()) for _ in range(20)]
            probe = await raw.next()
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < len(calls) - 1:
                done, _ = await asyncio.wait(set(calls) - done, return_when=asyncio.FIRST_COMPLETED)
                done = {call for call in calls if call.done()}
            assert {call.result().status for call in done} == {503}
            assert {call.result().headers["retry-after"] for call in done} == {"1"}
            await probe.answer(COMPLETION)
        assert sorted(call.result().status for call in calls) == [200] + 19 * [503]
        assert len(raw.calls) == count + 1


class TestTheBreakerForConnections:
    """That nobody can be connected to holds for all models, and is told by nothing but a new connection."""

    async def opens(self, sidecar: Sidecar, clock: FakeClock) -> None:
        for _ in range(FAILURES):
            assert (await sidecar.chat()).status == 502
            (attempt,) = sidecar.records.last.attempts
            assert (attempt.result, attempt.sent) == ("ConnectFailure", False)
        assert await state(sidecar, PROVIDER) == OPEN
        assert await state(sidecar) == CLOSED
        answer = await sidecar.chat("other")
        assert (answer.status, answer.headers["retry-after"]) == (503, "60")
        assert "its circuit breaker for connections is open (5 failures in a row)" in answer.text
        assert asked(sidecar) == []
        clock.advance(ms=BREAKER.open_for_ms)
        assert await state(sidecar, PROVIDER) == HALF_OPEN

    async def test_opens_where_nobody_listens_and_closes_with_a_connection(self) -> None:
        clock = FakeClock()
        with nobody() as address:
            async with running_sidecar(
                only(f"http://{address[0]}:{address[1]}/v1"), clock=clock.clock
            ) as sidecar:
                await self.opens(sidecar, clock)
                provided = RawProvider(answering(500))
                server = await asyncio.start_server(provided.serve, *address, reuse_port=True)
                try:
                    assert (await sidecar.chat()).status == 500
                    assert await state(sidecar, PROVIDER) == CLOSED, "it was connected to"
                finally:
                    server.close()
                    provided.close()
                    await server.wait_closed()

    async def test_opens_where_there_is_no_tls(self) -> None:
        clock = FakeClock()

        async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            async with running_sidecar(only(f"https://{host}:{port}/v1"), clock=clock.clock) as sidecar:
                await self.opens(sidecar, clock)
                assert "TLS" in sidecar.records.all[0].attempts[0].reason

    async def test_opens_where_there_is_no_such_name(self) -> None:
        async def lookup(host: str, port: int) -> Sequence[AddrInfoType]:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        async with running_exchange(only("http://nowhere.test/v1"), lookup=lookup) as running:
            for _ in range(FAILURES):
                assert b" 502 " in await running.ask()
            record = running.records.last
            assert record.attempts[0].reason == "its host name was not found"
            assert b" 503 " in await running.ask(model="other")
            assert running.records.last.attempts == ()

    async def test_hears_nothing_of_failures_behind_a_connection(self) -> None:
        clock = FakeClock()
        async with raw_provider() as raw, running_sidecar(only(raw.url), clock=clock.clock) as sidecar:
            await fail(sidecar, raw)
            assert await state(sidecar) == OPEN
            assert await state(sidecar, PROVIDER) == CLOSED
            raw.script = serving
            assert (await sidecar.chat("other")).status == 200, "another model may be well"


async def test_a_provider_has_a_breaker_for_each_of_64_models_and_one_for_all_others() -> None:
    at_once = replace(BREAKER, consecutive_failures=1)
    async with raw_provider(answering(500)) as raw:
        cfg = config(
            pool(provider("only", raw.url, models=()), breaker=at_once, retry=replace(RETRY, max_attempts=1))
        )
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            for number in range(MAX_MODELS + 1):
                assert (await sidecar.chat(f"model-{number}")).status == 500, "nobody's failure but its own"
            raw.script = serving
            assert (await sidecar.chat("yet-another")).status == 503, "further models share one"
            assert len(raw.calls) == MAX_MODELS + 1
            states = [name for name in await sidecar.metrics() if name.startswith("tidegate_breaker_state")]
            assert len(states) == len((PROVIDER, OTHERS)), "names that callers make up are no labels"


@contextmanager
def nobody() -> Iterator[tuple[str, int]]:
    """An address that nobody listens at, and nobody else can take."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        host, port = taken.getsockname()
        yield host, port
