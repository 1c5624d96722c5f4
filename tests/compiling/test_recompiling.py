"""A compiler with a past gives what one without gives; what an edit does not touch stays the same object."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tidegate_operator.api.aipolicy import AI_POLICY
from tidegate_operator.compile.compiler import Compiler, compile_snapshot, config_for
from tidegate_operator.compile.memo import Memo
from tidegate_operator.index.snapshot import Snapshot, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation, Setting
    from tidegate_policy.model import CompiledConfig

    Read = Callable[[str], Snapshot]

PEOPLE = "{kind: Namespace, name: team-a, labels: {ai: 'on'}}"
CHAT = "{kind: Workload, id: team-a/Deployment/chat, labels: {app: chat}}"
KEY = """{kind: ProviderCredential, metadata: {name: key, namespace: ai},
  spec: {source: {type: Environment, environment: {variable: KEY}}}}"""
POOL = """{kind: ProviderPool, metadata: {name: models, namespace: ai}, spec: {allowedNamespaces: {from: All},
  providers: [{name: one, type: OpenAI, authentication: {type: Credentials, credentialRefs: [{name: key}]}, models: [{name: gpt-4o}]}]}}"""
CLUSTER = """{kind: ClusterAIPolicy, metadata: {name: floor}, spec: {namespaceSelector: {matchLabels: {ai: 'on'}},
  poolRefs: [{name: models, namespace: ai}]}}"""
POLICY = """{kind: AIPolicy, metadata: {name: chat, namespace: team-a}, spec: {selector: {matchLabels: {app: chat}},
  poolRefs: [{name: models, namespace: ai}], allowModels: [gpt-4o], timeouts: {request: 1m}}}"""
ALL = (PEOPLE, CHAT, KEY, POOL, CLUSTER, POLICY)


def everything(compilation: Compilation) -> tuple[object, ...]:
    return (
        [*compilation.configs.items()],
        [*compilation.workloads.items()],
        compilation.diagnostics,
        [*compilation.settings.items()],
    )


@pytest.mark.parametrize(
    ("document", "old", "new"),
    [
        (PEOPLE, "'on'", "'off'"),
        (CHAT, "app: chat", "app: other"),
        (CHAT, "{app: chat}", "{app: chat}, account: bot"),
        (CHAT, "Deployment/chat", "Deployment/other"),
        (KEY, "name: key", "name: other"),
        (KEY, "variable: KEY", "variable: OTHER"),
        (POOL, "from: All", "from: Same"),
        (POOL, "from: All", "from: Selector, selector: {matchLabels: {ai: 'off'}}"),
        (POOL, "name: models", "name: other"),
        (POOL, "models: [{name: gpt-4o}]", "models: [{name: gpt-5}]"),
        (CLUSTER, "'on'", "'off'"),
        (CLUSTER, "name: models", "name: other"),
        (POLICY, "app: chat", "app: other"),
        (POLICY, "gpt-4o", "gpt-5"),
        (POLICY, "request: 1m", "request: 2m"),
        (
            POLICY,
            "name: chat, namespace: team-a}",
            "name: chat, namespace: team-a, creationTimestamp: 2026-01-01}",
        ),
    ],
)
def test_an_edit_reaches_all_that_depends_on_it(read: Read, document: str, old: str, new: str) -> None:
    """With the policy of the namespace and without, since other parts of the compiler are at work then."""
    assert old in document
    for documents in (ALL, tuple(it for it in ALL if it is not POLICY or document is POLICY)):
        before = read("\n---\n".join(documents))
        after = read("\n---\n".join(it.replace(old, new) if it is document else it for it in documents))
        compiler = Compiler()
        compiler.compile(before)
        assert everything(compiler.compile(after)) == everything(compile_snapshot(after))
        assert everything(compiler.compile(before)) == everything(compile_snapshot(before))


def test_a_pool_that_closes_parts_the_namespaces_of_a_cluster_policy(read: Read) -> None:
    second = (
        "{kind: Namespace, name: team-b, labels: {ai: 'on'}}",
        "{kind: Workload, id: team-b/Deployment/chat}",
    )
    documents = (PEOPLE, CHAT, KEY, POOL, CLUSTER, *second)
    compiler = Compiler()
    assert len(compiler.compile(read("\n---\n".join(documents))).configs) == 1
    closed = read("\n---\n".join(documents).replace("from: All", "from: Same"))
    compilation = compiler.compile(closed)
    assert len(compilation.configs) == 2
    assert everything(compilation) == everything(compile_snapshot(closed))


def found(compilation: Compilation, name: str) -> tuple[CompiledConfig, tuple[Setting, ...]]:
    workload = next(it for it in compilation.workloads if str(it) == name)
    return config_for(compilation, workload), compilation.settings[compilation.workloads[workload]]


def test_what_an_edit_does_not_touch_stays_the_same_object(read: Read) -> None:
    """Also when every object has been read again, as by a command line that follows files."""
    other = (
        "{kind: Workload, id: team-b/Deployment/chat, labels: {app: chat}}",
        POLICY.replace("team-a", "team-b"),
    )
    text = "\n---\n".join((*ALL, *other))
    compiler = Compiler()
    before = compiler.compile(read(text))
    after = compiler.compile(read(text.replace("request: 1m", "request: 2m", 1)))
    config, settings = found(before, "team-a/Deployment/chat")
    assert found(after, "team-a/Deployment/chat") != (config, settings)
    config, settings = found(before, "team-b/Deployment/chat")
    assert found(after, "team-b/Deployment/chat")[0] is config
    assert found(after, "team-b/Deployment/chat")[1] is settings, "it has been merged again"


def test_a_configuration_that_comes_out_the_same_is_the_same_object(read: Read) -> None:
    """An edit may change what is said about an object, and nothing that a sidecar gets."""
    snapshot = read("\n---\n".join(ALL))
    compiler = Compiler()
    before = compiler.compile(snapshot)
    config, _ = found(before, "team-a/Deployment/chat")
    policy = replace(
        snapshot.of(AI_POLICY)[0], created="2026-01-01T00:00:00Z", problem="it has a typing error"
    )
    another = Workload(namespace="team-a", kind="Deployment", name="another", labels={"app": "chat"})
    after = compiler.compile(
        replace(
            snapshot,
            stored={**snapshot.stored, AI_POLICY.name: (policy,)},
            workloads=(*snapshot.workloads, another),
        )
    )
    assert after.diagnostics != before.diagnostics
    assert found(after, "team-a/Deployment/chat")[0] is config
    assert found(after, "team-a/Deployment/another")[0] is config


def test_only_the_last_snapshot_is_kept(read: Read) -> None:
    snapshot = read("\n---\n".join(ALL))
    specs = [
        weakref.ref(stored.spec)
        for kind in snapshot.stored.values()
        for stored in kind
        if stored.spec is not None
    ]
    compiler = Compiler()
    compiler.compile(snapshot)
    assert repr(compiler) == "<Compiler 1 pools, 1 namespaces, 1 classes>"
    del snapshot
    compiler.compile(Snapshot())
    gc.collect()
    assert [it() for it in specs] == [None] * 4
    assert repr(compiler) == "<Compiler 0 pools, 0 namespaces, 0 classes>"


def test_a_memo_works_out_again_what_has_other_inputs_and_forgets_what_nobody_asks_for() -> None:
    memo: Memo[int, list[int]] = Memo()
    one = memo.of("one", 3, lambda it: [it % 2])
    memo.of("two", 3, lambda it: [it % 2])
    memo.forget()
    assert len(memo) == 2
    assert memo.of("one", 3, lambda _: []) is one
    memo.forget()
    assert len(memo) == 1
    assert memo.of("one", 5, lambda it: [it % 2]) is one, "an equal result stays the same object"
    memo.forget()
    assert memo.of("one", 6, lambda it: [it % 2]) == [0]
