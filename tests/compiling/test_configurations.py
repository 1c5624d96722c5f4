"""A valid set of objects as the whole configuration that a sidecar gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_policy.model import (
    Breaker,
    CompiledConfig,
    ConsumerIdentity,
    CredentialRef,
    Header,
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation

    Compile = Callable[[str], Compilation]
    Said = Callable[[Compilation], list[str]]

MANIFESTS = """
kind: ProviderPool
metadata: {name: chat, namespace: ai-platform}
spec:
  allowedNamespaces: {from: All}
  providers:
  - name: openai
    type: OpenAI
    headers: {OpenAI-Project: p, OpenAI-Organization: org-1}
    authentication: {type: Credentials, credentialRefs: [{name: openai-prod}]}
    weight: 3
    models:
    - {name: gpt-4o-mini, upstreamName: gpt-4o-mini-2024-07-18, aliases: [small, mini]}
    - {name: gpt-4o}
  - {name: local, type: OpenAICompatible, baseURL: "https://llm.example.com/v1/", authentication: {type: Caller}, priority: 1}
---
kind: ProviderCredential
metadata: {name: openai-prod, namespace: ai-platform}
spec: {source: {type: Environment, environment: {variable: OPENAI_API_KEY}}}
---
kind: AIPolicy
metadata: {name: chat, namespace: team-a}
spec:
  targetRefs: [{kind: Deployment, name: chat}]
  mode: Shadow
  poolRefs: [{name: chat, namespace: ai-platform}]
  allowModels: ["o*", "gpt-4o*"]
  rateLimits:
  - {name: per-user, mode: Enforce, requests: 60, per: 1m, burst: 10, key: [{type: Model}, {type: Consumer}]}
  - {name: all, requests: 1000, per: 1h, models: ["o*", "gpt-*"]}
  identity: {consumer: {source: Header, header: {name: X-User-Id}}}
  timeouts: {request: 5m, stream: 30m}
  retry: {maxAttempts: 2}
---
kind: ClusterAIPolicy
metadata: {name: floor}
spec:
  namespaceSelector: {}
  allowModels: ["gpt-*"]
  rateLimits:
  - {name: all, requests: 5000, per: 1h, key: [{type: Header, header: {name: X-Tenant}}, {type: Namespace}]}
"""


def test_the_whole_configuration(compiled: Compile, said: Said) -> None:
    compilation = compiled(MANIFESTS)
    assert said(compilation) == []
    (config,) = compilation.configs.values()
    policy = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")
    floor = ObjectRef(kind="ClusterAIPolicy", namespace="", name="floor")
    assert config == CompiledConfig(
        sources=(policy, floor),
        pools=(
            Pool(
                source=ObjectRef(kind="ProviderPool", namespace="ai-platform", name="chat"),
                providers=(
                    Provider(
                        name="local",
                        type=ProviderType.OPENAI_COMPATIBLE,
                        base_url="https://llm.example.com/v1",
                        caller_credential=True,
                        priority=1,
                        public_only=True,
                    ),
                    Provider(
                        name="openai",
                        type=ProviderType.OPENAI,
                        base_url="https://api.openai.com/v1",
                        headers=(
                            Header(name="openai-organization", value="org-1"),
                            Header(name="openai-project", value="p"),
                        ),
                        credentials=(
                            CredentialRef(
                                source=ObjectRef(
                                    kind="ProviderCredential", namespace="ai-platform", name="openai-prod"
                                ),
                                environment_variable="OPENAI_API_KEY",
                            ),
                        ),
                        weight=3,
                        models=(
                            Model(name="gpt-4o", upstream_name="gpt-4o"),
                            Model(
                                name="gpt-4o-mini",
                                upstream_name="gpt-4o-mini-2024-07-18",
                                aliases=("mini", "small"),
                            ),
                        ),
                        public_only=True,
                    ),
                ),
                breaker=Breaker(
                    consecutive_failures=5,
                    failure_rate_percent=50,
                    slow_call_percent=80,
                    slow_first_token_ms=30_000,
                    minimum_requests=20,
                    window_ms=10_000,
                    open_for_ms=60_000,
                    max_open_for_ms=300_000,
                ),
                retry=Retry(
                    max_attempts=2,
                    retry_on=(
                        RetryOn.CONNECT_FAILURE,
                        RetryOn.OVERLOADED,
                        RetryOn.RATE_LIMITED,
                        RetryOn.SERVER_ERROR,
                        RetryOn.TIMEOUT,
                    ),
                    backoff_base_ms=1_000,
                    backoff_max_ms=60_000,
                    budget_percent=20,
                ),
                timeouts=Timeouts(
                    connect_ms=5_000,
                    first_token_ms=120_000,
                    stream_idle_ms=120_000,
                    request_ms=300_000,
                    stream_ms=1_800_000,
                ),
            ),
        ),
        allow_models=(
            ModelAllowList(source=policy, mode=Mode.SHADOW, patterns=("gpt-4o*", "o*")),
            ModelAllowList(source=floor, mode=Mode.ENFORCE, patterns=("gpt-*",)),
        ),
        rate_limits=(
            RateLimit(
                name="all",
                source=policy,
                mode=Mode.SHADOW,
                requests=1000,
                per_ms=3_600_000,
                burst=1000,
                key=(KeyPart(type=KeyType.WORKLOAD),),
                models=("gpt-*", "o*"),
            ),
            RateLimit(
                name="per-user",
                source=policy,
                mode=Mode.ENFORCE,
                requests=60,
                per_ms=60_000,
                burst=10,
                key=(KeyPart(type=KeyType.CONSUMER), KeyPart(type=KeyType.MODEL)),
            ),
            RateLimit(
                name="all",
                source=floor,
                mode=Mode.ENFORCE,
                requests=5000,
                per_ms=3_600_000,
                burst=5000,
                key=(KeyPart(type=KeyType.HEADER, header="x-tenant"), KeyPart(type=KeyType.NAMESPACE)),
            ),
        ),
        consumer=ConsumerIdentity(
            source=policy, mode=Mode.SHADOW, header="x-user-id", on_missing=OnMissing.DENY
        ),
    )


def test_a_suspended_pool_stays_in_the_configuration_as_such(compiled: Compile, said: Said) -> None:
    """So that the sidecar can answer `suspended` for its models, and use the other pools for theirs."""
    compilation = compiled(MANIFESTS.replace("allowedNamespaces", "suspend: true\n  allowedNamespaces"))
    (config,) = compilation.configs.values()
    assert config.pools[0].suspended
    assert config.denials == ()
    assert said(compilation) == [
        (
            "Warning RefSuspended: AIPolicy team-a/chat: spec.poolRefs[0]: "
            "ProviderPool ai-platform/chat is suspended: calls through it are refused"
        ),
        "Warning Suspended: ProviderPool ai-platform/chat: spec.suspend: the kill switch is on: calls are refused",
    ]


@pytest.mark.parametrize(
    ("provider", "base_url"),
    [
        ("{name: a, type: OpenAI}", "https://api.openai.com/v1"),
        ("{name: a, type: Anthropic}", "https://api.anthropic.com/v1"),
        (
            "{name: a, type: Anthropic, baseURL: 'https://proxy.example.com/anthropic/v1//'}",
            "https://proxy.example.com/anthropic/v1",
        ),
    ],
)
def test_base_urls_end_without_a_slash(compiled: Compile, provider: str, base_url: str) -> None:
    compilation = compiled(
        f"{{kind: ProviderPool, metadata: {{name: p}}, spec: {{providers: [{provider}]}}}}\n---\n"
        "{kind: AIPolicy, metadata: {name: p}, spec: {selector: {}, poolRefs: [{name: p}]}}"
    )
    (config,) = compilation.configs.values()
    assert config.pools[0].providers[0].base_url == base_url


def test_one_header_in_two_spellings_is_one_part_of_a_key(compiled: Compile) -> None:
    key = "[{type: Header, header: {name: X-A}}, {type: Header, header: {name: x-a}}]"
    compilation = compiled(
        "{kind: AIPolicy, metadata: {name: p}, spec: {selector: {}, "
        f"rateLimits: [{{name: r, requests: 1, per: 1s, key: {key}}}]}}}}"
    )
    (config,) = compilation.configs.values()
    assert config.rate_limits[0].key == (KeyPart(type=KeyType.HEADER, header="x-a"),)
