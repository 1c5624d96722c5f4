"""What is valid and yet not as meant is told: patterns without a model, pools without a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_operator.compile.checks import MAX_TOLD, SLICE_COMPARISONS
from tidegate_operator.compile.compiler import Compiler

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation
    from tidegate_operator.index.snapshot import Snapshot

    Compile = Callable[[str], Compilation]
    Said = Callable[[Compilation], list[str]]

FIRST = """
kind: ProviderPool
metadata: {name: first}
spec:
  providers:
  - {name: a, type: OpenAI, models: [{name: gpt-4o, aliases: [big]}, {name: gpt-4o-mini, aliases: [small]}]}
---
"""


def pool(name: str, *providers: str) -> str:
    listed = ", ".join(providers)
    return f"{{kind: ProviderPool, metadata: {{name: {name}}}, spec: {{providers: [{listed}]}}}}\n---\n"


def policy(spec: str, pools: str = "{name: first}", name: str = "it", target: str = "chat") -> str:
    return (
        f"{{kind: AIPolicy, metadata: {{name: {name}}}, spec: {{targetRefs: [{{kind: Deployment, name: {target}}}], "
        f"poolRefs: [{pools}], {spec}}}}}\n---\n"
    )


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("allowModels: ['gpt-4o*']", None),
        (
            "allowModels: ['gpt-4o', 'gpt-5*']",
            "spec.allowModels[1]: 'gpt-5*' matches no model of the pools in use; they have gpt-4o, gpt-4o-mini",
        ),
        (
            "allowModels: ['gpt-4o', small]",
            "spec.allowModels[1]: 'small' matches an alias alone; rules see a model's own name: gpt-4o-mini",
        ),
        (
            "rateLimits: [{name: r, requests: 1, per: 1m, models: ['gpt4*']}]",
            "spec.rateLimits[0].models[0]: 'gpt4*' matches no model of the pools in use; they have gpt-4o, gpt-4o-mini",
        ),
    ],
)
def test_a_pattern_that_matches_no_model_is_told(
    compiled: Compile, said: Said, spec: str, told: str | None
) -> None:
    expected = [f"Warning NotEnforced: AIPolicy default/it: {told}"] if told else []
    assert said(compiled(FIRST + policy(spec))) == expected


def test_a_provider_that_lists_no_models_may_have_any(compiled: Compile, said: Said) -> None:
    text = pool("open", "{name: a, type: OpenAI}") + policy("allowModels: ['gpt-9']", "{name: open}")
    assert said(compiled(text)) == []


def test_a_pattern_that_matches_for_some_workloads_is_not_told(compiled: Compile, said: Said) -> None:
    """A platform lists the models of all teams; each of them has some."""
    text = (
        FIRST
        + pool("second", "{name: a, type: OpenAI, models: [{name: o3}]}")
        + policy("mode: Enforce", "{name: first}", "one", "one")
        + policy("mode: Enforce", "{name: second}", "two", "two")
        + "{kind: ClusterAIPolicy, metadata: {name: floor}, spec: {namespaceSelector: {}, allowModels: [gpt-4o, o3, o4]}}"
    )
    assert said(compiled(text)) == [
        (
            "Warning NotEnforced: ClusterAIPolicy floor: spec.allowModels[2]: 'o4' matches no model of the pools in use; "
            "they have gpt-4o, gpt-4o-mini"
        )
    ]


def test_lists_that_allow_nothing_together_are_told(compiled: Compile, said: Said) -> None:
    text = (
        FIRST
        + policy("allowModels: [gpt-4o]")
        + "{kind: ClusterAIPolicy, metadata: {name: floor}, spec: {namespaceSelector: {}, allowModels: ['*mini']}}"
    )
    assert said(compiled(text)) == [
        (
            "Warning NotEnforced: AIPolicy default/it: spec.allowModels: together with ClusterAIPolicy floor no model of the "
            "pools is allowed: every call is refused (for default/Deployment/chat)"
        ),
        (
            "Warning NotEnforced: ClusterAIPolicy floor: spec.allowModels: together with AIPolicy default/it no model of the "
            "pools is allowed: every call is refused (for default/Deployment/chat)"
        ),
    ]


def test_a_list_in_shadow_forbids_nothing(compiled: Compile, said: Said) -> None:
    text = (
        FIRST
        + policy("mode: Shadow, allowModels: [gpt-4o]")
        + "{kind: ClusterAIPolicy, metadata: {name: floor}, spec: {namespaceSelector: {}, allowModels: ['*mini']}}"
    )
    assert said(compiled(text)) == []


def test_a_model_that_two_pools_have_is_told_with_the_one_that_serves_it(
    compiled: Compile, said: Said
) -> None:
    second = pool("second", "{name: a, type: OpenAI, models: [{name: gpt-4o}, {name: o3, aliases: [small]}]}")
    text = FIRST + second + policy("mode: Enforce", "{name: first}, {name: second}")
    assert said(compiled(text)) == [
        (
            "Warning Overridden: AIPolicy default/it: spec.poolRefs[1]: ProviderPool default/first stands before "
            "ProviderPool default/second and serves what both have: gpt-4o, small"
        )
    ]


def test_the_same_name_in_another_dialect_is_another_model(compiled: Compile, said: Said) -> None:
    second = pool("second", "{name: a, type: Anthropic, models: [{name: gpt-4o}]}")
    text = FIRST + second + policy("mode: Enforce", "{name: first}, {name: second}")
    assert said(compiled(text)) == []


def test_a_pool_behind_one_that_serves_any_model_is_told(compiled: Compile, said: Said) -> None:
    text = (
        pool("open", "{name: a, type: OpenAICompatible, baseURL: 'https://x.example/v1'}")
        + FIRST
        + policy("mode: Enforce", "{name: open}, {name: first}")
    )
    assert said(compiled(text)) == [
        (
            "Warning Overridden: AIPolicy default/it: spec.poolRefs[1]: ProviderPool default/open stands before "
            "ProviderPool default/first and serves any model of the OpenAI dialect, since one of its providers lists none: "
            "this pool serves none of them"
        )
    ]


def test_an_alias_that_another_provider_of_the_pool_uses_otherwise_is_told(
    compiled: Compile, said: Said
) -> None:
    text = pool(
        "first",
        "{name: a, type: OpenAI, models: [{name: gpt-4o, aliases: [big, o3]}]}",
        "{name: b, type: OpenAI, models: [{name: o3, aliases: [big]}]}",
    ) + policy("mode: Enforce")
    assert said(compiled(text)) == [
        (
            "Warning Overridden: ProviderPool default/first: spec.providers[0].models[0].aliases[1]: 'o3' means the model o3 "
            "of another provider of this pool; choose another alias"
        ),
        (
            "Warning Overridden: ProviderPool default/first: spec.providers[1].models[0].aliases[0]: 'big' means the model "
            "gpt-4o of another provider of this pool; choose another alias"
        ),
    ]


def test_a_limit_by_consumer_without_any_identity_is_told(compiled: Compile, said: Said) -> None:
    text = FIRST + policy("rateLimits: [{name: r, requests: 1, per: 1m, key: [{type: Consumer}]}]")
    assert said(compiled(text)) == [
        (
            "Warning NotEnforced: AIPolicy default/it: spec.rateLimits[0].key: no policy that applies sets identity: all "
            "calls count as one consumer (for default/Deployment/chat)"
        )
    ]


def large(count: int) -> str:
    """A pool with so many models, each with sixteen other names."""
    models = [f"{{name: m{n}, aliases: [{', '.join(f'a{n}x{a}' for a in range(16))}]}}" for n in range(count)]
    return pool("first", f"{{name: a, type: OpenAI, models: [{', '.join(models)}]}}")


def limits(patterns: int) -> str:
    """So many patterns that match nothing, spread over limits."""
    rules = [
        f"{{name: l{n}, requests: 1, per: 1m, models: [{', '.join(f'zz{n}x{it}*' for it in range(16))}]}}"
        for n in range(patterns // 16)
    ]
    return f"rateLimits: [{', '.join(rules)}]"


def test_of_many_patterns_that_match_nothing_a_few_are_told_and_the_others_counted(
    compiled: Compile, said: Said
) -> None:
    told = said(compiled(FIRST + policy(limits(64))))
    assert len(told) == MAX_TOLD + 1
    assert "Warning NotEnforced: AIPolicy default/it: spec: 48 more patterns match no model" in told[0]


def test_a_policy_whose_patterns_are_too_many_for_its_pools_is_checked_in_part_and_told_so(
    compiled: Compile, said: Said
) -> None:
    """The configuration has all of them; it is the advice that is bounded."""
    compilation = compiled(large(64) + policy(limits(1_024)))
    (config,) = [it for it in compilation.configs.values() if it.rate_limits]
    assert sum(len(limit.models) for limit in config.rate_limits) == 1_024
    assert any("more patterns than are compared" in it for it in said(compilation))


def test_advice_comes_in_steps_none_of_which_is_long(read: Callable[[str], Snapshot]) -> None:
    compiler = Compiler()
    text = large(64) + policy(limits(256)) + "{kind: Workload, id: default/Deployment/chat}"
    begun = compiler.begin(read(text))
    assert {ref.name for ref in begun.unadvised} == {"it"}
    assert begun.diagnostics == ()
    steps = sum(1 for _ in compiler.advise())
    assert steps >= 256 * 64 * 17 // SLICE_COMPARISONS
    assert len(compiler.compilation().diagnostics) == MAX_TOLD + 1
