"""Only what no policy applies to is let through, and only by the platform's word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tidegate_operator.api.kinds import API_VERSION
from tidegate_operator.api.parse import parse_object
from tidegate_operator.compile.compiler import Compiler, compile_snapshot, config_for
from tidegate_operator.compile.unmatched import parse_base_urls, pass_through
from tidegate_operator.index.snapshot import Namespace, Snapshot, Workload, by_kind
from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, DenialCode, ProviderType

CHAT = Workload(namespace="team-a", kind="Deployment", name="chat", labels={"app": "chat"})
OTHER = Workload(namespace="team-b", kind="Deployment", name="other")
TARGET = {"targetRefs": [{"kind": "Deployment", "name": "chat"}]}
LET = pass_through()


def policy(spec: dict[str, Any], kind: str = "AIPolicy") -> Any:
    metadata = {"name": "chat"} if kind == "ClusterAIPolicy" else {"name": "chat", "namespace": "team-a"}
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    stored = parse_object(document).stored
    assert stored is not None
    return stored


def snapshot(*policies: Any) -> Snapshot:
    return Snapshot(stored=by_kind(policies), workloads=(CHAT, OTHER))


def compiled(*policies: Any, workload: Workload = CHAT) -> CompiledConfig:
    return config_for(compile_snapshot(snapshot(*policies), LET), workload)


def test_a_workload_under_no_policy_is_let_through_to_the_public_providers() -> None:
    config = compiled()
    assert config == LET.config
    assert (config.pass_through, config.denials, config.sources) == (True, (), ())
    (pool,) = config.pools
    assert {(it.type, it.base_url, it.caller_credential, it.credentials) for it in pool.providers} == {
        (ProviderType.OPENAI, "https://api.openai.com/v1", True, ()),
        (ProviderType.ANTHROPIC, "https://api.anthropic.com/v1", True, ()),
    }


def test_without_the_platforms_word_it_is_denied() -> None:
    config = config_for(compile_snapshot(snapshot()), CHAT)
    assert [it.code for it in config.denials] == [DenialCode.NO_POLICY]
    assert not config.pass_through


@pytest.mark.parametrize(
    ("policies", "code"),
    [
        ([policy({**TARGET, "suspend": True})], DenialCode.SUSPENDED),
        ([policy(TARGET)], DenialCode.NO_POLICY),
        ([policy({**TARGET, "poolRefs": [{"name": "gone"}]})], DenialCode.NO_POLICY),
        ([policy({**TARGET, "mode": "Off"})], DenialCode.NO_POLICY),
        ([policy({"targetRefs": "nonsense"})], DenialCode.NO_POLICY),
        ([policy({"selector": {"matchLabels": {"app": "chat"}}, "rateLimits": 1})], DenialCode.NO_POLICY),
        ([policy({}, "ClusterAIPolicy")], DenialCode.NO_POLICY),
        ([policy({"namespaceSelector": {}, "suspend": True}, "ClusterAIPolicy")], DenialCode.SUSPENDED),
        ([policy({**TARGET, "poolRefs": []}), policy(TARGET)], DenialCode.NO_POLICY),
    ],
    ids=[
        "suspended",
        "no pool",
        "a missing pool",
        "not valid",
        "unreadable targets",
        "not valid, by label",
        "a cluster policy without a readable selector",
        "a suspended cluster policy",
        "defined twice",
    ],
)
def test_a_workload_under_any_policy_is_denied_whatever_is_wrong_with_it(
    policies: list[Any], code: DenialCode
) -> None:
    """Or a mistake in a policy would open what it was meant to close."""
    config = compiled(*policies)
    assert [it.code for it in config.denials][:1] == [code]
    assert not config.pass_through


def test_a_workload_in_a_namespace_that_is_not_known_yet_is_denied_where_a_policy_may_choose_it() -> None:
    """The pod may be seen before its namespace is, and with it the labels by which the platform's policy applies."""
    labels = {"namespaceSelector": {"matchLabels": {"ai": "governed"}}}
    floor = policy(labels, "ClusterAIPolicy")
    unknown = compile_snapshot(snapshot(floor), LET)
    assert [config_for(unknown, it).pass_through for it in (CHAT, OTHER)] == [False, False]
    assert [it.code for it in config_for(unknown, CHAT).denials] == [DenialCode.NO_POLICY]

    namespaces = (Namespace(name="team-a", labels={"ai": "governed"}), Namespace(name="team-b", labels={}))
    known = compile_snapshot(replace(snapshot(floor), namespaces=namespaces), LET)
    assert [config_for(known, it).pass_through for it in (CHAT, OTHER)] == [False, True]
    assert config_for(known, CHAT).sources == (floor.ref,)


def test_other_workloads_are_let_through_all_the_same() -> None:
    assert compiled(policy({**TARGET, "suspend": True}), workload=OTHER).pass_through


def test_a_compiler_that_goes_on_says_the_same_as_one_that_begins() -> None:
    compiler = Compiler(LET)
    for policies in ([], [policy({**TARGET, "suspend": True})], []):
        kept = compiler.compile(snapshot(*policies))
        fresh = compile_snapshot(snapshot(*policies), LET)
        assert [wire.encode(config_for(kept, it)) for it in (CHAT, OTHER)] == [
            wire.encode(config_for(fresh, it)) for it in (CHAT, OTHER)
        ]


def test_nothing_that_an_object_says_lets_through() -> None:
    """The field is the compiler's alone: a document that names it is refused, as any unknown field."""
    for kind in ("AIPolicy", "ClusterAIPolicy"):
        for name in ("passThrough", "pass_through", "unmatched"):
            base = TARGET if kind == "AIPolicy" else {"namespaceSelector": {}}
            config = compiled(policy({**base, name: True}, kind))
            assert not config.pass_through
            assert config.denials


def test_the_platform_may_send_calls_elsewhere() -> None:
    urls = parse_base_urls("OpenAI=http://egress.internal:8080/openai/v1/, Anthropic=https://a.example")
    (pool,) = pass_through(urls).config.pools
    assert {it.name: it.base_url for it in pool.providers} == {
        "openai": "http://egress.internal:8080/openai/v1",
        "anthropic": "https://a.example/v1",
    }
    (pool,) = pass_through(parse_base_urls("OpenAI=https://a.example/v1")).config.pools
    assert {it.name: it.base_url for it in pool.providers} == {
        "openai": "https://a.example/v1",
        "anthropic": "https://api.anthropic.com/v1",
    }


@pytest.mark.parametrize("text", ["https://a.example", "Gemini=https://a.example", "OpenAI", "=x"])
def test_an_address_without_a_known_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected some of OpenAI=URL, Anthropic=URL"):
        parse_base_urls(text)


@pytest.mark.parametrize("url", ["", "nowhere", "https://user:key@a.example", "https://a.example:0/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"^OpenAI: expected a base URL such as https://api\.openai\.com/v1$"
    ):
        pass_through({ProviderType.OPENAI: url})


def test_the_bytes_are_the_same_each_time() -> None:
    one = pass_through(parse_base_urls("OpenAI=https://a.example,Anthropic=https://b.example"))
    other = pass_through(parse_base_urls("Anthropic=https://b.example,OpenAI=https://a.example"))
    assert wire.encode(one.config) == wire.encode(other.config)
