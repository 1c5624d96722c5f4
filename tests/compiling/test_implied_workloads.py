"""A folder of policies without workloads gets a stand-in for each target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.api.aipolicy import AI_POLICY
from tidegate_operator.api.selectors import LabelSelector
from tidegate_operator.compile.compiler import compile_snapshot, implied_workloads
from tidegate_operator.compile.implied import labels_for
from tidegate_operator.index.snapshot import Snapshot, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str], Snapshot]


def policy(spec: str, name: str = "it", namespace: str = "default") -> str:
    return f"{{kind: AIPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}\n---\n"


FLOOR = "{kind: ClusterAIPolicy, metadata: {name: floor}, spec: {namespaceSelector: {}}}\n---\n"


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        pytest.param(
            policy("targetRefs: [{kind: Deployment, name: chat}, {kind: Job, name: nightly}]"),
            ["default/Deployment/chat", "default/Job/nightly"],
            id="workloads",
        ),
        pytest.param(
            policy("targetRefs: [{kind: ServiceAccount, name: bot}]"),
            ["default/Pod/bot"],
            id="service account",
        ),
        pytest.param(
            policy("targetRefs: [{kind: Namespace, name: default}]"), ["default/Pod/any"], id="namespace"
        ),
        pytest.param(
            policy("targetRefs: [{kind: Namespace, name: other}]"),
            [],
            id="a namespace that is not the policy's own",
        ),
        pytest.param(policy("selector: {}"), ["default/Pod/any"], id="empty selector"),
        pytest.param(policy("selector: {matchLabels: {app: chat}}"), ["default/Pod/it"], id="selector"),
        pytest.param(
            policy("targetRefs: [{kind: Namespace, name: default}]")
            + policy("targetRefs: [{kind: Deployment, name: chat}]", "chat"),
            ["default/Deployment/chat"],
            id="a namespace that has a stand-in already",
        ),
        pytest.param(
            policy("selector: {matchLabels: {a: b}}") + policy("selector: {}", "all"),
            ["default/Pod/it"],
            id="a selector that a stand-in meets already",
        ),
        pytest.param(FLOOR, ["default/Pod/any"], id="cluster policy alone"),
        pytest.param(
            FLOOR + policy("selector: {}", namespace="team-a"), ["team-a/Pod/any"], id="cluster policy too"
        ),
        pytest.param(
            "{kind: Namespace, name: team-b, labels: {team: b}}\n---\n"
            + FLOOR.replace("{}", "{matchLabels: {team: b}}"),
            ["team-b/Pod/any"],
            id="cluster policy for labelled namespaces",
        ),
        pytest.param(FLOOR.replace("{}", "{matchLabels: {team: b}}"), [], id="cluster policy for nobody"),
        pytest.param(
            "{kind: Workload, id: default/Deployment/chat}\n---\n"
            + policy("targetRefs: [{kind: Deployment, name: chatt}]"),
            [],
            id="a namespace with workloads of its own",
        ),
        pytest.param(policy("mode: Off"), ["default/Pod/any"], id="a policy without readable targets"),
        pytest.param("{kind: Namespace, name: a}", [], id="no policy"),
    ],
)
def test_stand_ins(read: Read, manifests: str, expected: list[str]) -> None:
    assert [str(workload) for workload in implied_workloads(read(manifests))] == expected


def test_every_stand_in_meets_its_policy(read: Read) -> None:
    text = (
        policy("targetRefs: [{kind: CronJob, name: a}]", "a")
        + policy("targetRefs: [{kind: ServiceAccount, name: b}]", "b")
        + policy(
            "selector: {matchExpressions: [{key: x, operator: In, values: [q, p]}, {key: y, operator: Exists}, "
            "{key: z, operator: NotIn, values: [v]}, {key: w, operator: DoesNotExist}]}",
            "c",
        )
    )
    snapshot = read(text)
    workloads = implied_workloads(snapshot)
    compilation = compile_snapshot(
        Snapshot(stored={AI_POLICY.name: snapshot.of(AI_POLICY)}, workloads=workloads)
    )
    assert {ref.name for key in compilation.configs for ref in key.policies} == {"a", "b", "c"}
    assert not [it for it in compilation.diagnostics if it.reason == "TargetNotFound"]


def test_a_selector_that_nothing_can_meet_has_no_stand_in(read: Read) -> None:
    contradiction = "{key: a, operator: Exists}, {key: a, operator: DoesNotExist}"
    assert implied_workloads(read(policy(f"selector: {{matchExpressions: [{contradiction}]}}"))) == ()


words = st.sampled_from(["a", "b", "c"])


@given(
    labels=st.dictionaries(words, words),
    key=st.sampled_from(["x", "y"]),
    values=st.lists(words, min_size=1, unique=True),
    operator=st.sampled_from(["In", "Exists"]),
)
def test_labels_for_a_selector_meet_it(
    labels: dict[str, str], key: str, values: list[str], operator: str
) -> None:
    expression = {"key": key, "operator": operator, "values": values if operator == "In" else []}
    selector = LabelSelector.model_validate(
        {"matchLabels": labels, "matchExpressions": [expression]}, strict=False
    )
    assert selector.matches(labels_for(selector))


def test_stand_ins_are_found_as_workloads_are(read: Read) -> None:
    """By their names: labels are no part of what a workload is called."""
    (workload,) = implied_workloads(read(policy("selector: {matchLabels: {app: chat}}")))
    assert workload == Workload(namespace="default", kind="Pod", name="it", labels={"app": "chat"})
    assert hash(workload) == hash(Workload(namespace="default", kind="Pod", name="it", labels={}))
