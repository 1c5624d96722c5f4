"""An attempt that fails before the application has seen a byte is followed by one with the next provider."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest
from tidegate_testing.configs import RETRY, TIMEOUTS, anthropic, config, pool, provider
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, delta, raw_provider
from tidegate_testing.scripts import OUR_KEY, asked, events
from tidegate_testing.sidecar import running_sidecar

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig, RetryOn
from tidegate_sidecar.telemetry.records import Ending

TIMELY = replace(TIMEOUTS, connect_ms=1_000, first_token_ms=1_000, request_ms=20_000)


def three(simulator: Simulator, **changes: object) -> CompiledConfig:
    """Two of priority 0 that are asked before the third."""
    return config(
        pool(
            provider("first", f"{simulator.provider_url('first')}/v1"),
            provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            provider("third", f"{simulator.provider_url('third')}/v1", priority=2),
            **changes,
        )
    )


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (429, "RateLimited"),
        (503, "Overloaded"),
        (529, "Overloaded"),
        (500, "ServerError"),
        (502, "ServerError"),
        (504, "Timeout"),
        (408, "Timeout"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_error_of_the_provider_moves_the_call_on(
    simulator: Simulator, status: int, result: str, *, streaming: bool
) -> None:
    """No Retry-After is needed for that, and the caller notices nothing."""
    async with running_sidecar(three(simulator)) as sidecar:
        answer = await sidecar.chat(
            stream=streaming, headers={"x-simulate-status": str(status), "x-simulate-only": "first"}
        )
        assert answer.status == 200
        assert answer.headers["x-tidegate-provider"] == "second"
        assert answer.headers["x-tidegate-attempts"] == "2"
        await sidecar.records.wait(1)
        assert asked(sidecar) == [("first", result), ("second", "ok")]
        record = sidecar.records.last
        assert (record.ending, record.provider) == (Ending.SERVED, "second")
        assert record.attempts[0].status == status


@pytest.mark.parametrize(
    ("headers", "result"),
    [
        ({"x-simulate-garbage": "http"}, "Garbage"),
        ({"x-simulate-garbage": "empty"}, "Closed"),
        ({"x-simulate-cut-after": "0"}, "Incomplete"),
    ],
    ids=["not HTTP", "closed without a word", "cut in the middle"],
)
async def test_a_broken_answer_moves_the_call_on(
    simulator: Simulator, headers: dict[str, str], result: str
) -> None:
    async with running_sidecar(three(simulator)) as sidecar:
        answer = await sidecar.chat(headers={**headers, "x-simulate-only": "first"})
        assert answer.headers["x-tidegate-provider"] == "second"
        assert asked(sidecar) == [("first", result), ("second", "ok")]
        assert sidecar.records.last.attempts[0].sent, "the provider may have worked, and may charge for it"


async def test_an_answer_that_nobody_can_read_has_been_paid_for_and_moves_nothing_on(
    simulator: Simulator,
) -> None:
    async with running_sidecar(three(simulator)) as sidecar:
        answer = await sidecar.chat(headers={"x-simulate-garbage": "body", "x-simulate-only": "first"})
        assert (answer.status, answer.code) == (502, "provider_unreachable")
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
        assert asked(sidecar) == [("first", "Unreadable")]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-simulate-garbage": "empty"},
        {"x-simulate-stream-error": "0"},
        {"x-simulate-cut-after": "0"},
        {"x-simulate-stall-after": "0"},
        {"x-simulate-delay": "1h"},
        {"x-simulate-first-token-delay": "1h"},
    ],
    ids=["closed", "error event", "cut", "stalled", "no head in time", "no event in time"],
)
async def test_a_stream_that_fails_before_its_first_event_moves_on(
    simulator: Simulator, headers: dict[str, str]
) -> None:
    async with running_sidecar(three(simulator, timeouts=TIMELY)) as sidecar:
        answer = await sidecar.chat(stream=True, headers={**headers, "x-simulate-only": "first"})
        assert answer.headers["x-tidegate-provider"] == "second"
        assert answer.body.endswith(DONE)
        assert b"error" not in answer.body
        await sidecar.records.wait(1)
        assert [name for name, _ in asked(sidecar)] == ["first", "second"]


async def test_an_anthropic_stream_that_begins_with_an_error_moves_on() -> None:
    overloaded = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
    well = (
        b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    async with (
        raw_provider(events(overloaded)) as bad,
        raw_provider(events(well)) as good,
        running_sidecar(
            config(pool(anthropic("first", bad.url), anthropic("second", good.url, priority=1)))
        ) as sidecar,
    ):
        answer = await sidecar.messages(stream=True)
        assert answer.headers["x-tidegate-provider"] == "second"
        await sidecar.records.wait(1)
        assert asked(sidecar) == [("first", "Overloaded"), ("second", "ok")]


async def test_a_provider_that_nobody_serves_moves_the_call_on(simulator: Simulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        cfg = config(
            pool(
                provider("first", nobody),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            )
        )
        async with running_sidecar(cfg) as sidecar:
            assert (await sidecar.chat()).headers["x-tidegate-provider"] == "second"
            assert asked(sidecar) == [("first", "ConnectFailure"), ("second", "ok")]


async def test_a_provider_that_does_not_take_the_connection_moves_the_call_on(simulator: Simulator) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(address)  # the queue of a listener that accepts nobody is full now
        cfg = config(
            pool(
                provider("first", f"http://127.0.0.1:{address[1]}/v1"),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
                timeouts=replace(TIMEOUTS, connect_ms=250),
            )
        )
        async with running_sidecar(cfg) as sidecar:
            assert (await sidecar.chat()).headers["x-tidegate-provider"] == "second"
            assert sidecar.records.last.attempts[0].reason == "the connection was not made in time"
        for filler in fillers:
            filler.close()


class TestOurKey:
    async def test_refused_moves_the_call_on_and_says_whose_it_is(self, simulator: Simulator) -> None:
        cfg = config(
            pool(
                provider("first", f"{simulator.provider_url('first')}/v1", credentials=(OUR_KEY,)),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            )
        )
        async with running_sidecar(cfg, environment={"KEY": "sk-ours"}) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-status": "401", "x-simulate-only": "first"})
            assert answer.headers["x-tidegate-provider"] == "second"
            first = sidecar.records.last.attempts[0]
            assert (first.result, first.status) == ("KeyRefused", 401)
            assert first.reason == "it refused the key of ProviderCredential team-a/prod (401)"

    async def test_refused_everywhere_is_no_error_of_the_caller(self, simulator: Simulator) -> None:
        cfg = config(pool(provider("only", f"{simulator.provider_url('only')}/v1", credentials=(OUR_KEY,))))
        async with running_sidecar(cfg, environment={"KEY": "sk-ours"}) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-status": "401"})
            assert (answer.status, answer.code) == (503, "provider_unavailable")
            assert "ProviderCredential team-a/prod" in answer.text
            assert answer.headers["x-should-retry"] == "false", "the same key would be refused again"
            assert "retry-after" not in answer.headers
            assert asked(sidecar) == [("only", "KeyRefused")]

    @pytest.mark.parametrize(
        ("environment", "suspended"), [({}, False), ({"KEY": "sk"}, True), ({"KEY": "s\x7f"}, False)]
    )
    async def test_missing_or_suspended_leaves_its_provider_out(
        self, simulator: Simulator, environment: dict[str, str], *, suspended: bool
    ) -> None:
        reference = replace(OUR_KEY, suspended=suspended)
        cfg = config(
            pool(
                provider("first", f"{simulator.provider_url('first')}/v1", credentials=(reference,)),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            )
        )
        async with running_sidecar(cfg, environment=environment) as sidecar:
            assert (await sidecar.chat()).headers["x-tidegate-attempts"] == "1"
        assert simulator.requests_to("first") == ()

    async def test_the_second_one_is_used_when_the_first_is_missing(self, simulator: Simulator) -> None:
        second = replace(OUR_KEY, environment_variable="OTHER")
        cfg = config(
            pool(provider("first", f"{simulator.provider_url('first')}/v1", credentials=(OUR_KEY, second)))
        )
        async with running_sidecar(cfg, environment={"OTHER": "sk-other\n"}) as sidecar:
            await sidecar.chat()
        assert simulator.requests[-1].headers["authorization"] == "Bearer sk-other"

    async def test_the_callers_own_key_refused_is_an_error_of_the_caller(self, simulator: Simulator) -> None:
        cfg = config(
            pool(
                provider("first", f"{simulator.provider_url('first')}/v1", caller_credential=True),
                provider("second", f"{simulator.provider_url('second')}/v1", priority=1),
            )
        )
        async with running_sidecar(cfg) as sidecar:
            answer = await sidecar.chat(headers={"authorization": "Bearer x", "x-simulate-status": "401"})
            assert answer.status == 401
            assert asked(sidecar) == [("first", "CallerError")]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """The prompt and the key would go to wherever the answer says."""

    async def elsewhere(call: ProviderCall) -> None:
        await call.answer(COMPLETION)

    async with raw_provider(elsewhere) as target:

        async def redirect(call: ProviderCall) -> None:
            await call.answer(b"", status=status, headers={"location": f"{target.url}/chat/completions"})

        async with (
            raw_provider(redirect) as first,
            running_sidecar(
                config(pool(provider("first", first.url), retry=replace(RETRY, max_attempts=1)))
            ) as sidecar,
        ):
            answer = await sidecar.chat()
            assert (answer.status, answer.code) == (502, "provider_unreachable")
            assert f"redirect ({status})" in answer.text
            assert "location" not in answer.headers
        assert target.calls == []


async def test_interim_answers_are_not_the_answer() -> None:
    async def hasty(call: ProviderCall) -> None:
        await call.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await call.answer(COMPLETION)

    async with (
        raw_provider(hasty) as raw,
        running_sidecar(config(pool(provider("only", raw.url)))) as sidecar,
    ):
        assert (await sidecar.chat()).json == COMPLETION


class TestAttempts:
    async def test_are_at_most_so_many(self, simulator: Simulator) -> None:
        async with running_sidecar(three(simulator, retry=replace(RETRY, max_attempts=2))) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-status": "500"})
            assert answer.status == 500
            assert asked(sidecar) == [("first", "ServerError"), ("second", "ServerError")]

    async def test_end_at_a_failure_that_is_not_to_be_retried(self, simulator: Simulator) -> None:
        only = replace(RETRY, retry_on=(RetryOn.RATE_LIMITED,))
        async with running_sidecar(three(simulator, retry=only)) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-status": "500", "x-simulate-only": "first"})
            assert answer.status == 500
            assert len(asked(sidecar)) == 1

    async def test_that_all_fail_leave_the_last_providers_own_words(self, simulator: Simulator) -> None:
        async with running_sidecar(three(simulator)) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-status": "500"})
            assert answer.status == 500
            assert answer.json["error"]["message"] == "Simulated failure with status 500."
            assert answer.headers["x-tidegate-attempts"] == "3"
            assert answer.headers["x-tidegate-provider"] == "third"
            record = sidecar.records.last
            assert (record.ending, record.status) == (Ending.PROVIDER_ERROR, 500)

    async def test_that_all_fail_on_the_way_are_told_one_by_one(self, simulator: Simulator) -> None:
        async with running_sidecar(three(simulator)) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-garbage": "empty"})
            assert (answer.status, answer.code) == (502, "provider_unreachable")
            for name in ("first", "second", "third"):
                assert f"{name}: it closed the connection" in answer.text
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-tidegate-attempts"] == "3"

    async def test_of_one_provider_come_after_a_pause(self, simulator: Simulator) -> None:
        cfg = config(pool(provider("only", f"{simulator.provider_url('only')}/v1")))
        simulator.set_behaviour("only", _failing(503), _failing(503), _failing(None))
        async with running_sidecar(cfg) as sidecar:
            assert (await sidecar.chat()).status == 200
            assert asked(sidecar) == [("only", "Overloaded"), ("only", "Overloaded"), ("only", "ok")]


class TestRetryAfter:
    async def test_is_waited_for_when_it_is_short(self, simulator: Simulator) -> None:
        cfg = config(
            pool(
                provider("only", f"{simulator.provider_url('only')}/v1"),
                retry=replace(RETRY, backoff_max_ms=60_000),
            )
        )
        simulator.set_behaviour("only", _failing(429, retry_after="0"), _failing(None))
        async with running_sidecar(cfg) as sidecar:
            assert (await sidecar.chat()).status == 200
            assert asked(sidecar) == [("only", "RateLimited"), ("only", "ok")]

    @pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
    async def test_is_passed_on_when_it_is_long(self, simulator: Simulator, retry_after: str) -> None:
        cfg = config(pool(provider("only", f"{simulator.provider_url('only')}/v1")))
        async with running_sidecar(cfg) as sidecar:
            answer = await sidecar.chat(
                headers={"x-simulate-status": "429", "x-simulate-retry-after": retry_after}
            )
            assert answer.status == 429
            assert answer.headers["retry-after"] == retry_after
            assert len(asked(sidecar)) == 1

    async def test_keeps_nobody_from_another_provider(self, simulator: Simulator) -> None:
        async with running_sidecar(three(simulator)) as sidecar:
            answer = await sidecar.chat(
                headers={
                    "x-simulate-status": "429",
                    "x-simulate-retry-after": "3600",
                    "x-simulate-only": "first",
                }
            )
            assert answer.headers["x-tidegate-provider"] == "second"


class TestTheChoice:
    async def test_is_the_lowest_priority_first(self, simulator: Simulator) -> None:
        async with running_sidecar(three(simulator)) as sidecar:
            for _ in range(10):
                assert (await sidecar.chat()).headers["x-tidegate-provider"] == "first"

    async def test_is_by_weight_within_a_priority(self, simulator: Simulator) -> None:
        cfg = config(
            pool(
                provider("heavy", f"{simulator.provider_url('heavy')}/v1", weight=3),
                provider("light", f"{simulator.provider_url('light')}/v1", weight=1),
                provider("idle", f"{simulator.provider_url('idle')}/v1", weight=0),
            )
        )
        async with running_sidecar(cfg) as sidecar:
            await asyncio.gather(*[sidecar.chat() for _ in range(100)])
        heavy = len(simulator.requests_to("heavy"))
        assert 52 < heavy < 96, "75 of 100 expected; outside of this once in a million runs"
        assert len(simulator.requests_to("light")) == 100 - heavy

    async def test_stays_within_a_dialect(self, simulator: Simulator) -> None:
        cfg = config(
            pool(
                provider("gpt", f"{simulator.provider_url('gpt')}/v1"),
                anthropic("claude", f"{simulator.provider_url('claude')}/v1", priority=1),
            )
        )
        async with running_sidecar(cfg) as sidecar:
            answer = await sidecar.chat(headers={"x-simulate-status": "500"})
            assert answer.status == 500
        assert simulator.requests_to("claude") == ()


async def test_once_the_application_has_seen_something_nobody_else_is_asked() -> None:
    async def half(call: ProviderCall) -> None:
        await call.begin_stream()
        await call.event(delta("half a sen"))
        call.close()

    async with (
        raw_provider(half) as first,
        raw_provider(half) as second,
        running_sidecar(
            config(pool(provider("first", first.url), provider("second", second.url, priority=1)))
        ) as sidecar,
    ):
        answer = await sidecar.chat(stream=True)
        assert b'"code":"provider_unreachable"' in answer.body
        assert second.calls == []


def _failing(status: int | None, **more: Any) -> Behaviour:
    return Behaviour(status=status, **more)
