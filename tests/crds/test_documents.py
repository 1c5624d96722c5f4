"""What surrounds the spec: version, kind, metadata, and what YAML makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tidegate_operator.api.parse import MAX_DEPTH, is_ours, parse_object
from tidegate_policy.model import ObjectRef


def test_a_valid_document_is_stored_with_what_it_says_of_itself(document: dict[str, Any]) -> None:
    document["metadata"] |= {
        "creationTimestamp": "2026-11-21T10:00:00+02:00",
        "generation": 7,
        "labels": {"a": "b"},
        "uid": "x",
    }
    document["status"] = {"whatever": 1}
    parsed = parse_object(document)
    assert parsed.problems == ()
    assert parsed.stored is not None
    assert parsed.stored.ref == ObjectRef(kind="AIPolicy", namespace="team-a", name="chat")
    assert (parsed.stored.created, parsed.stored.generation) == ("2026-11-21T08:00:00Z", 7)
    assert parsed.stored.spec is not None
    assert (parsed.stored.problem, parsed.stored.targets) == (None, {})


def test_a_manifest_without_namespace_belongs_to_default(document: dict[str, Any]) -> None:
    del document["metadata"]["namespace"]
    stored = parse_object(document).stored
    assert stored is not None
    assert stored.ref.namespace == "default"


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (None, ""),
        ("yesterday", ""),
        (datetime(2026, 11, 21, 10, tzinfo=timezone(timedelta(hours=2))), "2026-11-21T08:00:00Z"),
        (datetime(2026, 11, 21, 10, tzinfo=UTC).replace(tzinfo=None), "2026-11-21T10:00:00Z"),
    ],
)
def test_ages_compare_as_text(document: dict[str, Any], created: object, expected: str) -> None:
    document["metadata"]["creationTimestamp"] = created
    stored = parse_object(document).stored
    assert stored is not None
    assert stored.created == expected


def test_an_invalid_object_keeps_its_targets_and_its_first_problem(document: dict[str, Any]) -> None:
    """So that the compiler can deny what it would have applied to."""
    document["spec"] |= {"mode": "Off", "color": "red"}
    stored = parse_object(document).stored
    assert stored is not None
    assert stored.spec is None
    assert stored.problem == "spec.mode: expected one of Enforce, Shadow, found 'Off' (and 1 more)"
    assert stored.targets["targetRefs"] == [{"kind": "Deployment", "name": "chat"}]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            ("apiVersion",),
            "tidegate.dev/v1",
            "apiVersion: expected tidegate.dev/v1alpha1, found 'tidegate.dev/v1'",
        ),
        (("apiVersion",), 1, "apiVersion: expected tidegate.dev/v1alpha1, found the number 1"),
        (
            ("kind",),
            "AIPolicies",
            (
                "kind: expected one of AIPolicy, ClusterAIPolicy, ProviderCredential, ProviderPool, found 'AIPolicies'; "
                "did you mean AIPolicy?"
            ),
        ),
        (("specs",), {}, "specs: unknown field; did you mean spec?"),
        (("spec",), None, "spec: missing; this field is required"),
        (("spec",), [], "spec: expected an object, found a list"),
        (("metadata",), None, "metadata: missing; metadata.name is required"),
        (("metadata",), "chat", "metadata: expected an object, found 'chat'"),
        (("metadata", "name"), None, "metadata.name: missing; this field is required"),
        (
            ("metadata", "name"),
            "Chat",
            "metadata.name: expected lower-case letters, digits, '-' and '.', at most 253 characters, found 'Chat'",
        ),
        (
            ("metadata", "namespace"),
            "team.a",
            "metadata.namespace: expected lower-case letters, digits and '-', at most 63 characters, found 'team.a'",
        ),
        (("metadata", "label"), {}, "metadata.label: unknown field; did you mean labels?"),
        (
            ("metadata", "labels"),
            {"a": True},
            "metadata.labels.a: expected a string, found true; put it in quotes",
        ),
        (
            ("spec", "mode"),
            datetime(2026, 11, 21, tzinfo=UTC),
            "spec.mode: found a date, which YAML made of plain text; put the text in quotes",
        ),
        (("spec", "mode"), b"x", "spec.mode: expected a value that JSON has, found a bytes"),
        (("spec", "mode"), float("nan"), "spec.mode: expected a number, found one that is not finite"),
        (("spec", 1), "x", "spec.1: the key of an object is a string, found the number 1; put it in quotes"),
    ],
)
def test_rejected(document: dict[str, Any], path: tuple[str, ...], value: object, said: str) -> None:
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    place[last] = value
    assert [str(problem) for problem in parse_object(document).problems] == [said]


@pytest.mark.parametrize("field", ["apiVersion", "kind"])
def test_a_missing_type_is_told_what_to_write(document: dict[str, Any], field: str) -> None:
    del document[field]
    (problem,) = parse_object(document).problems
    assert problem.path == (field,)
    assert problem.message.startswith("missing; write ")


def test_an_object_without_name_is_not_stored(document: dict[str, Any]) -> None:
    del document["metadata"]["name"]
    assert parse_object(document).stored is None


def test_an_object_with_an_unreadable_namespace_is_not_taken_for_one_of_another(
    document: dict[str, Any],
) -> None:
    document["metadata"]["namespace"] = "Team A"
    assert parse_object(document).stored is None


def test_a_cluster_scoped_object_has_no_namespace(document: dict[str, Any]) -> None:
    document |= {"kind": "ClusterAIPolicy", "spec": {"namespaceSelector": {}}}
    (problem,) = parse_object(document).problems
    assert str(problem) == "metadata.namespace: the kind is cluster-scoped; remove the namespace"


def test_a_document_that_contains_itself_is_refused(document: dict[str, Any]) -> None:
    """YAML aliases can do that."""
    document["spec"]["selector"] = document["spec"]
    assert any(
        f"nested deeper than {MAX_DEPTH}" in str(problem) for problem in parse_object(document).problems
    )


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [
        ("tidegate.dev/v1alpha1", "AIPolicy", True),
        ("tidegate.dev/v2", "Whatever", True),
        ("tidegat.dev/v1alpha1", "AIPolicy", True),
        ("apps/v1", "Deployment", False),
        ("v1", "Namespace", False),
    ],
)
def test_a_document_is_ours_by_its_group_or_by_its_kind(
    api_version: str, kind: str, *, expected: bool
) -> None:
    """A typing error in one of the two must not make a policy disappear."""
    assert is_ours({"apiVersion": api_version, "kind": kind}) is expected
