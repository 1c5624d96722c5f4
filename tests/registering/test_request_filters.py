"""A filter of requests refuses, answers itself, or sends on another message; it may wait, and not for longer than the call."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from made_up.filters import BLOCKED, Requests, Slowly, edited, kind
from made_up.quotas import Config, Quota, Store, config
from made_up.serving import body_of, head_of, put, serving
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import TIMEOUTS, model, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_sidecar.config.registry import FilterKind
from tidegate_sidecar.policies.base import NOT_SENT
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.filters import Context
from tidegate_sidecar.routing.refusal import Refusal
from tidegate_sidecar.telemetry.records import Ending, ShadowRefusal

NOWHERE = "http://127.0.0.1:1/v1"
FIXED = Answer(
    200, [(b"content-type", b"application/json")], b'{"fixed":true}', own=[(b"x-tidegate-cache", b"hit")]
)


def filtered(url: str, *rules: str, **changes: Any) -> Config:
    return config(
        pool(provider("only", url, models=(model("gpt-test", "up-there"),)), **changes),
        rules=rules,
        quotas=(Quota(name="calls", model="gpt-test", calls=1),),
    )


def doing(verdict: Any) -> FilterKind:
    """A filter that always says the same, or what a function of the context says."""
    return kind("it", lambda: Requests(verdict if callable(verdict) else lambda _: verdict))


async def test_it_sees_what_was_asked_for_and_by_whom() -> None:
    seen = Requests(lambda _: FIXED)
    async with serving(filtered(NOWHERE, "it"), filters=(kind("it", lambda: seen),)) as running:
        await running.ask(stream=True, head="x-team: blue\r\n")
        (context,) = seen.seen
        assert context.facts.model == "gpt-test"
        assert context.facts.headers["x-team"] == "blue"
        assert context.message.document["messages"] == [{"role": "user", "content": "hello"}]
        assert (context.dialect.name, context.wants_stream) == ("OpenAI", True)
        assert context.request_id == running.records.last.request_id


async def test_a_configuration_without_its_rules_has_none() -> None:
    never = Requests(lambda _: BLOCKED)
    async with (
        raw_provider() as raw,
        serving(filtered(raw.url), filters=(kind("it", lambda: never),)) as running,
    ):
        async with await running.connect() as app:
            await app.post(ask())
            await (await raw.next()).answer(COMPLETION)
            await app.read_until(b"prompt_tokens")
        await running.records.wait(1)
        assert not never.seen


async def test_it_refuses_in_the_caller_s_dialect_and_gives_back_what_the_call_took() -> None:
    store = Store()
    async with serving(
        filtered(NOWHERE, "it"), policies=(store.kind(),), filters=(doing(BLOCKED),)
    ) as running:
        answer = await running.ask()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body_of(answer))["error"]["message"] == "A word that is not said here."
        record = running.records.last
        assert (record.ending, record.rule, record.object) == (
            Ending.REFUSED,
            "words",
            "Quotas team-a/by-model",
        )
        assert record.attempts == ()
        assert [*store.settled] == [("calls", NOT_SENT)]


async def test_it_answers_in_place_of_a_provider() -> None:
    store = Store()
    async with serving(filtered(NOWHERE, "it"), policies=(store.kind(),), filters=(doing(FIXED),)) as running:
        answer = await running.ask()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert body_of(answer) == b'{"fixed":true}'
        assert "x-tidegate-cache: hit\r\n" in head_of(answer)
        assert "x-tidegate-attempts" not in head_of(answer)
        record = running.records.last
        assert (record.ending, record.status, record.attempts) == (Ending.SERVED, 200, ())
        assert [*store.settled] == [("calls", NOT_SENT)]


async def test_its_answer_may_come_piece_by_piece() -> None:
    rest = Slowly()
    stream = Answer(200, [(b"content-type", b"text/event-stream")], b"data: 1\n\n", rest)
    async with serving(filtered(NOWHERE, "it"), filters=(doing(stream),)) as running:
        async with await running.connect() as app:
            await app.post(ask(stream=True))
            await app.read_until(b"data: 1\n\n")
            await until(lambda: rest.sink)
            assert rest.sink is not None
            rest.sink.on_piece(b"data: 2\n\n")
            await app.read_until(b"data: 2\n\n")
            rest.end(b"data: [DONE]\n\n")
            await app.read_until(b"0\r\n\r\n")
        (record,) = await running.records.wait(1)
        assert record.ending is Ending.SERVED


async def test_an_answer_of_its_own_that_breaks_off_is_told_as_cut() -> None:
    rest = Slowly()
    async with serving(
        filtered(NOWHERE, "it"), filters=(doing(Answer(200, (), b"data: 1\n\n", rest)),)
    ) as running:
        async with await running.connect() as app:
            await app.post(ask(stream=True))
            await until(lambda: rest.sink)
            rest.cut()
            assert not (await app.rest()).endswith(b"0\r\n\r\n")
        (record,) = await running.records.wait(1)
        assert (record.ending, record.code) == (Ending.INTERNAL, "internal_error")


async def test_an_answer_of_its_own_is_let_go_with_the_application() -> None:
    rest = Slowly()
    async with serving(
        filtered(NOWHERE, "it"), filters=(doing(Answer(200, (), b"data: 1\n\n", rest)),)
    ) as running:
        async with await running.connect() as app:
            await app.post(ask(stream=True))
            await until(lambda: rest.sink)
        (record,) = await running.records.wait(1)
        assert record.ending is Ending.CLIENT_GONE
        assert rest.is_cancelled


async def test_it_sends_on_another_message_and_the_next_one_sees_that() -> None:
    first = Requests(lambda context: edited(context, "temperature", b"0"))
    second = Requests(lambda context: edited(context, "seed", b"7"))
    bodies: list[bytes] = []

    async def serve(call: ProviderCall) -> None:
        bodies.append(call.body)
        await call.answer(COMPLETION)

    async with (
        raw_provider(serve) as raw,
        serving(
            filtered(raw.url, "first", "second"),
            filters=(kind("first", lambda: first), kind("second", lambda: second)),
        ) as running,
    ):
        await running.ask()
        assert second.seen[0].message.document["temperature"] == 0
        assert bodies == [
            b'{"seed":7,"temperature":0,"model": "up-there", "messages": [{"role": "user", "content": "hello"}]}'
        ]


async def test_the_first_one_that_decides_is_the_last_one_that_is_asked() -> None:
    second = Requests(lambda _: FIXED)
    async with serving(
        filtered(NOWHERE, "it", "second"), filters=(doing(BLOCKED), kind("second", lambda: second))
    ) as running:
        await running.ask()
        assert not second.seen


@pytest.mark.parametrize(("member", "value"), [("model", b'"dearer"'), ("stream", b"true")])
async def test_a_message_that_asks_for_something_else_is_a_fault_of_ours(
    caplog: pytest.LogCaptureFixture, member: str, value: bytes
) -> None:
    """The call has been admitted for another one."""
    async with serving(
        filtered(NOWHERE, "it"), filters=(doing(lambda context: edited(context, member, value)),)
    ) as running:
        assert (await running.ask()).startswith(b"HTTP/1.1 500 ")
        assert running.records.last.attempts == ()
    assert "failed" in caplog.text


async def test_a_message_that_there_is_no_room_for_is_refused() -> None:
    async with serving(
        filtered(NOWHERE, "it"),
        filters=(doing(lambda context: edited(context, "padding", b'"%b"' % (b"x" * 2_000))),),
        max_held_bytes=1_000,
    ) as running:
        answer = await running.ask()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"TIDEGATE_MAX_HELD_BYTES" in answer


async def test_what_it_would_refuse_in_shadow_mode_is_written_down() -> None:
    def shadow(context: Context) -> None:
        context.would_refuse(BLOCKED)

    async with (
        raw_provider(lambda call: call.answer(COMPLETION)) as raw,
        serving(filtered(raw.url, "it"), filters=(doing(shadow),)) as running,
    ):
        assert (await running.ask()).startswith(b"HTTP/1.1 200 ")
        assert running.records.last.would_refuse == (
            ShadowRefusal("Quotas team-a/by-model", "words", "invalid_request"),
        )


class TestWaiting:
    async def test_it_does_not_outlive_its_application(self) -> None:
        waiting = Waiting()
        async with serving(filtered(NOWHERE, "it"), filters=(doing(waiting),)) as running:
            async with await running.connect() as app:
                await app.post(ask())
                await until(lambda: waiting.has_begun)
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.CLIENT_GONE
            assert waiting.is_cancelled

    async def test_it_does_not_outlive_the_deadline_of_the_call(self) -> None:
        clock, waiting = FakeClock(), Waiting()
        served = filtered(NOWHERE, "it", timeouts=replace(TIMEOUTS, request_ms=20_000))
        async with serving(served, filters=(doing(waiting),), clock=clock.clock) as running:
            async with await running.connect() as app:
                await app.post(ask(), head="connection: close\r\n")
                await until(lambda: waiting.has_begun)
                clock.advance(ms=19_999)
                running.services.ticker.tick()
                assert not waiting.is_cancelled
                clock.advance(ms=1)
                running.services.ticker.tick()
                answer = await app.rest()
                assert answer.startswith(b"HTTP/1.1 504 ")
                assert b"within 20000 ms (timeouts.request)" in answer
            assert waiting.is_cancelled

    async def test_a_timeout_of_its_own_is_a_fault_of_ours(self, caplog: pytest.LogCaptureFixture) -> None:
        async def late(_: Context) -> None:
            raise TimeoutError

        async with serving(filtered(NOWHERE, "it"), filters=(doing(late),)) as running:
            assert (await running.ask()).startswith(b"HTTP/1.1 500 ")
        assert "failed" in caplog.text


class Waiting:
    """Decides never."""

    def __init__(self) -> None:
        self.has_begun = self.is_cancelled = False

    async def __call__(self, _: object = None) -> Any:
        self.has_begun = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


class Remembering:
    """A cache of one answer: a rule that looks at requests and at answers, and remembers over reloads."""

    def __init__(self) -> None:
        self.known: list[Answer] = []

    async def on_request(self, _: Context) -> Answer | None:
        return self.known[0] if self.known else None

    def on_answer(self, _: Context) -> _Storing:
        return _Storing(self)

    def carry(self, previous: Remembering, _: int) -> None:
        self.known = previous.known


class _Storing:
    needs_whole = True

    def __init__(self, cache: Remembering) -> None:
        self._cache = cache

    async def judge(self, answer: Answer) -> Answer | Refusal:
        self._cache.known.append(answer)
        return answer


async def test_one_rule_may_look_at_both_and_goes_on_over_a_reload() -> None:
    async with (
        raw_provider(lambda call: call.answer(COMPLETION)) as raw,
        serving(filtered(raw.url, "cache"), filters=(kind("cache", Remembering),)) as running,
    ):
        first = await running.ask()
        put(running, filtered(raw.url, "cache", "another"))
        second = await running.ask()
        assert body_of(first) == body_of(second)
        assert [len(it.attempts) for it in running.records.all] == [1, 0]
        put(running, filtered(raw.url))
        put(running, filtered(raw.url, "cache"))
        await running.ask()
        assert len(running.records.last.attempts) == 1
