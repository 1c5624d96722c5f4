"""Who is asked next is planned over all that is known of everybody: nobody who is out keeps a call from those who are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, RETRY, config, pool, provider
from tidegate_testing.provider import ProviderCall, RawProvider, Script, raw_provider
from tidegate_testing.scripts import OUR_KEY, answering, asked, in_turn, serving
from tidegate_testing.sidecar import Sidecar, running_sidecar

from tidegate_policy.model import Provider

RETRIES = 1
"""What of a retry budget's window counts attempts that ask again."""


def retries(sidecar: Sidecar, clock: FakeClock) -> int:
    """How many attempts the retry budget was charged for."""
    return sidecar.pipeline.pools[0].retry_budget._window.totals(clock.now_ns)[RETRIES]


@pytest.mark.parametrize("priority", [0, 1, 2], ids=["before", "beside", "behind"])
async def test_one_who_has_no_key_keeps_nobody_from_a_retry(priority: int) -> None:
    clock = FakeClock()
    async with raw_provider(in_turn(answering(503), serving)) as raw:
        backup = provider("backup", raw.url, priority=priority, credentials=(OUR_KEY,))
        cfg = config(pool(provider("first", raw.url, priority=1), backup))
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            assert (await sidecar.chat()).status == 200
            assert asked(sidecar) == [("first", "Overloaded"), ("first", "ok")]
            assert retries(sidecar, clock) == 1


async def cool(sidecar: Sidecar, backup: RawProvider) -> None:
    backup.script = answering(429, headers={"retry-after": "60"})
    await sidecar.chat()


async def break_it(sidecar: Sidecar, backup: RawProvider) -> None:
    backup.script = answering(500)
    await sidecar.chat()


@pytest.mark.parametrize("put_out", [cool, break_it])
async def test_nor_does_one_who_is_left_alone(put_out: object) -> None:
    clock = FakeClock()
    async with raw_provider(answering(429)) as first, raw_provider() as backup:
        cfg = config(
            pool(
                provider("first", first.url),
                provider("backup", backup.url, priority=1),
                breaker=replace(BREAKER, consecutive_failures=1),
                retry=replace(RETRY, max_attempts=2),
            )
        )
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            await put_out(sidecar, backup)  # type: ignore[operator] # one of the two above
            assert [name for name, _ in asked(sidecar)] == ["first", "backup"]
            first.script = in_turn(answering(429), serving)
            assert (await sidecar.chat()).status == 200
            assert asked(sidecar) == [("first", "RateLimited"), ("first", "ok")]
            assert retries(sidecar, clock) == 1


async def test_one_who_refused_our_key_is_not_asked_again() -> None:
    async with (
        raw_provider(answering(401)) as first,
        raw_provider(in_turn(answering(503), serving)) as second,
        running_sidecar(
            config(
                pool(
                    provider("first", first.url, credentials=(OUR_KEY,)),
                    provider("second", second.url, priority=1),
                )
            ),
            environment={"KEY": "sk-ours"},
        ) as sidecar,
    ):
        assert (await sidecar.chat()).status == 200
        assert asked(sidecar) == [("first", "KeyRefused"), ("second", "Overloaded"), ("second", "ok")]


class TestNobodyPaysForAnAttemptThatIsNotMade:
    """The pauses here would outlast the test."""

    ENDLESS = replace(RETRY, backoff_base_ms=10**7, backoff_max_ms=10**7)

    async def gives_up_at_once(self, *providers: Provider, status: int) -> None:
        clock = FakeClock()
        cfg = config(pool(*providers, retry=self.ENDLESS, breaker=replace(BREAKER, consecutive_failures=1)))
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            assert (await sidecar.chat()).status == status
            assert len(asked(sidecar)) == 1
            assert retries(sidecar, clock) == 0

    async def test_when_the_only_breaker_has_opened(self) -> None:
        async with raw_provider(answering(503)) as raw:
            await self.gives_up_at_once(provider("only", raw.url), status=503)

    async def test_when_the_only_key_was_refused(self) -> None:
        async with raw_provider(answering(401)) as raw:
            await self.gives_up_at_once(provider("only", raw.url), status=401)

    async def test_when_patience_is_asked_for_beyond_the_deadline(self) -> None:
        async with raw_provider(answering(429, headers={"retry-after": "9000"})) as raw:
            await self.gives_up_at_once(provider("only", raw.url), status=429)

    async def test_when_the_other_one_is_out(self) -> None:
        async with raw_provider(answering(503)) as raw:
            backup = provider("backup", raw.url, priority=1, credentials=(OUR_KEY,))
            await self.gives_up_at_once(provider("only", raw.url), backup, status=503)


@pytest.mark.parametrize(
    "fail",
    [answering(429, headers={"retry-after-ms": "5"}), answering(503)],
    ids=["it asked for patience", "its breaker opened"],
)
async def test_who_was_waited_for_is_asked_also_if_the_timer_was_early(fail: Script) -> None:
    """The loop's clock and ours may differ by a little; that costs neither the attempt nor the budget a second time."""
    clock = FakeClock()  # it stands still while the call pauses
    async with raw_provider(in_turn(fail, serving)) as raw:
        cfg = config(
            pool(
                provider("only", raw.url),
                retry=replace(RETRY, backoff_max_ms=10),
                breaker=replace(BREAKER, consecutive_failures=1, open_for_ms=5, max_open_for_ms=5),
            )
        )
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            assert (await sidecar.chat()).status == 200
            assert [name for name, _ in asked(sidecar)] == ["only", "only"]
            assert retries(sidecar, clock) == 1


@pytest.mark.parametrize("status", [503, 429])
async def test_the_budget_bounds_retries_and_not_failovers(status: int) -> None:
    clock = FakeClock()

    async def fail(call: ProviderCall) -> None:
        await call.answer(b"{}", status=status)

    async with raw_provider(fail) as first, raw_provider(serving) as second:
        cfg = config(
            pool(
                provider("first", first.url),
                provider("second", second.url, priority=1),
                retry=replace(RETRY, budget_percent=0),
                breaker=replace(BREAKER, consecutive_failures=100, minimum_requests=100),
            )
        )
        async with running_sidecar(cfg, clock=clock.clock) as sidecar:
            for _ in range(5):
                assert (await sidecar.chat()).headers["x-tidegate-provider"] == "second"
            second.script = fail
            await sidecar.chat()
            assert [name for name, _ in asked(sidecar)] == ["first", "second"]
