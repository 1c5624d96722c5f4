"""The webhook configuration: who can ever be held up by the injector. The real API server tests prove its CEL."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tidegate_operator.inject.configuration import (
    NAME,
    Service,
    Url,
    trust_patch,
    verifying_configuration,
    webhook_configuration,
)
from tidegate_operator.inject.review import Entry

WEBHOOKS: dict[str, dict[str, Any]] = {
    webhook["name"]: webhook
    for webhook in webhook_configuration(Service(namespace="tidegate-system"), excluded=("tidegate-system",))[
        "webhooks"
    ]
}
VERIFYING: dict[str, dict[str, Any]] = {
    webhook["name"]: webhook
    for webhook in verifying_configuration(
        Service(namespace="tidegate-system"), excluded=("tidegate-system",)
    )["webhooks"]
}


def test_what_verifies_is_asked_about_the_pods_that_are_injected_and_nothing_else() -> None:
    assert list(VERIFYING) == [
        "verified-pods.inject.tidegate.dev",
        "verified-pods-of-namespaces.inject.tidegate.dev",
    ]
    for name, webhook in VERIFYING.items():
        changing = WEBHOOKS[name.removeprefix("verified-")]
        differing = {key for key in changing if changing[key] != webhook.get(key)}
        assert differing == {"name", "clientConfig", "reinvocationPolicy", "sideEffects"}
        assert webhook.keys() == changing.keys() - {"reinvocationPolicy"}


@pytest.mark.parametrize(
    "mesh", ["istio-revision-tag-default", "istio-sidecar-injector", "linkerd-proxy-injector"]
)
def test_it_is_called_before_the_meshes(mesh: str) -> None:
    assert mesh > NAME


@pytest.mark.parametrize("name", list(WEBHOOKS))
def test_every_entry_has_what_keeps_others_safe(name: str) -> None:
    webhook = WEBHOOKS[name]
    assert name.count(".") >= 3  # as the API server demands of the names of entries
    assert webhook["timeoutSeconds"] == 5
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert webhook["sideEffects"] == "NoneOnDryRun"
    assert webhook["matchConditions"]
    assert webhook["namespaceSelector"]["matchExpressions"][0] == {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": ["kube-node-lease", "kube-system", "tidegate-system"],
    }
    for rule in webhook["rules"]:
        assert set(rule["operations"]) <= {"CREATE", "UPDATE"}
        assert not any("/" in resource or "*" in resource for resource in rule["resources"])


@pytest.mark.parametrize("name", list(WEBHOOKS))
def test_whatever_can_be_updated_can_be_deleted_without_us(name: str) -> None:
    webhook = WEBHOOKS[name]
    if any("UPDATE" in rule["operations"] for rule in webhook["rules"]):
        conditions = {it["expression"] for it in webhook["matchConditions"]}
        assert "!has(object.metadata.deletionTimestamp)" in conditions


def test_only_what_changes_something_can_hold_anything_up() -> None:
    policies = {name.partition(".")[0]: webhook["failurePolicy"] for name, webhook in WEBHOOKS.items()}
    assert policies == {
        "pods": "Fail",
        "pods-of-namespaces": "Fail",
        "workloads": "Fail",
        "new-jobs": "Fail",
        "cronjobs": "Fail",
        "jobs": "Ignore",
        "namespaces": "Ignore",
    }


@pytest.mark.parametrize("name", list(WEBHOOKS))
def test_no_field_is_read_that_was_not_looked_for(name: str) -> None:
    """An expression that fails to evaluate refuses the request without asking us."""
    for condition in WEBHOOKS[name]["matchConditions"]:
        read = set(re.findall(r"((?:object|oldObject)[.\w]+)\[", condition["expression"]))
        looked_for = set(re.findall(r"has\(([.\w]+)\)", condition["expression"]))
        assert read <= looked_for


def test_jobs_are_followed_only_when_they_are_new() -> None:
    rules = {
        name: rule["operations"]
        for name, webhook in WEBHOOKS.items()
        for rule in webhook["rules"]
        if "jobs" in rule["resources"]
    }
    assert rules == {"new-jobs.inject.tidegate.dev": ["CREATE"], "jobs.inject.tidegate.dev": ["UPDATE"]}


def test_the_service_is_called_at_the_entrys_path() -> None:
    assert WEBHOOKS["cronjobs.inject.tidegate.dev"]["clientConfig"] == {
        "service": {
            "namespace": "tidegate-system",
            "name": "tidegate-injector",
            "path": "/workloads",
            "port": 443,
        }
    }
    paths = {it["clientConfig"]["service"]["path"] for it in (*WEBHOOKS.values(), *VERIFYING.values())}
    assert paths == {f"/{entry.value}" for entry in Entry}


def test_the_bundle_is_left_to_whoever_owns_it() -> None:
    assert all("caBundle" not in webhook["clientConfig"] for webhook in WEBHOOKS.values())
    given = webhook_configuration(Url(base="https://127.0.0.1:9443"), trust="CA\n")["webhooks"][0][
        "clientConfig"
    ]
    assert given == {"url": "https://127.0.0.1:9443/pods", "caBundle": base64.b64encode(b"CA\n").decode()}


def test_the_patch_of_the_bundle_names_every_entry_and_changes_nothing_else() -> None:
    patch = trust_patch("CA\n")
    assert [webhook["name"] for webhook in patch["webhooks"]] == [*WEBHOOKS, *VERIFYING]
    assert all(set(webhook) == {"name", "clientConfig"} for webhook in patch["webhooks"])
