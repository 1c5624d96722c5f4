"""Applications give up for reasons of their own, and it is held against the provider only where it kept them waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, TIMEOUTS, config, model, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, RawProvider, delta, raw_provider
from tidegate_testing.scripts import asked, serving
from tidegate_testing.sidecar import Sidecar, running_sidecar
from tidegate_testing.wire import ask

from tidegate_policy.model import CompiledConfig
from tidegate_sidecar.policies.breakers import LEAST_WAIT_MS

SLOW_MS: Final = 2_000
MODELS: Final = (model("gpt-test"), model("other"))


def alone(only: RawProvider) -> CompiledConfig:
    """The first failure opens the breaker."""
    return config(
        pool(
            provider("only", only.url, models=MODELS),
            breaker=replace(BREAKER, consecutive_failures=1, slow_first_token_ms=SLOW_MS),
            timeouts=replace(TIMEOUTS, first_token_ms=600_000, request_ms=600_000),
        )
    )


async def is_open(sidecar: Sidecar, name: str = "only") -> bool:
    return (
        await sidecar.metric(
            f'tidegate_breaker_state{{model="gpt-test",pool="team-a/main",provider="{name}"}}'
        )
        == 2
    )


async def leave(
    sidecar: Sidecar, raw: RawProvider, clock: FakeClock, *, after_ms: int = 0, meanwhile: str = ""
) -> None:
    """One call that is given up before a byte of its answer, after a call for the model `meanwhile` was answered."""
    count = len(sidecar.records.all)
    async with await sidecar.connect() as app:
        await app.post(ask())
        call = await raw.next()
        if meanwhile:
            raw.script = serving
            await sidecar.chat(meanwhile)
            raw.script = None
        clock.advance(ms=after_ms)
        app.abort()
        await call.gone()
    await sidecar.records.wait(count + (2 if meanwhile else 1))


@pytest.mark.parametrize(
    ("after_ms", "meanwhile", "counts"),
    [
        (0, "gpt-test", False),
        (SLOW_MS, "gpt-test", False),
        (SLOW_MS + 1, "gpt-test", True),
        (LEAST_WAIT_MS, "", True),
        (LEAST_WAIT_MS, "other", True),
        (LEAST_WAIT_MS - 1, "", False),
        (SLOW_MS + 1, "", True),
    ],
)
async def test_leaving_counts_when_it_took_too_long_or_nothing_else_was_answered(
    after_ms: int, meanwhile: str, *, counts: bool
) -> None:
    clock = FakeClock()
    async with raw_provider() as raw, running_sidecar(alone(raw), clock=clock.clock) as sidecar:
        await leave(sidecar, raw, clock, after_ms=after_ms, meanwhile=meanwhile)
        assert await is_open(sidecar) is counts


async def test_an_application_that_ends_with_all_its_calls_leaves_the_provider_to_others() -> None:
    """A pod that is stopped, or a person who types on: many calls are given up at once, each quickly."""
    clock = FakeClock()
    async with raw_provider() as raw, running_sidecar(alone(raw), clock=clock.clock) as sidecar:
        apps = [await sidecar.connect() for _ in range(8)]
        for app in apps:
            await app.post(ask())
        calls = [await raw.next() for _ in apps]
        for app in apps:
            app.abort()
        for call in calls:
            await call.gone()
        await sidecar.records.wait(len(apps))
        raw.script = serving
        assert (await sidecar.chat()).json == COMPLETION


@pytest.mark.parametrize("said", ["head", "event"])
async def test_leaving_an_answer_that_has_begun_never_counts(said: str) -> None:
    clock = FakeClock()
    async with raw_provider() as raw, running_sidecar(alone(raw), clock=clock.clock) as sidecar:
        async with await sidecar.connect() as app:
            await app.post(ask(stream=True))
            call = await raw.next()
            await call.begin_stream()
            if said == "event":
                await call.event(delta("hel"))
                await app.read_until(delta("hel"))
            else:
                await sidecar_has_read(sidecar, call)
            clock.advance(ms=SLOW_MS + 1)
            app.abort()
            await call.gone()
        await sidecar.records.wait(1)
        assert not await is_open(sidecar)
        assert sidecar.records.last.attempts[0].result == "Cancelled"


async def sidecar_has_read(sidecar: Sidecar, call: ProviderCall) -> None:
    """What the provider wrote so far, since the turns that another request takes are more than that takes."""
    assert call.is_open
    assert (await sidecar.admin("/healthz")).status == 200


async def test_impatient_applications_are_led_to_another_provider() -> None:
    clock = FakeClock()
    async with (
        raw_provider() as hanging,
        raw_provider(serving) as second,
        running_sidecar(
            config(
                pool(
                    provider("first", hanging.url),
                    provider("second", second.url, priority=1),
                    breaker=replace(BREAKER, consecutive_failures=2, slow_first_token_ms=SLOW_MS),
                )
            ),
            clock=clock.clock,
        ) as sidecar,
    ):
        for _ in range(2):
            await leave(sidecar, hanging, clock, after_ms=SLOW_MS + 1)
        assert (await sidecar.chat()).json == COMPLETION
        assert asked(sidecar) == [("second", "ok")]


@pytest.mark.parametrize(("after_ms", "counts"), [(0, False), (SLOW_MS + 1, True)])
async def test_leaving_a_probe_counts_only_when_it_took_too_long(after_ms: int, *, counts: bool) -> None:
    """Nobody else is let through meanwhile, so that nothing was answered says nothing."""
    clock = FakeClock()
    async with raw_provider() as raw, running_sidecar(alone(raw), clock=clock.clock) as sidecar:
        await leave(sidecar, raw, clock, after_ms=SLOW_MS + 1)
        assert await is_open(sidecar)
        clock.advance(ms=BREAKER.open_for_ms)
        await leave(sidecar, raw, clock, after_ms=after_ms)
        raw.script = serving
        assert (await sidecar.chat()).status == (503 if counts else 200)
