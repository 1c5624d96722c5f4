"""A filter of answers changes what is delivered, holds it back, ends it, judges it as a whole, and may want another one."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from made_up.filters import (
    BLOCKED,
    Answers,
    EndsAt,
    HoldsAt,
    Requests,
    Slowly,
    Stream,
    UpperCase,
    Whole,
    Window,
    another,
    kind,
)
from made_up.quotas import Config, Quota, Store, config
from made_up.serving import body_of, head_of, serving
from tidegate_testing.cancelling import Cancelling, Moment
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import RETRY, TIMEOUTS, pool, provider
from tidegate_testing.exchange import RunningExchange
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, delta, raw_provider
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_sidecar.config.registry import FilterKind, Phase
from tidegate_sidecar.dialects.base import NO_USAGE, Event, Usage
from tidegate_sidecar.policies.base import Outcome, Sent, UsageClass
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.filters import AskAgain, Emit, End
from tidegate_sidecar.telemetry.records import Ending

SERVED = Outcome(Sent.SENT, Usage(3, 1), UsageClass.REPORTED)
UNREPORTED = Outcome(Sent.SENT, NO_USAGE, UsageClass.UNREPORTED)
STREAM = b"content-type: text/event-stream\r\n"


def filtered(url: str, *rules: str, **changes: Any) -> Config:
    """Both rules in force by default."""
    return config(
        pool(provider("only", url), **changes),
        rules=rules or ("it", "then"),
        quotas=(Quota(name="attempts", model="gpt-test", calls=1, phase=Phase.ATTEMPT.value),),
    )


def by(make: Callable[[], Any], name: str = "it") -> FilterKind:
    return kind(name, lambda: Answers(lambda _: make()))


async def told(app: Any) -> bytes:
    """The body of a stream, to its end."""
    return body_of(await app.read_until(b"\r\n\r\n") + await app.read_until(b"\r\n0\r\n\r\n"))


class TestStreams:
    async def test_are_delivered_as_the_filter_wrote_them(self) -> None:
        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(UpperCase),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("hello"))
            await app.read_until(b'"HELLO"')
            await call.event(delta("world", "stop") + DONE)
            await call.end_stream()
            rest = await app.read_until(b"\r\n0\r\n\r\n")
            assert b'"WORLD"' in rest
            assert DONE in rest
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.SERVED

    async def test_that_are_there_at_once_are_filtered_once(self) -> None:
        """A stream that ended before anything of it was delivered is no answer to be judged."""
        async with (
            raw_provider(all_at_once) as raw,
            serving(filtered(raw.url), filters=(by(UpperCase),)) as running,
        ):
            body = body_of(await running.ask(stream=True))
            assert body.count(b'"HELLO"') == 1
            assert body.endswith(DONE)

    @pytest.mark.parametrize("end", [DONE, b""], ids=["with its mark", "by its reason"])
    async def test_lose_nothing_that_a_filter_kept_back(self, end: bytes) -> None:
        sent = delta("one") + delta("two") + delta("", "stop") + end

        async def serve(call: ProviderCall) -> None:
            await call.begin_stream()
            for event in sent.split(b"\n\n")[:-1]:
                await call.event(event + b"\n\n")
            await call.end_stream()

        async with raw_provider(serve) as raw, serving(filtered(raw.url), filters=(by(Window),)) as running:
            assert body_of(await running.ask(stream=True)) == sent
            assert running.records.last.ending is Ending.SERVED

    async def test_of_which_nothing_was_shown_may_still_fail_over(self) -> None:
        """What a filter has swallowed nobody has seen."""
        failing = iter([True, False])

        async def serve(call: ProviderCall) -> None:
            await call.begin_stream()
            await call.event(delta("hello"))
            if next(failing):
                call.cut()
            else:
                await call.event(delta("", "stop") + DONE)
                await call.end_stream()

        async with raw_provider(serve) as raw, serving(filtered(raw.url), filters=(by(Window),)) as running:
            answer = await running.ask(stream=True)
            assert body_of(answer) == delta("hello") + delta("", "stop") + DONE
            assert [it.result for it in running.records.last.attempts] == ["Incomplete", "ok"]

    async def test_end_with_the_provider_s_error_even_if_a_filter_swallowed_it(self) -> None:
        class Deaf(Stream):
            def feed(self, events: list[Event]) -> Emit:  # type: ignore[override]
                return Emit(b"" if b"error" in events[0][2] else events[0][0])

        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(Deaf),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("half"))
            await app.read_until(delta("half"))
            await call.event(b'data: {"error":{"message":"overloaded","type":"overloaded_error"}}\n\n')
            assert b'"error"' in await app.read_until(b"\r\n0\r\n\r\n")
            await call.gone()
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.FAILED

    async def test_are_filtered_anew_at_each_attempt(self) -> None:
        made = Answers(lambda _: UpperCase())
        statuses = iter([503, 200])

        async def serve(call: ProviderCall) -> None:
            await call.answer(COMPLETION, status=next(statuses))

        async with (
            raw_provider(serve) as raw,
            serving(filtered(raw.url), filters=(kind("it", lambda: made),)) as running,
        ):
            await running.ask()
            assert [(it.facts.provider, it.message.document["model"]) for it in made.seen] == [
                ("only", "gpt-test")
            ] * 2

    async def test_pass_several_filters_in_their_order(self) -> None:
        filters = (by(Window), by(UpperCase, "then"))
        async with raw_provider(all_at_once) as raw, serving(filtered(raw.url), filters=filters) as running:
            body = body_of(await running.ask(stream=True))
            assert b'"HELLO"' in body
            assert body.endswith(DONE)


class TestHolding:
    @pytest.mark.parametrize("word", [b"first", b"second"], ids=["before the commit point", "behind it"])
    @pytest.mark.parametrize("place", ["alone", "before another", "behind another"])
    async def test_holds_the_provider_back_and_goes_on(self, word: bytes, place: str) -> None:
        decision: asyncio.Future[Emit | End] = asyncio.get_running_loop().create_future()
        filters = around(HoldsAt(word, lambda _: decision), place)
        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=filters) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            if word == b"second":
                await app.read_until(delta("first"))
                await call.event(delta("second"))
            await until(lambda: is_held_back(running))
            await call.event(delta("third", "stop") + DONE)
            await call.end_stream()
            decision.set_result(Emit(delta("decided")))
            rest = await app.read_until(b"\r\n0\r\n\r\n")
            assert delta("decided") in rest
            assert word not in rest
            assert rest.index(delta("decided")) < rest.index(delta("third", "stop")) < rest.index(DONE)
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.SERVED

    @pytest.mark.parametrize("place", ["alone", "before another", "behind another"])
    async def test_what_one_read_has_brought_waits_with_it(self, place: str) -> None:
        """All of the stream, and its end, are there before anything is decided."""
        decision: asyncio.Future[Emit | End] = asyncio.get_running_loop().create_future()
        filters = around(HoldsAt(b"first", lambda _: decision), place)
        sent = delta("first") + delta("second", "stop") + DONE

        async def serve(call: ProviderCall) -> None:
            await call.answer(sent, content_type="text/event-stream")

        async with (
            raw_provider(serve) as raw,
            serving(filtered(raw.url), filters=filters) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            await until(lambda: raw.calls)
            await until(lambda: running.services.origins.idle_count == 1)
            decision.set_result(Emit(sent))
            assert await told(app) == sent

    async def test_may_happen_at_each_event(self) -> None:
        async def later(data: bytes) -> Emit:
            await asyncio.sleep(0)
            return Emit(data)

        sent = delta("one") + delta("two") + delta("", "stop")
        for end in (DONE, b""):

            async def serve(call: ProviderCall, end: bytes = end) -> None:
                await call.begin_stream()
                for event in (sent + end).split(b"\n\n")[:-1]:
                    await call.event(event + b"\n\n")
                await call.end_stream()

            filters = (by(lambda: HoldsAt(b"data", later)),)
            async with raw_provider(serve) as raw, serving(filtered(raw.url), filters=filters) as running:
                assert body_of(await running.ask(stream=True)) == sent + end

    async def test_a_failure_meanwhile_before_the_commit_point_is_followed_by_another_attempt(self) -> None:
        decided = Never()
        holding = iter([True, False])

        def make() -> Stream:
            return HoldsAt(b"first", decided) if next(holding) else Stream()

        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(make),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            await until(lambda: decided.has_begun)
            fail_connections(running)
            await call.gone()
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("again", "stop") + DONE)
            await call.end_stream()
            assert await told(app) == delta("again", "stop") + DONE
            assert decided.is_cancelled

    async def test_a_failure_meanwhile_behind_the_commit_point_ends_the_stream_at_once(self) -> None:
        decided = Never()
        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(lambda: HoldsAt(b"second", decided)),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            await app.read_until(delta("first"))
            await call.event(delta("second"))
            await until(lambda: decided.has_begun)
            fail_connections(running)
            await call.gone()
            assert b'"error"' in await app.read_until(b"\r\n0\r\n\r\n")
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.FAILED
            assert decided.is_cancelled

    @pytest.mark.parametrize("word", [b"first", b"second"], ids=["before the commit point", "behind it"])
    async def test_does_not_outlive_the_application(self, word: bytes) -> None:
        store, decided = Store(), Never()
        async with (
            raw_provider() as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: HoldsAt(word, decided)),), policies=(store.kind(),)
            ) as running,
        ):
            async with await running.connect() as app:
                await app.post(ask(stream=True))
                call = await raw.next()
                await call.begin_stream()
                await call.event(delta("first"))
                if word == b"second":
                    await app.read_until(delta("first"))
                    await call.event(delta("second"))
                await until(lambda: decided.has_begun)
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.CLIENT_GONE
            assert decided.is_cancelled
            assert [*store.settled] == [("attempts", UNREPORTED)]
            await call.gone()

    @pytest.mark.parametrize("word", [b"first", b"second"], ids=["before the commit point", "behind it"])
    async def test_does_not_outlive_the_deadline_and_is_no_failure_of_the_provider(self, word: bytes) -> None:
        clock, decided = FakeClock(), Never()
        timeouts = replace(TIMEOUTS, first_token_ms=1_000, request_ms=20_000, stream_ms=20_000)
        async with (
            raw_provider() as raw,
            serving(
                filtered(raw.url, timeouts=timeouts),
                filters=(by(lambda: HoldsAt(word, decided)),),
                clock=clock.clock,
            ) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True), head="connection: close\r\n")
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            if word == b"second":
                await app.read_until(delta("first"))
                await call.event(delta("second"))
            await until(lambda: decided.has_begun)
            clock.advance(ms=19_999)
            running.services.ticker.tick()
            assert not decided.is_cancelled
            clock.advance(ms=1)
            running.services.ticker.tick()
            answer = await app.rest()
            if word == b"first":
                assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"a rule did not decide on it in time" in answer
            (record,) = await running.records.wait(1)
            assert [it.result for it in record.attempts] == ["NotJudged"]
            assert breakers_count_nothing(running)
            await call.gone()

    @pytest.mark.parametrize("word", [b"first", b"second"], ids=["before the commit point", "behind it"])
    async def test_a_fault_of_the_rule_ends_the_call(
        self, word: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken(_: bytes) -> Emit:
            await asyncio.sleep(0)
            raise RuntimeError("a bug")

        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(lambda: HoldsAt(word, broken)),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True), head="connection: close\r\n")
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            if word == b"second":
                await app.read_until(delta("first"))
                await call.event(delta("second"))
            answer = await app.rest()
            assert (b" 500 " in answer) == (word == b"first")
            assert b'"error"' in answer
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.INTERNAL
            assert breakers_count_nothing(running)
            await call.gone()
        assert "a bug" in caplog.text

    @pytest.mark.parametrize("moment", list(Moment))
    async def test_leaves_nothing_wherever_the_call_is_cancelled(self, moment: Moment) -> None:
        async def later(data: bytes) -> Emit:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return Emit(data)

        async def serve(call: ProviderCall) -> None:
            await call.begin_stream()
            for event in (delta("one"), delta("two"), delta("", "stop") + DONE):
                await call.event(event)
                for _ in range(5):
                    await asyncio.sleep(0)
            await call.end_stream()

        cancelling, store = Cancelling(moment), Store()
        async with (
            raw_provider(serve) as raw,
            serving(
                filtered(raw.url),
                filters=(by(lambda: HoldsAt(b"data", later)), by(Window, "then")),
                policies=(store.kind(),),
                wrap=cancelling.wrap,
            ) as running,
        ):
            for cancelling.at in range(1, 100):
                await running.ask(stream=True)
                await running.records.wait(cancelling.at)
                assert len(store.settled) <= cancelling.at
                if not cancelling.has_cancelled:
                    break
            assert cancelling.at > 5


class TestEnding:
    @pytest.mark.parametrize("place", ["alone", "before another", "behind another"])
    async def test_ends_a_stream_with_its_own_last_words(self, place: str) -> None:
        store = Store()
        last = delta("[withheld]", "content_filter") + DONE
        filters = around(EndsAt(b"secret", last, BLOCKED), place)
        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=filters, policies=(store.kind(),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            await app.read_until(delta("first"))
            await call.event(delta("a secret"))
            rest = await app.read_until(b"\r\n0\r\n\r\n")
            assert last in rest
            assert b"secret" not in rest
            await call.gone()
            (record,) = await running.records.wait(1)
            assert (record.ending, record.status, record.rule) == (Ending.REFUSED, 200, "words")
            assert [*store.settled] == [("attempts", UNREPORTED)]

    @pytest.mark.parametrize("place", ["alone", "before another", "behind another"])
    async def test_of_which_nothing_was_shown_is_a_refusal(self, place: str) -> None:
        store = Store()
        filters = around(EndsAt(b"secret", DONE, BLOCKED), place)
        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=filters, policies=(store.kind(),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True), head="connection: close\r\n")
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("a secret"))
            answer = await app.rest()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"A word that is not said here." in answer
            await call.gone()
            (record,) = await running.records.wait(1)
            assert (record.ending, record.status) == (Ending.REFUSED, 400)
            assert [it.result for it in record.attempts] == ["ok"]
            assert [*store.settled] == [("attempts", UNREPORTED)]

    async def test_without_a_reason_it_is_served(self) -> None:
        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(lambda: EndsAt(b"first", DONE, None)),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            assert await told(app) == DONE
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.SERVED
            await call.gone()

    async def test_may_be_what_was_decided_of_a_hold(self) -> None:
        async def end(_: bytes) -> End:
            await asyncio.sleep(0)
            return End(DONE, BLOCKED)

        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(lambda: HoldsAt(b"second", end)),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            await app.read_until(delta("first"))
            await call.event(delta("second"))
            assert DONE in await app.read_until(b"\r\n0\r\n\r\n")
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.REFUSED
            await call.gone()


class TestJudging:
    async def test_a_whole_answer_is_judged_whether_or_not_streams_are(self) -> None:
        async with (
            raw_provider(lambda call: call.answer(COMPLETION)) as raw,
            serving(filtered(raw.url), filters=(by(UpperCase),)) as running,
        ):
            answer = await running.ask()
            assert json.loads(body_of(answer))["choices"][0]["message"]["content"] == "HELLO"

    async def test_nothing_of_a_stream_is_delivered_before_it_was_judged(self) -> None:
        judged: list[Answer] = []

        def judge(answer: Answer) -> Answer:
            judged.append(answer)
            return answer

        async with (
            raw_provider() as raw,
            serving(filtered(raw.url), filters=(by(lambda: Whole(judge)),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True), head="connection: close\r\n")
            call = await raw.next()
            await call.begin_stream()
            await call.event(delta("first"))
            await until(lambda: running.services.ticker.count)
            await call.event(delta("second", "stop") + DONE)
            await call.end_stream()
            answer = await app.rest()
            sent = delta("first") + delta("second", "stop") + DONE
            assert body_of(answer) == sent
            assert [it.first for it in judged] == [sent]

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_it_may_refuse_and_what_was_used_is_settled(self, *, stream: bool) -> None:
        store = Store()

        async def refuse(_: Answer) -> Any:
            await asyncio.sleep(0)
            return BLOCKED

        async with (
            raw_provider(either) as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: Whole(refuse)),), policies=(store.kind(),)
            ) as running,
        ):
            answer = await running.ask(stream=stream)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert "x-tidegate-attempts: 1\r\n" in head_of(answer)
            record = running.records.last
            assert (record.ending, record.input_tokens, record.usage) == (Ending.REFUSED, 3, "reported")
            assert [*store.settled] == [("attempts", SERVED)]

    async def test_its_answer_may_have_a_rest_and_headers_of_ours(self) -> None:
        rest = Slowly()

        def replay(answer: Answer) -> Answer:
            return answer._replace(first=b"data: 1\n\n", rest=rest, own=[(b"x-tidegate-buffered", b"true")])

        async with (
            raw_provider(all_at_once) as raw,
            serving(filtered(raw.url), filters=(by(lambda: Whole(replay)),)) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            assert b"x-tidegate-buffered: true\r\n" in await app.read_until(b"data: 1\n\n")
            await until(lambda: rest.sink)
            rest.end(DONE)
            await app.read_until(b"0\r\n\r\n")
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.SERVED

    async def test_a_rest_that_breaks_off_is_not_served(self) -> None:
        rest = Slowly()
        async with (
            raw_provider(all_at_once) as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: Whole(lambda it: it._replace(rest=rest))),)
            ) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=True))
            await until(lambda: rest.sink)
            rest.cut()
            assert not (await app.rest()).endswith(b"0\r\n\r\n")
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.INTERNAL

    async def test_filters_of_events_see_a_stream_when_its_judge_has_seen_it(self) -> None:
        filters = (by(Window), by(lambda: Whole(lambda it: it), "then"), by(UpperCase, "last"))
        async with (
            raw_provider(all_at_once) as raw,
            serving(filtered(raw.url, "it", "then", "last"), filters=filters) as running,
        ):
            body = body_of(await running.ask(stream=True))
            assert b'"HELLO"' in body
            assert body.endswith(DONE)

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_what_is_too_large_to_be_judged_is_not_delivered(self, *, stream: bool) -> None:
        async def serve(call: ProviderCall) -> None:
            if stream:
                await call.answer(delta("x" * 3_000) * 3 + DONE, content_type="text/event-stream")
            else:
                await call.answer({**COMPLETION, "padding": "x" * 9_000})

        async with (
            raw_provider(serve) as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: Whole(lambda it: it)),), max_response_bytes=8_000
            ) as running,
        ):
            answer = await running.ask(stream=stream)
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"larger than what rules can look at" in answer
            assert [it.result for it in running.records.last.attempts] == ["NotJudged"]
            assert breakers_count_nothing(running)

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize("make", [UpperCase, lambda: Whole(lambda it: it)], ids=["events", "as a whole"])
    async def test_what_cannot_be_read_is_not_delivered(
        self, make: Callable[[], Any], *, stream: bool
    ) -> None:
        async def serve(call: ProviderCall) -> None:
            await call.answer(b"\x00?", headers={"content-encoding": "x-unknown"})

        async with raw_provider(serve) as raw, serving(filtered(raw.url), filters=(by(make),)) as running:
            answer = await running.ask(stream=stream)
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"in an encoding that rules cannot read" in answer

    async def test_what_is_encoded_is_judged_decoded(self) -> None:
        async def serve(call: ProviderCall) -> None:
            await call.answer(
                gzip.compress(json.dumps(COMPLETION).encode()), headers={"content-encoding": "gzip"}
            )

        async with (
            raw_provider(serve) as raw,
            serving(filtered(raw.url), filters=(by(UpperCase),)) as running,
        ):
            assert b"HELLO" in body_of(await running.ask())

    async def test_an_error_of_the_provider_passes_by(self) -> None:
        async def serve(call: ProviderCall) -> None:
            await call.answer({"error": {"message": "the caller's own"}}, status=400)

        async with (
            raw_provider(serve) as raw,
            serving(filtered(raw.url), filters=(by(lambda: Whole(lambda _: BLOCKED)),)) as running,
        ):
            assert b"the caller's own" in await running.ask()

    async def test_waiting_does_not_outlive_the_application(self) -> None:
        store, judging = Store(), Never()
        async with (
            raw_provider(lambda call: call.answer(COMPLETION)) as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: Whole(judging)),), policies=(store.kind(),)
            ) as running,
        ):
            async with await running.connect() as app:
                await app.post(ask())
                await until(lambda: judging.has_begun)
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.CLIENT_GONE
            assert judging.is_cancelled
            assert [*store.settled] == [("attempts", SERVED)]
            assert breakers_count_nothing(running)

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_waiting_does_not_outlive_the_deadline(self, *, stream: bool) -> None:
        clock, judging = FakeClock(), Never()
        timeouts = replace(TIMEOUTS, request_ms=10_000, stream_ms=30_000)
        async with (
            raw_provider(either) as raw,
            serving(
                filtered(raw.url, timeouts=timeouts), filters=(by(lambda: Whole(judging)),), clock=clock.clock
            ) as running,
            await running.connect() as app,
        ):
            await app.post(ask(stream=stream), head="connection: close\r\n")
            await until(lambda: judging.has_begun)
            clock.advance(ms=29_999 if stream else 9_999)
            running.services.ticker.tick()
            assert not judging.is_cancelled
            clock.advance(ms=1)
            running.services.ticker.tick()
            answer = await app.rest()
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"a rule did not decide on it in time" in answer
            assert judging.is_cancelled
            assert breakers_count_nothing(running)


class TestAskingAgain:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_another_attempt_is_made_and_both_are_settled(self, *, stream: bool) -> None:
        store = Store()
        verdicts = iter([AskAgain(BLOCKED), None])

        async def judge(answer: Answer) -> Any:
            await asyncio.sleep(0)
            return next(verdicts) or answer

        async with (
            raw_provider(either) as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: Whole(judge)),), policies=(store.kind(),)
            ) as running,
        ):
            answer = await running.ask(stream=stream)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"hello" in body_of(answer)
            record = running.records.last
            assert [it.result for it in record.attempts] == ["NotAccepted", "ok"]
            assert (record.ending, record.input_tokens, record.output_tokens) == (Ending.SERVED, 6, 2)
            assert store.outcomes == [("attempts", SERVED)] * 2
            assert breakers_count_nothing(running)

    async def test_attempts_are_bounded_and_then_it_is_refused_as_it_says(self) -> None:
        async with (
            raw_provider(either) as raw,
            serving(filtered(raw.url), filters=(by(lambda: Whole(lambda _: AskAgain(BLOCKED))),)) as running,
        ):
            answer = await running.ask()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"A word that is not said here." in answer
            assert len(raw.calls) == RETRY.max_attempts
            record = running.records.last
            assert record.ending is Ending.REFUSED
            assert [it.result for it in record.attempts] == ["NotAccepted"] * RETRY.max_attempts

    async def test_the_retry_budget_bounds_it_too(self) -> None:
        retry = replace(RETRY, budget_percent=0)
        async with (
            raw_provider(either) as raw,
            serving(
                filtered(raw.url, retry=retry), filters=(by(lambda: Whole(lambda _: AskAgain(BLOCKED))),)
            ) as running,
        ):
            assert (await running.ask()).startswith(b"HTTP/1.1 400 ")
            assert len(raw.calls) == 1

    async def test_somebody_else_is_asked_first(self) -> None:
        verdicts = iter([AskAgain(BLOCKED), None])
        async with raw_provider(either) as raw:
            served = config(
                pool(provider("first", raw.url), provider("second", raw.url, priority=1)), rules=("it",)
            )
            filters = (by(lambda: Whole(lambda it: next(verdicts) or it)),)
            async with serving(served, filters=filters) as running:
                await running.ask()
                assert [it.provider for it in running.records.last.attempts] == ["first", "second"]

    async def test_it_may_ask_in_other_words(self) -> None:
        verdicts = iter([AskAgain(BLOCKED, another(b'{"model":"gpt-test","messages":["again"]}')), None])
        async with (
            raw_provider(either) as raw,
            serving(
                filtered(raw.url), filters=(by(lambda: Whole(lambda it: next(verdicts) or it)),)
            ) as running,
        ):
            assert (await running.ask()).startswith(b"HTTP/1.1 200 ")
            assert raw.calls[1].body == b'{"model":"gpt-test","messages":["again"]}'

    async def test_where_the_next_attempt_fails_that_is_what_is_told(self) -> None:
        statuses = iter([200, 400])

        async def serve(call: ProviderCall) -> None:
            status = next(statuses)
            await call.answer(
                COMPLETION if status == 200 else {"error": {"message": "its words"}}, status=status
            )

        async with (
            raw_provider(serve) as raw,
            serving(filtered(raw.url), filters=(by(lambda: Whole(lambda _: AskAgain(BLOCKED))),)) as running,
        ):
            assert b"its words" in await running.ask()

    async def test_the_application_may_leave_between_two_attempts(self) -> None:
        store = Store()
        async with (
            raw_provider() as raw,
            serving(
                filtered(raw.url),
                filters=(by(lambda: Whole(lambda _: AskAgain(BLOCKED))),),
                policies=(store.kind(),),
            ) as running,
        ):
            async with await running.connect() as app:
                await app.post(ask())
                await (await raw.next()).answer(COMPLETION)
                call = await raw.next()
            (record,) = await running.records.wait(1)
            assert record.ending is Ending.CLIENT_GONE
            assert store.outcomes == [("attempts", SERVED), ("attempts", UNREPORTED)]
            await call.gone()


async def test_a_request_filter_s_answer_is_not_looked_at() -> None:
    fixed = Answer(200, (), b"{}")
    filters = (kind("it", lambda: Requests(lambda _: fixed)), by(lambda: Whole(lambda _: BLOCKED), "then"))
    async with serving(filtered("http://127.0.0.1:1/v1"), filters=filters) as running:
        assert body_of(await running.ask()) == b"{}"


class Never:
    """Decides never."""

    def __init__(self) -> None:
        self.has_begun = self.is_cancelled = False

    async def __call__(self, _: object) -> Any:
        self.has_begun = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


def around(it: Stream, place: str) -> tuple[FilterKind, ...]:
    """The filter `it`, alone or in a row with one that changes nothing."""
    if place == "alone":
        return (by(lambda: it),)
    return (
        (by(lambda: it), by(Stream, "then"))
        if place == "before another"
        else (by(Stream), by(lambda: it, "then"))
    )


async def all_at_once(call: ProviderCall) -> None:
    await call.answer(delta("hello", "stop") + DONE, content_type="text/event-stream")


async def either(call: ProviderCall) -> None:
    """What was asked for, whole or as a stream, with its usage."""
    if call.json.get("stream"):
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
        await call.answer(delta("hello", "stop") + usage + DONE, content_type="text/event-stream")
    else:
        await call.answer(COMPLETION)


def is_held_back(running: RunningExchange) -> bool:
    """Whether the one connection that is open is not read from."""
    return [it._is_paused for it in connections(running)] == [True]


def fail_connections(running: RunningExchange) -> None:
    """As if the kernel had told that they are lost, which it tells only who reads."""
    for connection in connections(running):
        assert connection._transport is not None
        connection._transport.abort()


def connections(running: RunningExchange) -> list[Any]:
    origins = running.services.origins._origins.values()
    return [connection for origin in origins for connection in origin._open]


def breakers_count_nothing(running: RunningExchange) -> bool:
    pipeline = running.services.live.pipeline
    assert pipeline is not None
    states = [state for it in pipeline.pools for state in it.providers]
    return all(breaker._failures_in_a_row == 0 for state in states for _, breaker in state.breakers.each())
