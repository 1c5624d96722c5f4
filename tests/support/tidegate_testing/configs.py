"""Compiled configurations with the defaults of the API, for tests that are about something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tidegate_policy.model import (
    Breaker,
    CompiledConfig,
    ConsumerIdentity,
    KeyPart,
    KeyType,
    Mode,
    Model,
    ModelAllowList,
    ObjectRef,
    OnMissing,
    Pool,
    Provider,
    ProviderType,
    RateLimit,
    Retry,
    RetryOn,
    Timeouts,
)

POLICY = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")
POOL = ObjectRef(kind="ProviderPool", namespace="team-a", name="main")

BREAKER = Breaker(
    consecutive_failures=5,
    failure_rate_percent=50,
    slow_call_percent=80,
    slow_first_token_ms=30_000,
    minimum_requests=20,
    window_ms=10_000,
    open_for_ms=60_000,
    max_open_for_ms=300_000,
)
RETRY = Retry(
    max_attempts=3,
    retry_on=tuple(RetryOn),
    backoff_base_ms=1,
    backoff_max_ms=5,
    budget_percent=20,
)
TIMEOUTS = Timeouts(
    connect_ms=5_000, first_token_ms=10_000, stream_idle_ms=10_000, request_ms=20_000, stream_ms=20_000
)


def model(name: str, upstream_name: str = "", *aliases: str) -> Model:
    return Model(name=name, upstream_name=upstream_name or name, aliases=aliases)


def provider(name: str, base_url: str, **changes: Any) -> Provider:
    return replace(
        Provider(name=name, type=ProviderType.OPENAI, base_url=base_url, models=(model("gpt-test"),)),
        **changes,
    )


def anthropic(name: str, base_url: str, **changes: Any) -> Provider:
    return provider(
        name, base_url, **{"type": ProviderType.ANTHROPIC, "models": (model("claude-test"),), **changes}
    )


def pool(*providers: Provider, **changes: Any) -> Pool:
    return replace(
        Pool(source=POOL, providers=providers, breaker=BREAKER, retry=RETRY, timeouts=TIMEOUTS), **changes
    )


def limit(name: str = "per-minute", **changes: Any) -> RateLimit:
    return replace(
        RateLimit(
            name=name,
            source=POLICY,
            mode=Mode.ENFORCE,
            requests=60,
            per_ms=60_000,
            burst=1,
            key=(KeyPart(type=KeyType.WORKLOAD),),
        ),
        **changes,
    )


def allow(*patterns: str, mode: Mode = Mode.ENFORCE) -> ModelAllowList:
    return ModelAllowList(source=POLICY, mode=mode, patterns=patterns)


def consumer(header: str = "x-user-id", on_missing: OnMissing = OnMissing.DENY) -> ConsumerIdentity:
    return ConsumerIdentity(source=POLICY, mode=Mode.ENFORCE, header=header, on_missing=on_missing)


def config(*pools: Pool, **changes: Any) -> CompiledConfig:
    return replace(CompiledConfig(sources=(POLICY,), pools=pools), **changes)
