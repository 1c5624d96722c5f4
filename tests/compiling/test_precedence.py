"""Settings with one value: the closest policy decides, among equals the older, and losers are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_operator.compile.compiler import explain
from tidegate_policy.model import ConsumerIdentity, Mode, ObjectRef, OnMissing, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation
    from tidegate_policy.model import CompiledConfig

    Compile = Callable[[str], Compilation]
    Said = Callable[[Compilation], list[str]]

BASE = """
{kind: Workload, id: team-a/Deployment/chat, labels: {app: chat}, account: chat}
---
kind: ProviderPool
metadata: {name: pool, namespace: team-a}
spec:
  providers: [{name: a, type: OpenAI}]
  timeouts: {connect: 5s, request: 10m}
  policyMaximum: {timeouts: {request: 60m}, retry: {maxAttempts: 6}}
---
"""
TARGETS = {
    "workload": "targetRefs: [{kind: Deployment, name: chat}]",
    "account": "targetRefs: [{kind: ServiceAccount, name: chat}]",
    "selector": "selector: {matchLabels: {app: chat}}",
    "namespace": "targetRefs: [{kind: Namespace, name: team-a}]",
}


def policy(name: str, target: str, spec: str, created: str = "") -> str:
    """A policy attached at one level."""
    if target == "cluster":
        pools = "" if "poolRefs" in spec else "poolRefs: [{name: pool, namespace: team-a}], "
        head = f"kind: ClusterAIPolicy, metadata: {{name: {name}"
        spec = f"namespaceSelector: {{}}, {pools}{spec}"
    else:
        head = f"kind: AIPolicy, metadata: {{name: {name}, namespace: team-a"
        spec = f"{TARGETS[target]}, poolRefs: [{{name: pool}}], {spec}"
    created = f", creationTimestamp: '{created}'" if created else ""
    return f"{{{head}{created}}}, spec: {{{spec}}}}}\n---\n"


def config(compilation: Compilation) -> CompiledConfig:
    (found,) = compilation.configs.values()
    return found


def request_ms(compilation: Compilation) -> int:
    return config(compilation).pools[0].timeouts.request_ms


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ("workload", "account"),
        ("account", "selector"),
        ("selector", "namespace"),
        ("namespace", "cluster"),
        ("workload", "cluster"),
    ],
)
def test_the_closer_policy_decides_however_young_it_is(
    compiled: Compile, said: Said, near: str, far: str
) -> None:
    compilation = compiled(
        BASE
        + policy("zz", near, "timeouts: {request: 2m}", created="2026-02-02T00:00:00Z")
        + policy("aa", far, "timeouts: {request: 1m}", created="2026-01-01T00:00:00Z")
    )
    assert request_ms(compilation) == 120_000
    assert said(compilation) == [], "being overridden by a closer policy is how it is meant to be"


def test_among_equals_the_older_decides_and_the_other_is_told(compiled: Compile, said: Said) -> None:
    compilation = compiled(
        BASE
        + policy("aa", "workload", "timeouts: {request: 1m}", created="2026-02-02T00:00:00Z")
        + policy("zz", "workload", "timeouts: {request: 2m}", created="2026-01-01T00:00:00Z")
    )
    assert request_ms(compilation) == 120_000
    assert said(compilation) == [
        (
            "Error Conflicted: AIPolicy team-a/aa: spec.timeouts: AIPolicy team-a/zz says otherwise (request 2m) and "
            "decides, since it is older (for team-a/Deployment/chat)"
        )
    ]


def test_among_equals_of_the_same_age_the_name_decides(compiled: Compile, said: Said) -> None:
    compilation = compiled(
        BASE
        + policy("zz", "selector", "retry: {maxAttempts: 1}")
        + policy("aa", "selector", "retry: {maxAttempts: 2}")
    )
    assert config(compilation).pools[0].retry.max_attempts == 2
    assert said(compilation) == [
        (
            "Error Conflicted: AIPolicy team-a/zz: spec.retry: AIPolicy team-a/aa says otherwise (maxAttempts 2) and "
            "decides, since its namespace and name sort first (for team-a/Deployment/chat)"
        )
    ]


def test_an_object_without_age_counts_as_the_oldest(compiled: Compile) -> None:
    compilation = compiled(
        BASE
        + policy("aa", "workload", "timeouts: {request: 1m}", created="2026-01-01T00:00:00Z")
        + policy("zz", "workload", "timeouts: {request: 2m}")
    )
    assert request_ms(compilation) == 120_000


def test_equals_that_say_the_same_do_not_conflict(compiled: Compile, said: Said) -> None:
    same = "timeouts: {request: 1m}"
    compilation = compiled(BASE + policy("aa", "workload", same) + policy("zz", "workload", same))
    assert said(compilation) == []


def test_each_setting_is_decided_by_itself(compiled: Compile) -> None:
    compilation = compiled(
        BASE
        + policy("near", "workload", "retry: {maxAttempts: 5}")
        + policy("far", "namespace", "timeouts: {request: 2m}, retry: {maxAttempts: 1}")
    )
    pool = config(compilation).pools[0]
    assert (pool.retry.max_attempts, pool.timeouts.request_ms) == (5, 120_000)


def test_timeouts_are_one_setting_and_what_the_winner_leaves_out_is_the_pools(compiled: Compile) -> None:
    compilation = compiled(
        BASE
        + policy("near", "workload", "timeouts: {connect: 1s}")
        + policy("far", "namespace", "timeouts: {request: 2m}")
    )
    assert config(compilation).pools[0].timeouts == Timeouts(
        connect_ms=1_000, first_token_ms=120_000, stream_idle_ms=120_000, request_ms=600_000
    )


def test_a_setting_that_says_nothing_decides_nothing(compiled: Compile) -> None:
    compilation = compiled(
        BASE
        + policy("near", "workload", "timeouts: {}, retry: {}")
        + policy("far", "namespace", "timeouts: {request: 2m}, retry: {maxAttempts: 1}")
    )
    pool = config(compilation).pools[0]
    assert (pool.retry.max_attempts, pool.timeouts.request_ms) == (1, 120_000)


@pytest.mark.parametrize(
    ("spec", "request_timeout_ms", "told"),
    [
        ("timeouts: {request: 1m}", 60_000, []),
        ("timeouts: {request: 60m}", 3_600_000, []),
        (
            "timeouts: {request: 2h}",
            3_600_000,
            [
                (
                    "Warning NotEnforced: AIPolicy team-a/it: spec.timeouts.request: 2h is more than ProviderPool "
                    "team-a/pool lets policies set; there 1h holds"
                )
            ],
        ),
        (
            "timeouts: {connect: 6s}",
            600_000,
            [
                (
                    "Warning NotEnforced: AIPolicy team-a/it: spec.timeouts.connect: 6s is more than ProviderPool "
                    "team-a/pool lets policies set; there 5s holds"
                )
            ],
        ),
    ],
)
def test_a_policy_raises_a_timeout_only_as_far_as_the_pool_lets_it(
    compiled: Compile, said: Said, spec: str, request_timeout_ms: int, told: list[str]
) -> None:
    compilation = compiled(BASE + policy("it", "workload", spec))
    timeouts = config(compilation).pools[0].timeouts
    assert (timeouts.connect_ms, timeouts.request_ms) == (5_000, request_timeout_ms)
    assert said(compilation) == told


@pytest.mark.parametrize(
    ("maximum", "wanted", "stream_timeout_ms", "told"),
    [
        ("", "30m", 1_800_000, []),
        (
            "",
            "2h",
            3_600_000,
            [
                (
                    "Warning NotEnforced: AIPolicy team-a/it: spec.timeouts.stream: 2h is more than ProviderPool "
                    "team-a/pool lets policies set; there 1h holds"
                )
            ],
        ),
        (", stream: 4h", "2h", 7_200_000, []),
    ],
)
def test_how_long_streams_may_last_is_raised_only_as_far_as_the_pool_lets_it(
    compiled: Compile, said: Said, maximum: str, wanted: str, stream_timeout_ms: int, told: list[str]
) -> None:
    """It is apart from the time that a call may wait for an answer, which stays the pool's."""
    base = BASE.replace("request: 60m", f"request: 60m{maximum}")
    compilation = compiled(base + policy("it", "workload", f"timeouts: {{stream: {wanted}}}"))
    timeouts = config(compilation).pools[0].timeouts
    assert (timeouts.request_ms, timeouts.stream_ms) == (600_000, stream_timeout_ms)
    assert said(compilation) == told


@pytest.mark.parametrize(("wanted", "held"), [(1, 1), (6, 6), (7, 6)])
def test_a_policy_raises_attempts_only_as_far_as_the_pool_lets_it(
    compiled: Compile, said: Said, wanted: int, held: int
) -> None:
    compilation = compiled(BASE + policy("it", "workload", f"retry: {{maxAttempts: {wanted}}}"))
    assert config(compilation).pools[0].retry.max_attempts == held
    assert bool(said(compilation)) is (wanted > held)


def identity(header: str, on_missing: str = "Deny") -> str:
    return f"identity: {{consumer: {{source: Header, header: {{name: {header}, onMissing: {on_missing}}}}}}}"


def test_the_consumer_comes_from_the_closest_policy(compiled: Compile) -> None:
    compilation = compiled(
        BASE
        + policy("near", "workload", f"mode: Shadow, {identity('X-User', 'Anonymous')}")
        + policy("far", "namespace", identity("x-team"))
    )
    assert config(compilation).consumer == ConsumerIdentity(
        source=ObjectRef(kind="AIPolicy", namespace="team-a", name="near"),
        mode=Mode.SHADOW,
        header="x-user",
        on_missing=OnMissing.ANONYMOUS,
    )


def test_the_platforms_identity_is_not_overridable(compiled: Compile, said: Said) -> None:
    """Otherwise a team could name any consumer and escape the platform's limits by consumer."""
    compilation = compiled(
        BASE + policy("near", "workload", identity("x-own")) + policy("floor", "cluster", identity("x-user"))
    )
    consumer = config(compilation).consumer
    assert consumer is not None
    assert (consumer.header, consumer.source.name) == ("x-user", "floor")
    assert said(compilation) == [
        (
            "Warning Overridden: AIPolicy team-a/near: spec.identity: ClusterAIPolicy floor says otherwise (consumer from "
            "header x-user, Deny when it is missing (Enforce)) and decides, since what the platform says here is not "
            "overridable (for team-a/Deployment/chat)"
        )
    ]


def test_pools_come_from_the_closest_policy_alone(compiled: Compile, said: Said) -> None:
    other = (
        "{kind: ProviderPool, metadata: {name: other, namespace: team-a}, "
        "spec: {providers: [{name: a, type: OpenAI}]}}\n---\n"
    )
    floor = policy("floor", "cluster", "poolRefs: [{name: other, namespace: team-a}]")
    compilation = compiled(BASE + other + policy("near", "workload", "mode: Enforce") + floor)
    assert [pool.source.name for pool in config(compilation).pools] == ["pool"]
    assert said(compilation) == []


def test_levels_and_not_only_policies_make_a_class(compiled: Compile) -> None:
    """The same two policies decide differently for two workloads, when they are attached differently."""
    text = (
        BASE
        + "{kind: Workload, id: team-a/Deployment/other, account: chat}\n---\n"
        + policy("aa", "account", "timeouts: {request: 1m}")
        + """
kind: AIPolicy
metadata: {name: zz, namespace: team-a}
spec:
  targetRefs: [{kind: Deployment, name: chat}, {kind: Namespace, name: team-a}]
  timeouts: {request: 2m}
"""
    )
    compilation = compiled(text)
    found = {
        workload.name: compilation.configs[key].pools[0].timeouts.request_ms
        for workload, key in compilation.workloads.items()
    }
    assert found == {"chat": 120_000, "other": 60_000}


def test_an_explanation_names_the_source_of_each_value_and_what_lost(compiled: Compile) -> None:
    compilation = compiled(
        BASE
        + policy("near", "workload", "timeouts: {request: 2m}, allowModels: ['gpt-*']")
        + policy(
            "far", "namespace", "timeouts: {request: 1m}, rateLimits: [{name: r, requests: 60, per: 1m}]"
        )
    )
    (workload,) = compilation.workloads
    explanation = explain(compilation, workload)
    assert [(ref.name, level.words) for ref, level in explanation.policies] == [
        ("near", "the workload"),
        ("far", "the namespace"),
    ]
    found = [
        (it.name, it.value, it.source.name if it.source else None, it.path) for it in explanation.settings
    ]
    assert found == [
        ("poolRefs", "team-a/pool", "near", ("spec", "poolRefs")),
        ("timeouts", "request 2m", "near", ("spec", "timeouts")),
        ("retry", "", None, ()),
        ("identity", "", None, ()),
        ("allowModels", "gpt-* (Enforce)", "near", ("spec", "allowModels")),
        ("rateLimits", "r: 60 per 1m, burst 60, by Workload (Enforce)", "far", ("spec", "rateLimits", 0)),
    ]
    (lost,) = explanation.settings[1].lost
    assert (lost.source.name, lost.value) == ("far", "request 1m")
    assert lost.why == "it is attached to the workload, this one to the namespace"
    assert explanation.config == config(compilation)
