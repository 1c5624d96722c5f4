"""Heads that every client can read, and answers that are written in pieces of bounded size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.proxy.answer import Answer, Sink
from tidegate_sidecar.proxy.delivery import PIECE_BYTES, Delivery
from tidegate_sidecar.proxy.headers import answer_names
from tidegate_sidecar.proxy.ticker import Ticker
from tidegate_sidecar.telemetry.records import Ending


@pytest.fixture
async def raw() -> AsyncIterator[RawProvider]:
    async with raw_provider() as provider:
        yield provider


@pytest.mark.parametrize(
    ("line", "passed_on"),
    [
        (b"x-note: b\x01c", b"x-note: bc"),
        (b"x-note: b\x7fc", b"x-note: bc"),
        (b"x-note: b\r\n\tc", b"x-note: b\tc"),
        (b"x-note: b\tc", b"x-note: b\tc"),
    ],
    ids=["a control character", "a delete", "a folded line", "a tab"],
)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_a_header_that_clients_refuse_is_mended(
    raw: RawProvider, line: bytes, passed_on: bytes, *, streaming: bool
) -> None:
    """The answer is what counts, and has been paid for."""
    body = delta("a", "stop") + DONE if streaming else json.dumps(COMPLETION).encode()

    async def answer(call: ProviderCall) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\n%b\r\ncontent-length: %d\r\n\r\n%b" % (line, len(body), body))
        call.close()

    raw.script = answer
    async with (
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
        await sidecar.connect() as app,
    ):
        await app.post(ask(stream=streaming), head="connection: close\r\n")
        head, _, received = (await app.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received == body
        assert [it for it in head.split(b"\r\n") if it.startswith(b"x-note")] == [passed_on]
        assert not set(head) & (set(range(32)) - set(b"\t\r\n") | {127})
        assert sidecar.records.last.ending is Ending.SERVED


async def stopping(sidecar: Sidecar) -> None:
    sidecar.stop.set()
    await until(lambda: sidecar.listening.in_flight.draining)


class TestAfterSigterm:
    """`Connection: close`, so that no client sends its next request into a connection that ends."""

    @pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
    async def test_an_answer_that_is_sent_then_says_so(self, raw: RawProvider, *, streaming: bool) -> None:
        """Also one to a request that was there before."""
        async with (
            running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask(stream=streaming))
            call = await raw.next()
            await stopping(sidecar)
            if streaming:
                await call.begin_stream()
                await call.event(delta("a"))
                await app.read_until(delta("a"))
                await call.event(delta("", "stop") + DONE)
                await call.end_stream()
            else:
                await call.answer(COMPLETION)
                assert b"\r\nconnection: close\r\n" in await app.read_until(b"\r\n\r\n")
            await app.rest()  # which ends
            await sidecar.records.wait(1)
            assert sidecar.records.last.ending is Ending.SERVED

    async def test_the_head_of_a_stream_says_so(self, raw: RawProvider) -> None:
        async with (
            running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await stopping(sidecar)
            await call.event(delta("a"))
            assert b"\r\nconnection: close\r\n" in await app.read_until(b"\r\n\r\n")
            await call.event(delta("", "stop") + DONE)
            await call.end_stream()
            assert (await app.rest()).endswith(b"\r\n0\r\n\r\n")
            await sidecar.records.wait(1)

    async def test_a_refusal_says_so(self, raw: RawProvider) -> None:
        async with (
            running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
            await sidecar.connect() as app,
        ):
            await app.post(ask())
            call = await raw.next()
            await stopping(sidecar)
            call.cut()
            for _ in range(2):
                (await raw.next()).cut()
            answer = await app.rest()
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"\r\nconnection: close\r\n" in answer
            await sidecar.records.wait(1)


async def test_of_more_idle_connections_than_there_may_be_the_longest_idle_goes(raw: RawProvider) -> None:
    async with (
        running_sidecar(config(pool(provider("only", raw.url))), max_idle_app_connections=2) as sidecar,
        await sidecar.connect() as first,
        await sidecar.connect() as second,
    ):
        for app in (first, second, first):
            await app.post(b"{}")
            assert (await app.read_until(b"}}}")).startswith(b"HTTP/1.1 400 ")
        async with await sidecar.connect() as third:
            assert await second.rest() == b""
            for app in (third, first):
                await app.post(b"{}")
                assert (await app.read_until(b"}}}")).startswith(b"HTTP/1.1 400 ")
        await sidecar.records.wait(5)


class FakeApp:
    """The application's connection, which takes as much as it is told to."""

    is_draining = is_last = is_paused = False
    written_bytes = buffered_bytes = 0
    events: Delivery | None = None

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.pauses_after = -1

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.written_bytes += len(data)
        if len(self.writes) == self.pauses_after:
            self.is_paused = True
            assert self.events is not None
            self.events.on_app_paused()

    def take(self) -> None:
        self.is_paused = False
        assert self.events is not None
        self.events.on_app_resumed()


class FakeRest:
    """What follows the first bytes: ends as soon as it may."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, sink: Sink) -> None:
        self.calls.append("start")
        sink.on_end(b"last")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    async def over(self) -> None:
        self.calls.append("over")


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class TestLargeAnswers:
    BODY = bytes(range(256)) * 8 * 2**10
    assert len(BODY) == 8 * PIECE_BYTES

    def delivery(self, app: FakeApp) -> Delivery:
        request: Any = SimpleNamespace(method="POST", app=app, wants_close=False, is_http10=False)
        return Delivery(request, Ticker(Clock()), 60_000)

    @pytest.mark.parametrize("has_rest", [False, True], ids=["whole", "stream"])
    async def test_are_written_piece_by_piece_as_the_application_takes_them(self, *, has_rest: bool) -> None:
        app, rest = FakeApp(), FakeRest()
        app.pauses_after = 3
        delivery = self.delivery(app)
        answer = Answer(200, [], self.BODY, rest if has_rest else None)
        writing = asyncio.get_running_loop().create_task(delivery.deliver(answer, answer_names(), b""))
        await turns()
        assert len(app.writes) == 3, "a head and two pieces, and it has enough"
        assert not writing.done()
        app.take()
        await writing
        assert delivery.is_over
        assert max(map(len, app.writes)) <= PIECE_BYTES + 16
        head, *pieces = app.writes
        if has_rest:
            assert b"transfer-encoding: chunked" in head
            assert rest.calls == ["pause", "resume", "start", "over"], "nothing more is fetched meanwhile"
            pieces = [piece.partition(b"\r\n")[2][:-2] for piece in pieces[:-1]]
        assert b"".join(pieces) == self.BODY

    async def test_are_given_up_with_the_application(self) -> None:
        app = FakeApp()
        app.pauses_after = 3
        delivery = self.delivery(app)
        delivering = delivery.deliver(Answer(200, [], self.BODY), answer_names(), b"")
        writing = asyncio.get_running_loop().create_task(delivering)
        await turns()
        delivery.on_app_gone("it hung up")
        writing.cancel()
        await asyncio.wait([writing])
        assert (writing.cancelled(), delivery.gone, delivery.is_over) == (True, "it hung up", False)
