"""Which policies apply to which workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_operator.compile.compilation import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation

    Compile = Callable[[str], Compilation]
    Said = Callable[[Compilation], list[str]]

WORKLOADS = """
{kind: Namespace, name: team-a, labels: {team: a}}
---
{kind: Namespace, name: team-b}
---
{kind: Workload, id: team-a/Deployment/chat, labels: {app: chat}, account: chat}
---
{kind: Workload, id: team-a/StatefulSet/chat, labels: {app: store}}
---
{kind: Workload, id: team-b/Deployment/chat, labels: {app: chat}, account: chat}
---
"""


def applying(compilation: Compilation) -> dict[str, dict[str, Level]]:
    """Workload to the names of the policies that apply, with their levels."""
    return {
        str(workload): {ref.name: level for ref, level in zip(key.policies, key.levels, strict=True)}
        for workload, key in compilation.workloads.items()
    }


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ("targetRefs: [{kind: Deployment, name: chat}]", {"team-a/Deployment/chat": Level.WORKLOAD}),
        ("targetRefs: [{kind: StatefulSet, name: chat}]", {"team-a/StatefulSet/chat": Level.WORKLOAD}),
        (
            "targetRefs: [{kind: ServiceAccount, name: chat}]",
            {"team-a/Deployment/chat": Level.SERVICE_ACCOUNT},
        ),
        (
            "targetRefs: [{kind: ServiceAccount, name: default}]",
            {"team-a/StatefulSet/chat": Level.SERVICE_ACCOUNT},
        ),
        ("selector: {matchLabels: {app: chat}}", {"team-a/Deployment/chat": Level.SELECTOR}),
        (
            "selector: {}",
            {"team-a/Deployment/chat": Level.SELECTOR, "team-a/StatefulSet/chat": Level.SELECTOR},
        ),
        (
            "targetRefs: [{kind: Namespace, name: team-a}]",
            {"team-a/Deployment/chat": Level.NAMESPACE, "team-a/StatefulSet/chat": Level.NAMESPACE},
        ),
        (
            "targetRefs: [{kind: Namespace, name: team-a}, {kind: Deployment, name: chat}]",
            {"team-a/Deployment/chat": Level.WORKLOAD, "team-a/StatefulSet/chat": Level.NAMESPACE},
        ),
    ],
)
def test_a_policy_applies_in_its_own_namespace(
    compiled: Compile, spec: str, chosen: dict[str, Level]
) -> None:
    compilation = compiled(
        WORKLOADS + f"{{kind: AIPolicy, metadata: {{name: it, namespace: team-a}}, spec: {{{spec}}}}}"
    )
    found = {name: levels["it"] for name, levels in applying(compilation).items() if levels}
    assert found == chosen


@pytest.mark.parametrize(
    ("selector", "namespaces"),
    [
        ("{}", {"team-a", "team-b"}),
        ("{matchLabels: {team: a}}", {"team-a"}),
        ("{matchLabels: {kubernetes.io/metadata.name: team-b}}", {"team-b"}),
        ("{matchExpressions: [{key: team, operator: DoesNotExist}]}", {"team-b"}),
    ],
)
def test_a_cluster_policy_applies_in_the_namespaces_it_chooses(
    compiled: Compile, selector: str, namespaces: set[str]
) -> None:
    spec = f"{{namespaceSelector: {selector}}}"
    compilation = compiled(WORKLOADS + f"{{kind: ClusterAIPolicy, metadata: {{name: it}}, spec: {spec}}}")
    found = applying(compilation)
    assert {name.partition("/")[0] for name, levels in found.items() if levels} == namespaces
    assert {level for levels in found.values() for level in levels.values()} == {Level.CLUSTER}


def test_workloads_with_the_same_policies_share_a_configuration(compiled: Compile) -> None:
    compilation = compiled(
        WORKLOADS
        + """
{kind: AIPolicy, metadata: {name: all, namespace: team-a}, spec: {targetRefs: [{kind: Namespace, name: team-a}]}}
"""
    )
    classes = {str(workload): key for workload, key in compilation.workloads.items()}
    assert classes["team-a/Deployment/chat"] == classes["team-a/StatefulSet/chat"]
    assert len(compilation.configs) == 2


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "targetRefs: [{kind: Namespace, name: team-b}]",
            (
                "Error Invalid: AIPolicy team-a/it: spec.targetRefs[0].name: a policy targets its own namespace alone; "
                "write team-a, or move the policy"
            ),
        ),
        (
            "targetRefs: [{kind: Deployment, name: chatt}]",
            (
                "Warning TargetNotFound: AIPolicy team-a/it: spec.targetRefs[0]: there is no Deployment chatt in "
                "namespace team-a"
            ),
        ),
        (
            "targetRefs: [{kind: ServiceAccount, name: nobody}]",
            (
                "Warning TargetNotFound: AIPolicy team-a/it: spec.targetRefs[0]: no workload in namespace team-a runs as "
                "ServiceAccount nobody"
            ),
        ),
        (
            "selector: {matchLabels: {app: chatt}}",
            (
                "Warning TargetNotFound: AIPolicy team-a/it: spec.selector: no workload in namespace team-a has these pod "
                "labels"
            ),
        ),
    ],
)
def test_a_target_that_is_not_there_is_told(compiled: Compile, said: Said, spec: str, expected: str) -> None:
    compilation = compiled(
        WORKLOADS + f"{{kind: AIPolicy, metadata: {{name: it, namespace: team-a}}, spec: {{{spec}}}}}"
    )
    assert said(compilation) == [expected]


def test_a_cluster_policy_that_chooses_no_namespace_is_told(compiled: Compile, said: Said) -> None:
    spec = "{namespaceSelector: {matchLabels: {team: nobody}}}"
    compilation = compiled(WORKLOADS + f"{{kind: ClusterAIPolicy, metadata: {{name: it}}, spec: {spec}}}")
    assert said(compilation) == [
        "Warning TargetNotFound: ClusterAIPolicy it: spec.namespaceSelector: no namespace has these labels"
    ]


@pytest.mark.parametrize(
    ("spec", "denied"),
    [
        pytest.param(
            "{mode: Off, targetRefs: [{kind: Deployment, name: chat}]}",
            {"team-a/Deployment/chat"},
            id="readable targets",
        ),
        pytest.param(
            "{mode: Off, selector: {matchLabels: {app: store}}}",
            {"team-a/StatefulSet/chat"},
            id="readable selector",
        ),
        pytest.param(
            "{targetRefs: [{kind: Deployment, name: chat}], selector: {matchLabels: {app: store}}}",
            {"team-a/Deployment/chat", "team-a/StatefulSet/chat"},
            id="both",
        ),
        pytest.param(
            "{targetRefs: [{kind: Deployment, name: chat}, {kind: Deploymnt, name: x}]}",
            {"team-a/Deployment/chat", "team-a/StatefulSet/chat"},
            id="a target that cannot be read",
        ),
        pytest.param(
            "{selector: {app: chat}}",
            {"team-a/Deployment/chat", "team-a/StatefulSet/chat"},
            id="a selector that cannot be read",
        ),
        pytest.param("{}", {"team-a/Deployment/chat", "team-a/StatefulSet/chat"}, id="no targets"),
        pytest.param("[]", {"team-a/Deployment/chat", "team-a/StatefulSet/chat"}, id="no spec at all"),
    ],
)
def test_what_an_invalid_policy_applies_to_is_denied(compiled: Compile, spec: str, denied: set[str]) -> None:
    """What can be read of its targets, and the whole namespace where they cannot be read; nobody else."""
    compilation = compiled(
        WORKLOADS + f"{{kind: AIPolicy, metadata: {{name: it, namespace: team-a}}, spec: {spec}}}"
    )
    assert {name for name, levels in applying(compilation).items() if levels} == denied


def test_an_invalid_cluster_policy_denies_what_it_chooses(compiled: Compile) -> None:
    readable = "{mode: Off, namespaceSelector: {matchLabels: {team: a}}}"
    compilation = compiled(WORKLOADS + f"{{kind: ClusterAIPolicy, metadata: {{name: it}}, spec: {readable}}}")
    assert {name for name, levels in applying(compilation).items() if levels} == {
        "team-a/Deployment/chat",
        "team-a/StatefulSet/chat",
    }
    compilation = compiled(WORKLOADS + "{kind: ClusterAIPolicy, metadata: {name: it}, spec: {mode: Off}}")
    assert all(applying(compilation).values())
