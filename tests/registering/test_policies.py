"""A policy with a contract of its own: it is asked, waits, counts, settles and goes on over a reload like one that is built in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from made_up.quotas import Config, Quota, Store, When, config
from made_up.serving import pipeline_of, put, quota_of, serving
from tidegate_testing.configs import RETRY, model, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, delta, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_policy.model import Mode
from tidegate_sidecar.config.registry import DEFAULT, Phase
from tidegate_sidecar.dialects.base import NO_USAGE, Usage
from tidegate_sidecar.policies.base import NOT_ADMITTED, NOT_SENT, Outcome, Sent, UsageClass
from tidegate_sidecar.telemetry.records import Ending, ShadowRefusal

SERVED = Outcome(Sent.SENT, Usage(3, 1), UsageClass.REPORTED)
UNREPORTED = Outcome(Sent.SENT, NO_USAGE, UsageClass.UNREPORTED)
IN_VAIN = Outcome(Sent.SENT, NO_USAGE, UsageClass.NONE)
OF_ATTEMPTS = Phase.ATTEMPT.value
NOWHERE = "http://127.0.0.1:1/v1"


def quota(name: str = "small", **changes: Any) -> Quota:
    return replace(Quota(name=name, model="gpt-test", calls=1), **changes)


def with_quotas(url: str, *quotas: Quota, **changes: Any) -> Config:
    models = (model("gpt-test"), model("gpt-other"))
    return config(pool(provider("only", url, models=models), **changes), quotas=quotas)


async def answered(call: ProviderCall) -> None:
    await call.answer(COMPLETION)


class TestAdmitting:
    async def test_a_call_beyond_the_quota_is_refused_in_its_words(self) -> None:
        store = Store()
        async with (
            raw_provider(answered) as raw,
            serving(with_quotas(raw.url, quota(calls=0)), policies=(store.kind(),)) as running,
        ):
            answer = await running.ask()
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: 1\r\n" in answer
            assert b'"rule":"small"' in answer
            assert (await running.ask(model="gpt-other")).startswith(b"HTTP/1.1 200 ")
            record = running.records.all[0]
            assert (record.ending, record.rule) == (Ending.REFUSED, "small")
            assert record.object == "Quotas team-a/by-model"

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_rights_are_got_once_for_all_who_wait_for_them(self, phase: Phase) -> None:
        store, is_there = Store(), asyncio.Event()
        store.gives, store.answer = 5, lambda: until(is_there.is_set)
        rule = quota(calls=0, when_empty=When.LEASE, phase=phase.value)
        async with (
            raw_provider(answered) as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            calls = [tasks.create_task(running.ask()) for _ in range(5)]
            await until(lambda: running.services.in_flight.count == 5)
            is_there.set()
            for call in calls:
                assert (await call).startswith(b"HTTP/1.1 200 ")
            assert store.asked == 1
            assert [*store.settled] == [("small", SERVED)] * 5

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_rights_that_do_not_come_in_time_are_not_waited_for(self, phase: Phase) -> None:
        """Nor by those who came later and waited for the same."""
        store = Store()
        store.answer = asyncio.Event().wait  # type: ignore[assignment] # it never comes
        rule = quota(calls=0, when_empty=When.LEASE, phase=phase.value)
        async with (
            raw_provider(answered) as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            calls = [tasks.create_task(running.ask()) for _ in range(3)]
            await until(lambda: running.services.in_flight.count == 3)
            for call in calls:
                assert (await call).startswith(b"HTTP/1.1 429 ")
            assert store.asked == 1
            assert [*store.settled] == []

    async def test_where_the_one_who_gets_rights_goes_away_the_next_one_gets_them(self) -> None:
        store, is_there = Store(), asyncio.Event()
        store.gives, store.answer = 1, lambda: until(is_there.is_set)
        rule = quota(calls=0, when_empty=When.LEASE)
        async with (
            raw_provider(answered) as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            async with await running.connect() as first:
                await first.post(ask())
                await until(lambda: store.asked == 1)
                second = tasks.create_task(running.ask())
                await until(lambda: running.services.in_flight.count == 2)
            await until(lambda: store.asked == 2)
            is_there.set()
            assert (await second).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_a_call_waits_for_its_turn(self, phase: Phase) -> None:
        store = Store()
        rule = quota(when_empty=When.QUEUE, phase=phase.value)
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            calls = [tasks.create_task(running.ask()) for _ in range(2)]
            first = await raw.next()
            await until(lambda: quota_of(running, "small").rights.waiting)
            await first.answer(COMPLETION)
            await (await raw.next()).answer(COMPLETION)
            for call in calls:
                assert (await call).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_who_goes_away_leaves_the_queue(self, phase: Phase) -> None:
        store = Store()
        rule = quota(when_empty=When.QUEUE, phase=phase.value)
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            first = tasks.create_task(running.ask())
            call = await raw.next()
            async with await running.connect() as second:
                await second.post(ask())
                await until(lambda: quota_of(running, "small").rights.waiting)
            await until(lambda: not quota_of(running, "small").rights.waiting)
            await call.answer(COMPLETION)
            assert (await first).startswith(b"HTTP/1.1 200 ")
            assert sorted(it.ending for it in await running.records.wait(2)) == ["client_gone", "served"]

    @pytest.mark.parametrize("phase", list(Phase))
    @pytest.mark.parametrize("deadline", ["of the queue", "of the call"])
    async def test_a_turn_that_does_not_come_in_time_is_a_refusal(self, phase: Phase, deadline: str) -> None:
        store = Store()
        max_wait_ms = 20 if deadline == "of the queue" else 60_000
        rule = quota(calls=0, when_empty=When.QUEUE, phase=phase.value, max_wait_ms=max_wait_ms)
        timeouts = replace(pool().timeouts, request_ms=20_000 if deadline == "of the queue" else 20)
        served = with_quotas(NOWHERE, rule, timeouts=timeouts)
        async with serving(served, policies=(store.kind(),)) as running:
            assert (await running.ask()).startswith(b"HTTP/1.1 429 ")
            assert running.records.last.attempts == ()

    @pytest.mark.parametrize("when", list(When))
    async def test_in_shadow_mode_it_only_notes(self, when: When) -> None:
        """One that needs rights, or would queue, is passed over."""
        store = Store()
        rule = quota(calls=0, when_empty=when, mode=Mode.SHADOW)
        async with (
            raw_provider(answered) as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
        ):
            assert (await running.ask()).startswith(b"HTTP/1.1 200 ")
            noted = (ShadowRefusal("Quotas team-a/by-model", "small", "rate_limit_exceeded"),)
            assert running.records.last.would_refuse == (noted if when is When.REFUSE else ())
            assert store.asked == 0

    async def test_an_attempt_is_admitted_with_its_provider_and_the_body_as_it_is_sent(self) -> None:
        store = Store()
        models = (model("gpt-test", "the-name-up-there"),)
        served = config(
            pool(
                provider("first", NOWHERE, models=models),
                provider("second", NOWHERE, priority=1, models=models),
            ),
            quotas=(quota(calls=9, phase=OF_ATTEMPTS),),
        )
        async with serving(served, policies=(store.kind(),)) as running:
            await running.ask(max_tokens=7)
            asked = [
                it
                for it in quota_of(running, "small").seen
                if it.message is not None and it.message.is_changed
            ]
            assert {it.provider for it in asked} == {"first", "second"}
            for facts in asked:
                assert facts.message is not None
                assert facts.body_bytes == len(facts.message.body)
                assert facts.message.document["model"] == "the-name-up-there"
                assert facts.message.document["max_tokens"] == 7


class TestSettling:
    """Each grant is settled once (the quota asserts it), with what became of its call or attempt."""

    @pytest.mark.parametrize("phase", list(Phase))
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_an_answer(self, phase: Phase, *, stream: bool) -> None:
        async def serve(call: ProviderCall) -> None:
            if not stream:
                await call.answer(COMPLETION)
                return
            await call.begin_stream()
            await call.event(delta("hello", "stop"))
            await call.event(
                b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n' + DONE
            )
            await call.end_stream()

        assert await settled_with(serve, phase, stream=stream) == [SERVED]

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_an_answer_that_does_not_say_what_it_used(self, phase: Phase) -> None:
        async def serve(call: ProviderCall) -> None:
            await call.answer({**COMPLETION, "usage": None})

        assert await settled_with(serve, phase) == [UNREPORTED]

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_a_refusal_of_the_provider(self, phase: Phase) -> None:
        async def serve(call: ProviderCall) -> None:
            await call.answer({"error": {"message": "no"}}, status=400)

        assert await settled_with(serve, phase) == [IN_VAIN]

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_a_connection_that_is_cut_before_an_answer(self, phase: Phase) -> None:
        async def serve(call: ProviderCall) -> None:
            call.cut()

        assert await settled_with(serve, phase) == [UNREPORTED]

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_a_stream_that_is_cut(self, phase: Phase) -> None:
        async def serve(call: ProviderCall) -> None:
            await call.begin_stream()
            await call.event(delta("half"))
            call.cut()

        assert await settled_with(serve, phase, stream=True) == [UNREPORTED]

    @pytest.mark.parametrize("phase", list(Phase))
    async def test_no_connection(self, phase: Phase) -> None:
        store = Store()
        served = with_quotas(NOWHERE, quota(phase=phase.value), retry=replace(RETRY, max_attempts=1))
        async with serving(served, policies=(store.kind(),)) as running:
            assert (await running.ask()).startswith(b"HTTP/1.1 502 ")
            assert store.outcomes == [("small", NOT_SENT)]

    @pytest.mark.parametrize("phase", list(Phase))
    @pytest.mark.parametrize("stream", [False, True], ids=["before an answer", "within a stream"])
    async def test_an_application_that_goes_away(self, phase: Phase, *, stream: bool) -> None:
        store = Store()
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, quota(phase=phase.value)), policies=(store.kind(),)) as running,
        ):
            async with await running.connect() as app:
                await app.post(ask(stream=stream))
                call = await raw.next()
                if stream:
                    await call.begin_stream()
                    await call.event(delta("half"))
                    await app.read_until(delta("half"))
            await running.records.wait(1)
            await call.gone()
            assert [*store.settled] == [("small", UNREPORTED)]

    async def test_a_call_that_another_rule_refuses_gives_back_what_it_took(self) -> None:
        store = Store()
        served = with_quotas(NOWHERE, quota("first"), quota("second", calls=0))
        async with serving(served, policies=(store.kind(),)) as running:
            assert (await running.ask()).startswith(b"HTTP/1.1 429 ")
            assert [*store.settled] == [("first", NOT_ADMITTED)]

    async def test_a_call_that_is_refused_after_its_grant_was_not_sent(self) -> None:
        store = Store()
        served = with_quotas(NOWHERE, quota("call"), quota("attempt", phase=OF_ATTEMPTS, calls=0))
        async with serving(served, policies=(store.kind(),)) as running:
            assert (await running.ask()).startswith(b"HTTP/1.1 429 ")
            assert [*store.settled] == [("call", NOT_SENT)]

    async def test_each_attempt_settles_its_own(self) -> None:
        """And the call knows of both."""
        store = Store()
        statuses = iter([500, 200])

        async def serve(call: ProviderCall) -> None:
            await call.answer(COMPLETION, status=next(statuses))

        quotas = quota("call"), quota("attempt", calls=2, phase=OF_ATTEMPTS)
        async with (
            raw_provider(serve) as raw,
            serving(with_quotas(raw.url, *quotas), policies=(store.kind(),)) as running,
        ):
            answer = await running.ask()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert store.outcomes == [("attempt", IN_VAIN), ("attempt", SERVED), ("call", SERVED)]

    async def test_two_calls_at_a_time_settle_their_own(self) -> None:
        store = Store()
        async with (
            raw_provider() as raw,
            serving(
                with_quotas(raw.url, quota(calls=2, phase=OF_ATTEMPTS)), policies=(store.kind(),)
            ) as running,
            asyncio.TaskGroup() as tasks,
        ):
            answers = [tasks.create_task(running.ask()) for _ in range(2)]
            first, second = await raw.next(), await raw.next()
            assert quota_of(running, "small").rights.free == 0
            await second.answer({"error": {"message": "no"}}, status=400)
            await until(lambda: store.settled)
            await first.answer(COMPLETION)
            for answer in answers:
                await answer
            assert [*store.settled] == [("small", IN_VAIN), ("small", SERVED)]


async def settled_with(
    serve: Callable[[ProviderCall], Awaitable[None]], phase: Phase, *, stream: bool = False
) -> list[Outcome]:
    """The outcomes that the grants of one call got."""
    store = Store()
    async with (
        raw_provider(serve) as raw,
        serving(
            with_quotas(raw.url, quota(phase=phase.value), retry=replace(RETRY, max_attempts=1)),
            policies=(store.kind(),),
        ) as running,
    ):
        await running.ask(stream=stream)
        assert len(running.records.all) == 1
    return [outcome for _, outcome in store.outcomes]


class TestReloading:
    async def test_what_is_under_way_counts_in_the_next_configuration(self) -> None:
        """It is known again by its identity, whatever else of the rule has changed, and whatever place it has."""
        store = Store()
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, quota(calls=2)), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            under_way = tasks.create_task(running.ask())
            call = await raw.next()
            put(running, with_quotas(raw.url, quota("new", calls=5), quota(calls=1)))
            assert (await running.ask()).startswith(b"HTTP/1.1 429 ")
            assert quota_of(running, "new").rights.free == 5
            await call.answer(COMPLETION)
            assert (await under_way).startswith(b"HTTP/1.1 200 ")
            assert quota_of(running, "small").rights.free == 1

    async def test_a_rule_of_another_name_begins_anew(self) -> None:
        store = Store()
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, quota("old")), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            under_way = tasks.create_task(running.ask())
            call = await raw.next()
            put(running, with_quotas(raw.url, quota("new")))
            other = tasks.create_task(running.ask())
            await (await raw.next()).answer(COMPLETION)
            assert (await other).startswith(b"HTTP/1.1 200 ")
            await call.answer(COMPLETION)
            assert (await under_way).startswith(b"HTTP/1.1 200 ")
            assert [name for name, _ in store.settled] == ["new", "old"]

    async def test_who_waits_in_a_queue_gets_the_turn_that_comes_after_a_reload(self) -> None:
        store = Store()
        rule = quota(when_empty=When.QUEUE)
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, rule), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            first = tasks.create_task(running.ask())
            call = await raw.next()
            second = tasks.create_task(running.ask())
            await until(lambda: quota_of(running, "small").rights.waiting)
            put(running, with_quotas(raw.url, replace(rule, max_wait_ms=1)))
            await call.answer(COMPLETION)
            await (await raw.next()).answer(COMPLETION)
            assert (await first).startswith(b"HTTP/1.1 200 ")
            assert (await second).startswith(b"HTTP/1.1 200 ")

    async def test_a_build_that_fails_changes_nothing(self) -> None:
        store = Store()
        async with (
            raw_provider() as raw,
            serving(with_quotas(raw.url, quota()), policies=(store.kind(),)) as running,
            asyncio.TaskGroup() as tasks,
        ):
            under_way = tasks.create_task(running.ask())
            call = await raw.next()
            before = pipeline_of(running)
            put(running, with_quotas(raw.url, quota(calls=9), quota("wrong", calls=-1)))
            assert pipeline_of(running) is before
            assert running.services.live.problem.endswith("quota wrong: calls must not be negative")
            assert quota_of(running, "small").rights.free == 0
            await call.answer(COMPLETION)
            await under_way
            assert quota_of(running, "small").rights.free == 1


async def test_a_whole_sidecar_takes_them_from_its_registry() -> None:
    store = Store()
    registry = replace(DEFAULT, policies=(*DEFAULT.policies, store.kind()))
    async with raw_provider(answered) as raw:
        served = with_quotas(raw.url, quota(calls=0))
        async with running_sidecar(served, registry=registry) as sidecar:
            assert (await sidecar.chat()).code == "rate_limit_exceeded"
            await sidecar.reload(with_quotas(raw.url, quota(calls=1)))
            assert (await sidecar.chat()).status == 200
