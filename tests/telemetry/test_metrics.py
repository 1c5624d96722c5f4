"""Metrics: named, bounded, true."""

from __future__ import annotations

import random
import string

from prometheus_client.parser import text_string_to_metric_families
from tidegate_testing.clock import FakeClock
from tidegate_testing.configs import anthropic, config, consumer, limit, pool, provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_cli.simulator.server import Simulator
from tidegate_policy.model import KeyPart, KeyType, OnMissing


async def test_what_applications_make_up_makes_no_series(simulator: Simulator) -> None:
    """Neither models, consumers, headers, paths nor methods: series are bounded by the configuration."""
    chance = random.Random(0)  # noqa: S311 - the same names in each run

    def word() -> str:
        return "".join(chance.choices(string.ascii_letters, k=12))

    cfg = config(
        pool(
            provider("open", f"{simulator.provider_url('open')}/v1", models=()),
            anthropic("claude", f"{simulator.provider_url('claude')}/v1"),
        ),
        consumer=consumer(on_missing=OnMissing.ANONYMOUS),
        rate_limits=(
            limit(burst=10_000, key=(KeyPart(type=KeyType.CONSUMER), KeyPart(type=KeyType.MODEL))),
            limit("by-header", burst=10_000, key=(KeyPart(type=KeyType.HEADER, header="x-tenant"),)),
        ),
    )
    async with running_sidecar(cfg) as sidecar:

        async def anything() -> None:
            headers = {"x-user-id": word(), "x-tenant": word(), f"x-{word()}": word()}
            await sidecar.chat(word(), headers=headers)
            await sidecar.chat(word(), headers=headers, stream=True)
            await sidecar.messages(word(), headers=headers)
            await sidecar.send(b"{}", path=f"/{word()}", method=word().upper(), headers=headers)
            await sidecar.chat(headers={**headers, "x-simulate-status": "400"})

        await anything()
        known = set(await sidecar.metrics())
        for _ in range(20):
            await anything()
        metrics = await sidecar.metrics()
        assert set(metrics) == known
        assert sum('model="other"' in sample for sample in known) > 0


async def test_the_text_is_valid_and_each_metric_says_what_it_is(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")), rate_limits=(limit(),))
    async with running_sidecar(cfg) as sidecar:
        for streaming in (True, False, False):
            await sidecar.chat(stream=streaming)
        answer = await sidecar.admin("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    for name, family in families.items():
        assert name.startswith(("ai_", "tidegate_", "process_")), name
        assert len(family.documentation) > 10, name
        assert family.type in {"counter", "gauge", "histogram"}
    assert set(families) >= {
        "ai_requests",
        "ai_request_duration_seconds",
        "ai_time_to_first_token_seconds",
        "ai_tokens",
        "tidegate_usage_unreported",
        "tidegate_attempts",
        "tidegate_refusals",
        "tidegate_head_faults",
        "tidegate_cooldowns",
        "tidegate_upstream_connections",
        "tidegate_stale_connections",
        "tidegate_calls_in_flight",
        "tidegate_records_dropped",
        "tidegate_config_reloads",
        "tidegate_config_loaded_timestamp_seconds",
        "tidegate_config_refused",
        "tidegate_breaker_state",
        "tidegate_breaker_transitions",
        "tidegate_rate_limit_keys",
        "tidegate_config_info",
    }


async def test_calls_and_tokens_are_counted(simulator: Simulator) -> None:
    cfg = config(pool(provider("only", f"{simulator.url}/v1")), rate_limits=(limit(burst=2),))
    async with running_sidecar(cfg, clock=FakeClock().clock) as sidecar:
        for _ in range(3):
            await sidecar.chat(headers={"x-simulate-input-tokens": "10", "x-simulate-output-tokens": "4"})
        await sidecar.chat("nope")
        metrics = await sidecar.metrics()
        where = 'model="gpt-test",pool="team-a/main",provider="only"'
        assert metrics[f'ai_tokens_total{{direction="input",{where}}}'] == 20
        assert metrics[f'ai_tokens_total{{direction="output",{where}}}'] == 8
        served = f'ai_requests_total{{code="",ending="served",model="gpt-test",operation="Chat",{where[17:]},status="2xx"}}'
        assert metrics[served] == 2
        refused = [
            value
            for name, value in metrics.items()
            if name.startswith("ai_requests_total") and 'ending="refused"' in name
        ]
        assert refused == [1, 1]
        assert metrics['tidegate_rate_limit_keys{object="AIPolicy team-a/chat",rule="per-minute"}'] == 1


class TestTheAdminPort:
    async def test_serves_what_it_says_and_nothing_else(self, simulator: Simulator) -> None:
        async with running_sidecar(config(pool(provider("only", f"{simulator.url}/v1")))) as sidecar:
            for path in ("/healthz", "/readyz", "/metrics", "/config"):
                assert (await sidecar.admin(path)).status == 200
            for path in ("/", "/config/", "/openai/v1/chat/completions", "/debug"):
                answer = await sidecar.admin(path)
                assert answer.status == 404
                assert "/healthz" in answer.text
            async with sidecar.client.post(f"{sidecar.admin_url}/config", data=b"{}") as response:
                assert response.status == 405
            async with sidecar.client.head(f"{sidecar.admin_url}/readyz") as response:
                assert response.status == 200

    async def test_is_not_reached_by_the_applications_port(self, simulator: Simulator) -> None:
        async with running_sidecar(config(pool(provider("only", f"{simulator.url}/v1")))) as sidecar:
            for path in ("/healthz", "/config", "/metrics"):
                assert (await sidecar.send(b"", path=path, method="GET")).status == 404
