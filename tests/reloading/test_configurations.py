"""A configuration is taken whole or not at all; what was counted goes on."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import BREAKER, POLICY, allow, config, limit, model, pool, provider
from tidegate_testing.provider import DONE, delta, raw_provider
from tidegate_testing.sidecar import IDENTITY, Sidecar, running_sidecar
from tidegate_testing.wire import ask

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import CompiledConfig, KeyPart, KeyType, Mode, WorkloadIdentity

OPEN = 2


def one(simulator: Simulator, *, name: str = "only", url: str = "", **changes: object) -> CompiledConfig:
    return config(pool(provider(name, url or f"{simulator.provider_url(name)}/v1")), **changes)


async def statuses(sidecar: Sidecar, calls: int, **headers: str) -> list[int]:
    return [(await sidecar.chat(headers=headers)).status for _ in range(calls)]


class TestTheFirstConfiguration:
    async def test_is_waited_for(self, simulator: Simulator) -> None:
        async with running_sidecar() as sidecar:
            assert (await sidecar.chat()).code == "config_pending"
            assert (await sidecar.admin("/readyz")).status == 503
            health = await sidecar.admin("/healthz")
            assert (health.status, health.json["config"]["state"]) == (200, "pending")
            assert (await sidecar.admin("/config")).status == 503
            assert await sidecar.metric("tidegate_config_loaded_timestamp_seconds") == 0

            await sidecar.reload(one(simulator))
            assert (await sidecar.chat()).status == 200
            assert (await sidecar.admin("/readyz")).status == 200
            assert (await sidecar.admin("/healthz")).json["config"]["state"] == "applied"
            assert await sidecar.metric("tidegate_config_loaded_timestamp_seconds") > 1.7e9

    async def test_is_told_at_once_to_a_probe_that_waits(self, simulator: Simulator) -> None:
        """A probe that comes too early would be the last one for seconds."""
        async with running_sidecar() as sidecar, asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(sidecar.admin("/readyz?wait=10s"))
            assert (await sidecar.admin("/readyz?wait=1ms")).status == 503
            assert (await sidecar.admin("/readyz?wait=soon")).status == 400
            assert not probe.done()
            await sidecar.reload(one(simulator))
            async with asyncio.timeout(5):
                assert (await probe).status == 200

    async def test_that_is_refused_is_told_to_callers(self) -> None:
        async with running_sidecar() as sidecar:
            sidecar.source.refuse("config.json: pools: missing")
            await sidecar.source.taken()
            answer = await sidecar.chat()
            assert answer.code == "config_pending"
            assert "config.json: pools: missing" in answer.text
            assert (await sidecar.admin("/readyz")).status == 503


class TestAConfigurationThatIsRefused:
    async def test_leaves_the_former_one_in_force_and_says_so(
        self, simulator: Simulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with running_sidecar(one(simulator)) as sidecar:
            digest = (await sidecar.admin("/healthz")).json["config"]["digest"]
            sidecar.source.refuse("policy.yaml:7: spec.mode: expected Enforce or Shadow")
            await sidecar.source.taken()
            assert (await sidecar.chat()).status == 200
            health = (await sidecar.admin("/healthz")).json["config"]
            assert health == {
                "state": "refused",
                "digest": digest,
                "problem": "policy.yaml:7: spec.mode: expected Enforce or Shadow",
            }
            assert (await sidecar.admin("/readyz")).status == 200, "it serves, by the former one"
            assert await sidecar.metric("tidegate_config_refused") == 1
            assert await sidecar.metric('tidegate_config_reloads_total{result="refused"}') == 1

            await sidecar.reload(one(simulator, allow_models=(allow("*"),)))
            assert (await sidecar.admin("/healthz")).json["config"]["problem"] is None
            assert await sidecar.metric("tidegate_config_refused") == 0
        errors = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert "policy.yaml:7" in errors[0]

    async def test_is_one_that_cannot_be_built_too(self, simulator: Simulator) -> None:
        async with running_sidecar(
            one(simulator, rate_limits=(limit(burst=5),)), clock=FakeClock().clock
        ) as sidecar:
            assert await statuses(sidecar, 4) == [200] * 4
            await sidecar.reload(one(simulator, rate_limits=(limit(burst=5), limit("bad", burst=0))))
            assert "cannot be built" in (await sidecar.admin("/healthz")).json["config"]["problem"]
            assert await statuses(sidecar, 2) == [200, 429]


class TestWhatWasCountedGoesOn:
    async def test_by_a_limit_of_the_same_object_and_name(self, simulator: Simulator) -> None:
        async with running_sidecar(
            one(simulator, rate_limits=(limit(burst=5),)), clock=FakeClock().clock
        ) as sidecar:
            assert await statuses(sidecar, 5) == [200] * 5
            await sidecar.reload(one(simulator, rate_limits=(limit(burst=5),), allow_models=(allow("*"),)))
            assert await statuses(sidecar, 1) == [429]
            await sidecar.reload(one(simulator, rate_limits=(limit(burst=7),)))
            assert await statuses(sidecar, 3) == [200, 200, 429]

    async def test_by_a_shadow_that_becomes_real(self, simulator: Simulator) -> None:
        shadow = limit(burst=3, mode=Mode.SHADOW)
        async with running_sidecar(one(simulator, rate_limits=(shadow,)), clock=FakeClock().clock) as sidecar:
            assert await statuses(sidecar, 5) == [200] * 5
            await sidecar.reload(one(simulator, rate_limits=(limit(burst=3),)))
            assert await statuses(sidecar, 1) == [429]

    @pytest.mark.parametrize(
        "other",
        [
            limit("another-name", burst=2),
            limit(burst=2, source=replace(POLICY, name="another")),
            limit(burst=2, key=(KeyPart(type=KeyType.CONSUMER),)),
        ],
        ids=["name", "object", "key"],
    )
    async def test_but_not_by_another_limit(self, simulator: Simulator, other: object) -> None:
        async with running_sidecar(
            one(simulator, rate_limits=(limit(burst=2),)), clock=FakeClock().clock
        ) as sidecar:
            assert await statuses(sidecar, 3) == [200, 200, 429]
            await sidecar.reload(one(simulator, rate_limits=(other,)))
            assert await statuses(sidecar, 3) == [200, 200, 429]

    async def test_but_not_for_another_workload(self, simulator: Simulator) -> None:
        cfg = one(simulator, rate_limits=(limit(burst=1),))
        async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
            assert await statuses(sidecar, 2) == [200, 429]
            other = replace(IDENTITY, workload_name="other")
            assert isinstance(other, WorkloadIdentity)
            sidecar.source.push(cfg, other)
            await sidecar.source.taken()
            assert await statuses(sidecar, 2) == [200, 429]

    async def test_by_the_breaker_of_the_same_provider(self, simulator: Simulator) -> None:
        simulator.set_behaviour("only", Behaviour(status=500))
        sample = 'tidegate_breaker_state{model="gpt-test",pool="team-a/main",provider="only"}'
        async with running_sidecar(one(simulator), clock=FakeClock().clock) as sidecar:
            await statuses(sidecar, 2)
            assert await sidecar.metric(sample) == OPEN
            await sidecar.reload(one(simulator, allow_models=(allow("*"),)))
            assert await sidecar.metric(sample) == OPEN
            assert await statuses(sidecar, 1) == [503]
            await sidecar.reload(one(simulator, url=f"{simulator.provider_url('elsewhere')}/v1"))
            assert await sidecar.metric(sample) == 0, "another address is another provider"
            assert await statuses(sidecar, 1) == [200]

    async def test_with_the_new_numbers_of_a_breaker(self, simulator: Simulator) -> None:
        clock = FakeClock()
        simulator.set_behaviour("only", Behaviour(status=500))
        async with running_sidecar(one(simulator), clock=clock.clock) as sidecar:
            await statuses(sidecar, 2)
            shorter = replace(BREAKER, open_for_ms=1_000, max_open_for_ms=2_000)
            await sidecar.reload(
                replace(one(simulator), pools=(replace(one(simulator).pools[0], breaker=shorter),))
            )
            clock.advance(ms=2_000)
            simulator.reset_behaviour()
            assert await statuses(sidecar, 1) == [200]


class TestACallInFlight:
    async def test_keeps_the_configuration_it_started_with(self, simulator: Simulator) -> None:
        async with raw_provider() as raw:
            former = config(pool(provider("former", raw.url)), rate_limits=(limit(burst=9),))
            async with running_sidecar(former) as sidecar, await sidecar.connect() as app:
                before = sidecar.pipeline
                await app.post(ask(stream=True))
                call = await raw.next()
                await call.begin_stream()
                await call.event(delta("first"))
                await app.read_until(delta("first"))

                await sidecar.reload(one(simulator, name="next", rate_limits=(limit(burst=9),)))
                assert (await sidecar.chat()).headers["x-tidegate-provider"] == "next"
                assert [rule.outstanding for rule in before.rules] == [1]

                await call.event(delta("", "stop") + DONE)
                await call.end_stream()
                await app.read_until(b"\r\n0\r\n\r\n")
                await sidecar.records.wait(2)
                record = sidecar.records.last
                assert (record.provider, record.ending) == ("former", "served")
                assert record.config == before.digest[:12] != sidecar.pipeline.digest[:12]
                assert [rule.outstanding for rule in before.rules] == [0]

    async def test_that_is_refused_meanwhile_is_not_cut(self) -> None:
        """Neither a model that is taken away nor a pool that is suspended ends a stream that was admitted."""
        async with raw_provider() as raw:
            former = config(pool(provider("former", raw.url)))
            async with running_sidecar(former) as sidecar, asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(sidecar.chat(stream=True))
                call = await raw.next()
                suspended = replace(former.pools[0], suspended=True)
                await sidecar.reload(config(suspended, allow_models=(allow("nothing"),)))
                await call.begin_stream()
                await call.event(delta("x", "stop") + DONE)
                await call.end_stream()
                assert (await asking).status == 200
                assert (await sidecar.chat()).status == 403


async def test_models_come_and_go_without_a_restart(simulator: Simulator) -> None:
    def having(*names: str) -> CompiledConfig:
        models = tuple(model(name) for name in names)
        return config(pool(provider("only", f"{simulator.url}/v1", models=models)))

    async with running_sidecar(having("a")) as sidecar:
        assert [(await sidecar.chat(name)).status for name in ("a", "b")] == [200, 404]
        await sidecar.reload(having("b"))
        assert [(await sidecar.chat(name)).status for name in ("a", "b")] == [404, 200]
        assert (await sidecar.admin("/config")).json["digest"] == sidecar.pipeline.digest


async def test_calls_go_on_while_configurations_change(simulator: Simulator) -> None:
    configs = [one(simulator, rate_limits=(limit(burst=1_000, requests=1_000 + n),)) for n in range(20)]
    async with running_sidecar(configs[0]) as sidecar, asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(sidecar.chat(stream=n % 2 == 0)) for n in range(60)]
        for cfg in configs:
            await sidecar.reload(cfg)
            await asyncio.sleep(0)
        assert {(await task).status for task in asking} == {200}
