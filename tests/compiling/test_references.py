"""What objects name is found, permitted, or told; what is left still serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_policy.model import CompiledConfig, CredentialRef, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation

    Compile = Callable[[str], Compilation]
    Said = Callable[[Compilation], list[str]]

NAMESPACES = """
{kind: Namespace, name: team-a, labels: {ai: "on"}}
---
{kind: Namespace, name: team-b}
---
{kind: Workload, id: team-a/Deployment/chat}
---
{kind: Workload, id: team-b/Deployment/chat}
---
"""


def pool(name: str, *, namespace: str = "ai", allowed: str = "{from: Same}", providers: str = "") -> str:
    providers = providers or f"{{name: {name}, type: OpenAI, models: [{{name: {name}-model}}]}}"
    return (
        f"{{kind: ProviderPool, metadata: {{name: {name}, namespace: {namespace}}}, "
        f"spec: {{allowedNamespaces: {allowed}, providers: [{providers}]}}}}\n---\n"
    )


def policy(pools: str, *, namespace: str = "team-a") -> str:
    return (
        f"{{kind: AIPolicy, metadata: {{name: chat, namespace: {namespace}}}, "
        f"spec: {{targetRefs: [{{kind: Deployment, name: chat}}], poolRefs: [{pools}]}}}}\n---\n"
    )


def pools_of(compilation: Compilation, workload: str = "team-a/Deployment/chat") -> list[str]:
    return [pool.source.name for pool in config_of(compilation, workload).pools]


def config_of(compilation: Compilation, workload: str = "team-a/Deployment/chat") -> CompiledConfig:
    return next(compilation.configs[key] for it, key in compilation.workloads.items() if str(it) == workload)


def test_a_pool_without_namespace_is_one_of_the_policys_own(compiled: Compile) -> None:
    compilation = compiled(NAMESPACES + pool("own", namespace="team-a") + policy("{name: own}"))
    (found,) = config_of(compilation).pools
    assert found.source == ObjectRef(kind="ProviderPool", namespace="team-a", name="own")


def test_pools_stay_in_the_order_of_the_policy(compiled: Compile) -> None:
    everyone = "{from: All}"
    text = "".join(pool(name, allowed=everyone) for name in ("a", "b", "c"))
    listed = "{name: c, namespace: ai}, {name: a, namespace: ai}, {name: b, namespace: ai}"
    assert pools_of(compiled(NAMESPACES + text + policy(listed))) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("allowed", "permitted"),
    [
        ("{from: Same}", False),
        ("{from: All}", True),
        ("{from: Selector, selector: {matchLabels: {ai: 'on'}}}", True),
        ("{from: Selector, selector: {matchLabels: {ai: 'off'}}}", False),
        ("{from: Selector, selector: {}}", True),
    ],
)
def test_a_pool_of_another_namespace_has_to_permit(
    compiled: Compile, said: Said, allowed: str, *, permitted: bool
) -> None:
    compilation = compiled(NAMESPACES + pool("chat", allowed=allowed) + policy("{name: chat, namespace: ai}"))
    assert pools_of(compilation) == (["chat"] if permitted else [])
    refused = (
        "Error RefNotPermitted: AIPolicy team-a/chat: spec.poolRefs[0]: ProviderPool ai/chat does not allow this "
        "namespace; its spec.allowedNamespaces has to"
    )
    assert said(compilation) == ([] if permitted else [refused])


def test_a_cluster_policys_pool_has_to_permit_each_namespace(compiled: Compile, said: Said) -> None:
    """Whether a namespace may use a pool is for the pool's owner to say, whoever wrote the policy."""
    floor = (
        "{kind: ClusterAIPolicy, metadata: {name: floor}, "
        "spec: {namespaceSelector: {}, poolRefs: [{name: chat, namespace: ai}]}}"
    )
    allowed = "{from: Selector, selector: {matchLabels: {ai: 'on'}}}"
    compilation = compiled(NAMESPACES + pool("chat", allowed=allowed) + floor)
    assert pools_of(compilation, "team-a/Deployment/chat") == ["chat"]
    assert pools_of(compilation, "team-b/Deployment/chat") == []
    assert {key.namespace for key in compilation.configs} == {"team-a", "team-b"}
    assert said(compilation) == [
        (
            "Error RefNotPermitted: ClusterAIPolicy floor: spec.poolRefs[0]: ProviderPool ai/chat does not allow this "
            "namespace; its spec.allowedNamespaces has to (for team-b/Deployment/chat)"
        )
    ]


def test_namespaces_share_a_class_where_the_pool_is_for_all(compiled: Compile) -> None:
    floor = (
        "{kind: ClusterAIPolicy, metadata: {name: floor}, "
        "spec: {namespaceSelector: {}, poolRefs: [{name: chat, namespace: ai}]}}"
    )
    compilation = compiled(NAMESPACES + pool("chat", allowed="{from: All}") + floor)
    assert [key.namespace for key in compilation.configs] == [""]


def test_a_missing_pool_is_told_with_those_there_and_the_rest_serves(compiled: Compile, said: Said) -> None:
    text = NAMESPACES + pool("one", namespace="team-a") + pool("two", namespace="team-a")
    compilation = compiled(text + policy("{name: tow}, {name: one}"))
    assert pools_of(compilation) == ["one"]
    assert config_of(compilation).denials == ()
    assert said(compilation) == [
        (
            "Error RefNotFound: AIPolicy team-a/chat: spec.poolRefs[0]: there is no ProviderPool tow in namespace "
            "team-a; those there: one, two"
        )
    ]


def test_names_of_pools_that_a_namespace_may_not_use_are_not_told_to_it(
    compiled: Compile, said: Said
) -> None:
    text = NAMESPACES + pool("secret") + pool("open", allowed="{from: All}")
    (line,) = said(compiled(text + policy("{name: opne, namespace: ai}")))
    assert line.endswith("there is no ProviderPool opne in namespace ai; those there: open")


def test_a_policy_that_applies_to_nothing_is_checked_all_the_same(compiled: Compile, said: Said) -> None:
    text = (
        "{kind: AIPolicy, metadata: {name: chat, namespace: team-a}, "
        "spec: {targetRefs: [{kind: Job, name: none}], poolRefs: [{name: gone}]}}"
    )
    assert [line.split(":")[0] for line in said(compiled(NAMESPACES + text))] == [
        "Error RefNotFound",
        "Warning TargetNotFound",
    ]


def test_an_invalid_pool_is_as_good_as_none_and_its_problem_is_told_to_its_namespace_alone(
    compiled: Compile, said: Said
) -> None:
    broken = "{kind: ProviderPool, metadata: {name: bad, namespace: ai}, spec: {providers: []}}\n---\n"
    own = "{kind: ProviderPool, metadata: {name: bad, namespace: team-a}, spec: {providers: []}}\n---\n"
    compilation = compiled(NAMESPACES + broken + own + policy("{name: bad, namespace: ai}, {name: bad}"))
    problem = "spec.providers: expected at least 1 item, found none; remove the field if it is not meant"
    assert said(compilation) == [
        "Error RefNotFound: AIPolicy team-a/chat: spec.poolRefs[0]: ProviderPool ai/bad is not in force",
        f"Error RefNotFound: AIPolicy team-a/chat: spec.poolRefs[1]: ProviderPool team-a/bad is not in force: {problem}",
        f"Error Invalid: ProviderPool ai/bad: : not in force: {problem}",
        f"Error Invalid: ProviderPool team-a/bad: : not in force: {problem}",
    ]
    assert config_of(compilation).denials[0].reason == (
        "AIPolicy team-a/chat names no pool that can be used: ProviderPool ai/bad is not in force; "
        "ProviderPool team-a/bad is not in force."
    )


def test_a_pool_that_is_named_twice_is_used_once(compiled: Compile, said: Said) -> None:
    text = (
        NAMESPACES + pool("own", namespace="team-a") + policy("{name: own}, {name: own, namespace: team-a}")
    )
    compilation = compiled(text)
    assert pools_of(compilation) == ["own"]
    assert said(compilation) == [
        (
            "Warning Overridden: AIPolicy team-a/chat: spec.poolRefs[1]: names ProviderPool team-a/own again, as "
            "poolRefs[0] does; remove one of them"
        )
    ]


CREDENTIAL = (
    "{kind: ProviderCredential, metadata: {name: prod, namespace: team-a}, "
    "spec: {suspend: true, source: {type: Environment, environment: {variable: KEY}}}}\n---\n"
)


def test_a_missing_credential_leaves_the_others(compiled: Compile, said: Said) -> None:
    """Their order is a preference, so it stays."""
    other = CREDENTIAL.replace("prod", "aaa").replace("suspend: true, ", "")
    providers = "{name: a, type: OpenAI, authentication: {type: Credentials, credentialRefs: [{name: gone}, {name: prod}, {name: aaa}]}}"
    text = NAMESPACES + CREDENTIAL + other + pool("own", namespace="team-a", providers=providers)
    compilation = compiled(text + policy("{name: own}"))
    (provider,) = config_of(compilation).pools[0].providers
    assert [(it.source.name, it.environment_variable, it.suspended) for it in provider.credentials] == [
        ("prod", "KEY", True),
        ("aaa", "KEY", False),
    ]
    assert said(compilation) == [
        "Warning Suspended: ProviderCredential team-a/prod: spec.suspend: the kill switch is on: its key is not used",
        (
            "Error RefNotFound: ProviderPool team-a/own: spec.providers[0].authentication.credentialRefs[0].name: there is no "
            "ProviderCredential gone in namespace team-a; those there: aaa, prod"
        ),
        (
            "Warning RefSuspended: ProviderPool team-a/own: spec.providers[0].authentication.credentialRefs[1].name: "
            "ProviderCredential team-a/prod is suspended: its key is not used"
        ),
    ]


def test_a_key_of_a_secret_is_named_and_nothing_else(compiled: Compile, said: Said) -> None:
    """Which Secret it is, the pod's namespace decides: the pool's owner shares a name, not a key."""
    mounted = CREDENTIAL.replace("suspend: true, ", "").replace(
        "{type: Environment, environment: {variable: KEY}}", "{type: Secret, secret: {key: openai.prod}}"
    )
    text = (
        NAMESPACES
        + mounted
        + pool(
            "own",
            namespace="team-a",
            providers="{name: a, type: OpenAI, authentication: {type: Credentials, credentialRefs: [{name: prod}]}}",
        )
    )
    compilation = compiled(text + policy("{name: own}"))
    (provider,) = config_of(compilation).pools[0].providers
    assert provider.credentials == (
        CredentialRef(
            source=ObjectRef(kind="ProviderCredential", namespace="team-a", name="prod"),
            secret_key="openai.prod",
        ),
    )
    assert said(compilation) == []


def test_a_provider_without_any_of_its_credentials_is_left_out(compiled: Compile, said: Said) -> None:
    """It must not be called without a key, which would look like a wrong one."""
    providers = "{name: a, type: OpenAI, authentication: {type: Credentials, credentialRefs: [{name: gone}]}}, {name: b, type: OpenAI}"
    text = NAMESPACES + pool("own", namespace="team-a", providers=providers) + policy("{name: own}")
    compilation = compiled(text)
    assert [it.name for it in config_of(compilation).pools[0].providers] == ["b"]
    assert said(compilation) == [
        (
            "Error RefNotFound: ProviderPool team-a/own: spec.providers[0].authentication.credentialRefs: provider a is left out: none of "
            "its credentials can be used"
        ),
        (
            "Error RefNotFound: ProviderPool team-a/own: spec.providers[0].authentication.credentialRefs[0].name: there is no "
            "ProviderCredential gone in namespace team-a; those there: none"
        ),
    ]


def test_a_pool_without_any_provider_left_cannot_be_used(compiled: Compile, said: Said) -> None:
    providers = "{name: a, type: OpenAI, authentication: {type: Credentials, credentialRefs: [{name: gone}]}}"
    text = NAMESPACES + pool("own", namespace="team-a", providers=providers) + policy("{name: own}")
    compilation = compiled(text)
    assert config_of(compilation).denials[0].reason == (
        "AIPolicy team-a/chat names no pool that can be used: ProviderPool team-a/own has no provider left."
    )
    assert said(compilation)[0] == (
        "Error RefNotFound: AIPolicy team-a/chat: spec.poolRefs[0]: ProviderPool team-a/own has no provider left; "
        "the credentials of all of them are missing"
    )


def test_a_credential_of_another_namespace_is_not_found(compiled: Compile) -> None:
    """A pool's keys live beside it; another team's key cannot be borrowed by name."""
    providers = "{name: a, type: OpenAI, authentication: {type: Credentials, credentialRefs: [{name: prod}]}}"
    text = NAMESPACES + CREDENTIAL.replace("team-a", "team-b")
    compilation = compiled(
        text + pool("own", namespace="team-a", providers=providers) + policy("{name: own}")
    )
    assert config_of(compilation).pools == ()


ROLLOUT = """
{kind: ProviderPool, metadata: {name: own, namespace: team-a}, spec: {providers: [{name: a, type: OpenAI}]}}
---
{kind: AIPolicy, metadata: {name: chat, namespace: team-a}, spec: {
  targetRefs: [{group: argoproj.io, kind: Rollout, name: chat}], poolRefs: [{name: own}]}}
---
"""


def test_a_target_of_another_api_group_is_no_other_kind_of_that_name(compiled: Compile, said: Said) -> None:
    workloads = "{kind: Workload, id: team-a/Rollout.argoproj.io/chat}\n---\n{kind: Workload, id: team-a/Rollout/chat}\n"
    compilation = compiled(ROLLOUT + workloads)
    governed = {str(it): not compilation.configs[key].denials for it, key in compilation.workloads.items()}
    assert governed == {"team-a/Rollout.argoproj.io/chat": True, "team-a/Rollout/chat": False}
    assert said(compilation) == []


def test_a_kind_with_the_group_that_it_has_anyway_is_the_same(compiled: Compile) -> None:
    text = ROLLOUT.replace("group: argoproj.io, kind: Rollout", "group: apps, kind: Deployment")
    assert not config_of(compiled(text + "{kind: Workload, id: team-a/Deployment/chat}\n")).denials


def test_nobody_claims_that_an_object_which_may_not_be_read_is_missing(compiled: Compile, said: Said) -> None:
    assert said(compiled(ROLLOUT + "{kind: Workload, id: team-a/Deployment/chat}\n")) == [
        (
            "Warning TargetNotFound: AIPolicy team-a/chat: spec.targetRefs[0]: no pod with a sidecar in namespace team-a "
            "belongs to a Rollout.argoproj.io chat"
        )
    ]
