"""A provider that asks for patience is left alone meanwhile, by whoever it means: a key and model, or a whole account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, RETRY, config, model, pool, provider
from tidegate_testing.provider import RawProvider, Script, raw_provider
from tidegate_testing.scripts import OUR_KEY, answering, asked, in_turn, serving
from tidegate_testing.sidecar import Sidecar, running_sidecar

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.telemetry.records import Ending

MODELS = (model("gpt-test"), model("other"))
OF_ACCOUNT = {"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}}


def patience(seconds: int, error: dict[str, Any] | None = None, status: int = 429) -> Script:
    return answering(status, error or {"error": {"message": "m"}}, {"retry-after": str(seconds)})


def alone(only: RawProvider, **changes: Any) -> CompiledConfig:
    return config(
        pool(provider("only", only.url, models=MODELS, **changes), retry=replace(RETRY, max_attempts=1))
    )


@pytest.mark.parametrize("status", [429, 503])
async def test_it_is_left_alone_until_its_time_is_over(status: int) -> None:
    clock = FakeClock()
    async with (
        raw_provider(in_turn(patience(20, status=status), serving)) as first,
        raw_provider(serving) as second,
        running_sidecar(
            config(pool(provider("first", first.url), provider("second", second.url, priority=1))),
            clock=clock.clock,
        ) as sidecar,
    ):
        await sidecar.chat()
        assert [name for name, _ in asked(sidecar)] == ["first", "second"]
        clock.advance(ms=19_999)
        await sidecar.chat()
        assert asked(sidecar) == [("second", "ok")], "no attempt is spent on it"
        clock.advance(ms=1)
        await sidecar.chat()
        assert asked(sidecar) == [("first", "ok")]


async def test_where_nobody_else_is_left_callers_are_told_how_long() -> None:
    clock = FakeClock()
    async with (
        raw_provider(in_turn(patience(20), serving)) as raw,
        running_sidecar(alone(raw), clock=clock.clock) as sidecar,
    ):
        first = await sidecar.chat()
        assert (first.status, first.headers["retry-after"]) == (429, "20"), "the provider's own words"
        clock.advance(ms=12_500)
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] == "8"
        assert "x-should-retry" not in answer.headers
        assert "only: it asked for patience, for 8s more" in answer.text
        record = sidecar.records.last
        assert (record.ending, record.attempts) == (Ending.REFUSED, ())
        assert len(raw.calls) == 1


async def test_it_is_no_fault_of_its_breaker() -> None:
    clock = FakeClock()
    async with (
        raw_provider(patience(1)) as raw,
        running_sidecar(alone(raw), clock=clock.clock) as sidecar,
    ):
        for _ in range(10):
            await sidecar.chat()
            clock.advance(ms=1_000)
        assert len(raw.calls) == 10


@pytest.mark.parametrize(
    ("error", "is_whole"), [(None, False), (OF_ACCOUNT, True)], ids=["a model", "the account"]
)
@pytest.mark.parametrize("keys", [(), (OUR_KEY,)], ids=["without a key", "with a key"])
async def test_it_is_one_model_of_a_key_unless_the_provider_means_the_account(
    error: dict[str, Any] | None, keys: tuple[Any, ...], *, is_whole: bool
) -> None:
    async with (
        raw_provider(in_turn(patience(20, error), serving)) as raw,
        running_sidecar(
            alone(raw, credentials=keys), clock=FakeClock().clock, environment={"KEY": "sk-ours"}
        ) as sidecar,
    ):
        await sidecar.chat()
        assert (await sidecar.chat()).status == 429
        assert (await sidecar.chat("other")).status == (429 if is_whole else 200)
        assert len(raw.calls) == (1 if is_whole else 2)


async def test_it_is_left_alone_for_no_longer_than_an_open_breaker() -> None:
    clock = FakeClock()
    async with (
        raw_provider(in_turn(patience(86_400), serving)) as raw,
        running_sidecar(alone(raw), clock=clock.clock) as sidecar,
    ):
        await sidecar.chat()
        clock.advance(ms=BREAKER.max_open_for_ms - 1)
        assert (await sidecar.chat()).status == 429
        clock.advance(ms=1)
        assert (await sidecar.chat()).status == 200


@pytest.mark.parametrize("error", [None, OF_ACCOUNT], ids=["a model", "the account"])
async def test_a_callers_own_key_concerns_its_own_calls_alone(error: dict[str, Any] | None) -> None:
    async with (
        raw_provider(in_turn(patience(20, error), serving)) as raw,
        running_sidecar(alone(raw, caller_credential=True), clock=FakeClock().clock) as sidecar,
    ):
        mine, yours = {"authorization": "Bearer mine"}, {"authorization": "Bearer yours"}
        assert (await sidecar.chat(headers=mine)).status == 429
        assert (await sidecar.chat(headers=yours)).status == 200
        answer = await sidecar.chat(headers=mine)
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        assert "mine" not in answer.text
        assert len(raw.calls) == 2


async def test_a_reload_forgets_no_patience() -> None:
    async with (
        raw_provider(in_turn(patience(20), serving)) as raw,
        running_sidecar(alone(raw), clock=FakeClock().clock) as sidecar,
    ):
        await sidecar.chat()
        await sidecar.reload(alone(raw, weight=7))
        assert (await sidecar.chat()).status == 429
        assert await cooling(sidecar) == 1


async def cooling(sidecar: Sidecar) -> float:
    return await sidecar.metric("tidegate_cooldowns")


class TestARefusalOfOurs:
    """It says whether the same call may succeed later: SDKs retry by themselves unless they are told not to."""

    async def test_is_final_where_no_provider_has_a_key(self) -> None:
        async with raw_provider() as raw, running_sidecar(alone(raw, credentials=(OUR_KEY,))) as sidecar:
            answer = await sidecar.chat()
            assert (answer.status, answer.code) == (503, "provider_unavailable")
            assert answer.headers["x-should-retry"] == "false"
            assert "retry-after" not in answer.headers

    async def test_is_not_where_another_provider_comes_back(self) -> None:
        async with raw_provider(answering(401)) as first, raw_provider(answering(500)) as second:
            cfg = config(
                pool(
                    provider("first", first.url, credentials=(OUR_KEY,)),
                    provider("second", second.url, priority=1),
                    breaker=replace(BREAKER, consecutive_failures=1),
                    retry=replace(RETRY, max_attempts=2),
                )
            )
            async with running_sidecar(
                cfg, environment={"KEY": "sk-ours"}, clock=FakeClock().clock
            ) as sidecar:
                await sidecar.chat()  # opens the breaker of the second
                answer = await sidecar.chat()
                assert asked(sidecar) == [("first", "KeyRefused")]
                assert (answer.status, answer.code) == (503, "provider_unavailable")
                assert answer.headers["retry-after"] == "60"
                assert "x-should-retry" not in answer.headers
