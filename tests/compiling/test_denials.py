"""Calls that no policy allows are refused, and the reason says what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate_operator.api.aipolicy import AI_POLICY
from tidegate_operator.compile.compiler import compile_snapshot
from tidegate_policy.model import CompiledConfig, Denial, DenialCode, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation
    from tidegate_operator.index.snapshot import Snapshot

    Compile = Callable[[str], Compilation]
    Said = Callable[[Compilation], list[str]]

CHAT = """
{kind: Workload, id: team-a/Deployment/chat}
---
{kind: ProviderPool, metadata: {name: chat, namespace: team-a}, spec: {providers: [{name: a, type: OpenAI}]}}
---
"""
POLICY = ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")


def only(compilation: Compilation) -> CompiledConfig:
    """The one configuration there is."""
    (config,) = compilation.configs.values()
    return config


def policy(spec: str, name: str = "chat") -> str:
    target = "targetRefs: [{kind: Deployment, name: chat}]"
    return f"{{kind: AIPolicy, metadata: {{name: {name}, namespace: team-a}}, spec: {{{target}, {spec}}}}}\n---\n"


def test_a_workload_without_policy_is_denied(compiled: Compile) -> None:
    assert only(compiled("{kind: Workload, id: team-a/Deployment/chat}")) == CompiledConfig(
        denials=(
            Denial(
                code=DenialCode.NO_POLICY,
                reason="No AIPolicy applies to this workload. Create one in its namespace whose targetRefs or selector "
                "names it, with the poolRefs it may use.",
            ),
        )
    )


def test_a_suspended_policy_denies_what_it_applies_to(compiled: Compile, said: Said) -> None:
    """The kill switch stops traffic; what another policy allows does not matter."""
    compilation = compiled(CHAT + policy("poolRefs: [{name: chat}]", "open") + policy("suspend: true"))
    (denial,) = only(compilation).denials
    assert denial == Denial(
        code=DenialCode.SUSPENDED,
        reason="AIPolicy team-a/chat is suspended; its spec.suspend has to be false again.",
        source=POLICY,
    )
    assert said(compilation) == [
        "Warning Suspended: AIPolicy team-a/chat: spec.suspend: the kill switch is on: calls are refused"
    ]


def test_an_invalid_policy_denies_what_it_applies_to(compiled: Compile, said: Said) -> None:
    """Nobody can say what it would have allowed, so another policy's pools do not help."""
    compilation = compiled(CHAT + policy("poolRefs: [{name: chat}]", "open") + policy("mode: Off"))
    (denial,) = only(compilation).denials
    problem = "spec.mode: expected one of Enforce, Shadow, found 'Off'"
    assert denial == Denial(
        code=DenialCode.NO_POLICY,
        reason=f"AIPolicy team-a/chat is not valid, and what it applies to is refused until it is: {problem}",
        source=POLICY,
    )
    assert said(compilation) == [f"Error Invalid: AIPolicy team-a/chat: : not in force: {problem}"]


def test_a_kill_switch_answers_before_everything_else(compiled: Compile) -> None:
    compilation = compiled(CHAT + policy("mode: Off", "broken") + policy("suspend: true", "zz"))
    assert [denial.code for denial in only(compilation).denials] == [
        DenialCode.SUSPENDED,
        DenialCode.NO_POLICY,
    ]


def test_without_any_pool_the_closest_policy_is_named(compiled: Compile, said: Said) -> None:
    floor = "{kind: ClusterAIPolicy, metadata: {name: floor}, spec: {namespaceSelector: {}}}"
    compilation = compiled(CHAT + policy("mode: Shadow") + floor)
    (denial,) = only(compilation).denials
    assert denial == Denial(
        code=DenialCode.NO_POLICY,
        reason="No policy that applies names a pool; set spec.poolRefs in one of: AIPolicy team-a/chat, "
        "ClusterAIPolicy floor.",
        source=POLICY,
    )
    assert said(compilation) == [
        (
            "Warning NotEnforced: AIPolicy team-a/chat: spec.poolRefs: no policy that applies names a pool: every "
            "call is refused (for team-a/Deployment/chat)"
        )
    ]


def test_when_no_pool_is_left_the_reason_says_why(compiled: Compile) -> None:
    (denial,) = only(compiled(CHAT + policy("poolRefs: [{name: caht}]"))).denials
    assert denial == Denial(
        code=DenialCode.NO_POLICY,
        reason="AIPolicy team-a/chat names no pool that can be used: there is no ProviderPool caht in namespace team-a.",
        source=POLICY,
    )


def test_an_object_whose_last_valid_form_is_in_force_says_so(read: Callable[[str], Snapshot]) -> None:
    """A bad edit of a good object denies nobody."""
    snapshot = read(CHAT + policy("poolRefs: [{name: chat}]"))
    edited = tuple(replace(stored, problem="spec.mode: no") for stored in snapshot.of(AI_POLICY))
    compilation = compile_snapshot(replace(snapshot, stored={**snapshot.stored, AI_POLICY.name: edited}))
    assert only(compilation).denials == ()
    (diagnostic,) = compilation.diagnostics
    assert diagnostic.message == "the newest form is not in force, the last valid one is: spec.mode: no"


def test_an_object_that_is_defined_twice_is_in_force_in_neither_form(compiled: Compile, said: Said) -> None:
    """Which of the two would be meant, nobody can say; and the order of files must not decide."""
    twice = policy("poolRefs: [{name: chat}]") + policy("poolRefs: [{name: chat}], mode: Shadow")
    compilation = compiled(CHAT + twice)
    (denial,) = only(compilation).denials
    assert denial.code is DenialCode.NO_POLICY
    assert said(compilation) == [
        (
            "Error Invalid: AIPolicy team-a/chat: : not in force: AIPolicy team-a/chat is defined more than once; keep "
            "one of them"
        )
    ]
