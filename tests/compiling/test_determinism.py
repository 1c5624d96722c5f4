"""Any order of the same objects gives the same bytes and says the same about them, whatever was compiled before."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import zip_longest
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tidegate_operator.api.aipolicy import AI_POLICY
from tidegate_operator.api.kinds import API_VERSION
from tidegate_operator.api.parse import parse_object
from tidegate_operator.compile.compilation import Compilation
from tidegate_operator.compile.compiler import Compiler, compile_snapshot
from tidegate_operator.index.snapshot import Namespace, Snapshot, Stored, Workload, by_kind
from tidegate_policy.wire import encode

SPECS = """
AIPolicy:
- {targetRefs: [{kind: Deployment, name: chat}], poolRefs: [{name: one}, {name: two}], allowModels: [m1, x]}
- {targetRefs: [{kind: Deployment, name: chat}, {kind: Namespace, name: NS}], poolRefs: [{name: two}],
   timeouts: {request: 20m}, rateLimits: [{name: r, requests: 5, per: 1s, key: [{type: Consumer}]}]}
- {selector: {matchLabels: {app: chat}}, poolRefs: [{name: one, namespace: ai}], retry: {maxAttempts: 9},
   identity: {consumer: {source: Header, header: {name: x-a}}}}
- {selector: {}, suspend: true, timeouts: {request: 3m}}
- {targetRefs: [{kind: ServiceAccount, name: bot}], timeouts: {connect: 1s}, poolRefs: [{name: gone}, {name: one}]}
- {mode: Off, targetRefs: [{kind: Job, name: nightly}]}
ClusterAIPolicy:
- {namespaceSelector: {}, poolRefs: [{name: one, namespace: ai}], allowModels: ["m*"]}
- {namespaceSelector: {matchLabels: {team: a}}, identity: {consumer: {source: Header, header: {name: x-b}}}}
- {namespaceSelector: {}, allowModels: [m2], identity: {consumer: {source: Header, header: {name: x-c}}}}
- {namespaceSelector: 1}
ProviderPool:
- {providers: [{name: p, type: OpenAI, models: [{name: m1, aliases: [a]}, {name: m2}]},
               {name: o, type: OpenAI, models: [{name: m3, aliases: [a]}], authentication: {type: Credentials, credentialRefs: [{name: one}, {name: gone}]}}]}
- {allowedNamespaces: {from: Selector, selector: {matchLabels: {team: a}}}, providers: [{name: p, type: OpenAI}]}
- {suspend: true, providers: [{name: q, type: Anthropic, models: [{name: m1}], authentication: {type: Credentials, credentialRefs: [{name: gone}]}}]}
- {providers: []}
ProviderCredential:
- {source: {type: Environment, environment: {variable: KEY}}}
- {source: {type: Vault}}
"""


@cache
def specs() -> dict[str, list[object]]:
    loaded: dict[str, list[object]] = YAML(typ="safe").load(SPECS)
    return loaded


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Objects that refer to each other, with conflicts, gaps, invalid ones, and now and then a name twice."""
    stored: list[Stored[Any]] = []
    for kind, choices in specs().items():
        for spec in draw(st.lists(st.sampled_from(choices), max_size=6)):
            metadata = {"name": draw(st.sampled_from(["one", "two", "three"]))}
            if kind != "ClusterAIPolicy":
                metadata["namespace"] = draw(st.sampled_from(["ai", "team-a"]))
            if created := draw(st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"])):
                metadata["creationTimestamp"] = created
            document = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
            parsed = parse_object(document).stored
            assert parsed is not None
            stored.append(parsed)
    workloads = st.builds(
        Workload,
        namespace=st.sampled_from(["ai", "team-a"]),
        kind=st.sampled_from(["Deployment", "Job"]),
        name=st.sampled_from(["chat", "nightly"]),
        labels=st.sampled_from([{}, {"app": "chat"}]),
        service_account=st.sampled_from(["default", "bot"]),
    )
    return Snapshot(
        stored=by_kind(stored),
        namespaces=(
            Namespace(name="team-a", labels={"team": "a"}),
            Namespace(name="ai"),
            *draw(st.sampled_from([(), (Namespace(name="team-a"),)])),
        ),
        workloads=tuple(draw(st.lists(workloads, max_size=5))),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots that have much in common, as an index makes them: of each object one of two forms, or none.

    What does not change is mostly the same object, and now and then only an equal one.
    """
    one, other = draw(snapshots()), draw(snapshots())
    steps = []
    for _ in range(draw(st.integers(2, 4))):

        def mixed(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
            # mostly the first form, so that steps differ little
            chosen = [
                (*pair, None)[draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))]
                for pair in zip_longest(first, second)
            ]
            return tuple(replace(it) if draw(st.booleans()) else it for it in chosen if it is not None)

        steps.append(
            Snapshot(
                stored={
                    kind: mixed(one.stored.get(kind, ()), other.stored.get(kind, ()))
                    for kind in sorted({*one.stored, *other.stored})
                },
                namespaces=mixed(one.namespaces, other.namespaces),
                workloads=mixed(one.workloads, other.workloads),
            )
        )
    return steps


def everything(compilation: Compilation) -> tuple[object, ...]:
    """What a compile yields, with the order of its mappings."""
    return (
        [*compilation.configs.items()],
        [*compilation.workloads.items()],
        compilation.diagnostics,
        [*compilation.settings.items()],
    )


@settings(deadline=None, max_examples=60)
@given(history=histories())
def test_what_was_compiled_before_changes_nothing(history: list[Snapshot]) -> None:
    compiler = Compiler()
    former: Compilation | None = None
    for snapshot in history:
        compilation = compiler.compile(snapshot)
        assert everything(compilation) == everything(compile_snapshot(snapshot))
        for key, config in former.configs.items() if former else ():
            if compilation.configs.get(key) == config:
                assert compilation.configs[key] is config
        former = compilation


@settings(deadline=None, max_examples=60)
@given(history=histories(), data=st.data())
def test_no_configuration_waits_for_advice_and_advice_that_was_left_off_is_the_same(
    history: list[Snapshot], data: st.DataObject
) -> None:
    compiler = Compiler()
    for snapshot in history:
        whole = compile_snapshot(snapshot)
        begun = compiler.begin(snapshot)
        assert everything(begun)[:2] == everything(whole)[:2]
        told = set(begun.diagnostics)
        assert {it for it in whole.diagnostics if it.source not in begun.unadvised} == {
            it for it in told if it.source not in begun.unadvised
        }
        steps = compiler.advise()
        for _ in range(data.draw(st.integers(0, 3))):
            next(steps, None)
        if data.draw(st.booleans()):
            for _ in compiler.advise():
                pass
            assert everything(compiler.compilation()) == everything(whole)
            assert not compiler.compilation().unadvised


@settings(deadline=None, max_examples=100)
@given(snapshot=snapshots(), data=st.data())
def test_the_order_of_objects_changes_nothing(snapshot: Snapshot, data: st.DataObject) -> None:
    shuffled = Snapshot(
        stored={
            kind: tuple(data.draw(st.permutations(snapshot.stored[kind])))
            for kind in data.draw(st.permutations(sorted(snapshot.stored)))
        },
        namespaces=tuple(data.draw(st.permutations(snapshot.namespaces))),
        workloads=tuple(data.draw(st.permutations(snapshot.workloads))),
    )
    one, other = compile_snapshot(snapshot), compile_snapshot(shuffled)
    assert [encode(config) for config in one.configs.values()] == [
        encode(config) for config in other.configs.values()
    ]
    assert one == other


@settings(deadline=None)
@given(snapshot=snapshots())
def test_every_workload_has_a_configuration_and_every_refusal_a_reason(snapshot: Snapshot) -> None:
    compilation = compile_snapshot(snapshot)
    assert set(compilation.workloads) == set(snapshot.workloads)
    for config in compilation.configs.values():
        assert config.pools or config.denials, (
            "without pools every call is refused, so somebody has to say why"
        )
        assert all(denial.reason for denial in config.denials)


@settings(deadline=None)
@given(snapshot=snapshots())
def test_an_object_of_another_namespace_changes_nothing_here(snapshot: Snapshot) -> None:
    """What a team writes reaches its own workloads alone; it can at most make its own namespace's pools unusable."""
    own = tuple(it for it in snapshot.of(AI_POLICY) if it.ref.namespace == "team-a")
    alone = compile_snapshot(replace(snapshot, stored={**snapshot.stored, AI_POLICY.name: own}))
    together = compile_snapshot(snapshot)
    for workload, key in alone.workloads.items():
        if workload.namespace == "team-a":
            assert together.configs[together.workloads[workload]] == alone.configs[key]
