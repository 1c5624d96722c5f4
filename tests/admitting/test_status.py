"""The status: bounded, the operator's alone to write, and merged condition by condition."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from tidegate_samples.derived import status_samples
from tidegate_samples.places import changed, valid_documents
from tidegate_samples.server import collection

from tidegate_operator.api.conditions import REASONS
from tidegate_operator.api.kinds import API_VERSION, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_samples.sample import Document, Sample
    from tidegate_samples.server import Reply, Server

ACCEPTED = [sample for sample in status_samples() if not sample.said]
REJECTED = [sample for sample in status_samples() if sample.said]

POOL = KINDS["ProviderPool"]
SINCE = "2026-11-21T10:00:00Z"


def name_of(sample: Sample) -> str:
    return sample.name


def write_status(server: Server, stored: Mapping[str, Document], sample: Sample) -> Reply:
    """Ask whether the stored object could have the status of a sample."""
    document = stored[sample.kind.name] | {"status": sample.document["status"]}
    path = f"{collection(sample.kind, document['metadata'].get('namespace'))}/sample/status"
    return server.send("PUT", path, document, dryRun="All", fieldValidation="Strict")


def is_valid(sample: Sample) -> bool:
    """Whether our model of the status, with which it is written, has room for this."""
    try:
        sample.kind.status.model_validate_json(json.dumps(sample.document["status"]))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("sample", ACCEPTED, ids=name_of)
def test_accepted_by_both(server: Server, stored: Mapping[str, Document], sample: Sample) -> None:
    assert is_valid(sample)
    reply = write_status(server, stored, sample)
    assert reply.complaints == []
    assert reply.warnings == []


@pytest.mark.parametrize("sample", REJECTED, ids=name_of)
def test_rejected_by_both(server: Server, stored: Mapping[str, Document], sample: Sample) -> None:
    assert not is_valid(sample)
    complaints = write_status(server, stored, sample).complaints
    assert any(sample.said in complaint.message for complaint in complaints), complaints
    assert [complaint for complaint in complaints if not complaint.is_at(sample.field)] == []


def condition(kind: str, status: str = "True", reason: str = "Ready") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": SINCE,
    }


@pytest.fixture
def pool(server: Server, namespace: str) -> Iterator[str]:
    """Path of a new pool without status."""
    document = changed(valid_documents(POOL)[0], ("metadata", "namespace"), namespace)
    assert server.send("POST", collection(POOL, namespace), document).complaints == []
    yield f"{collection(POOL, namespace)}/sample"
    server.send("DELETE", f"{collection(POOL, namespace)}/sample")


def apply_conditions(server: Server, pool: str, manager: str, *conditions: dict[str, Any]) -> Reply:
    body = {
        "apiVersion": API_VERSION,
        "kind": POOL.name,
        "metadata": {"name": "sample"},
        "status": {"conditions": list(conditions)},
    }
    return server.apply(f"{pool}/status", body, manager)


def conditions_of(reply: Reply) -> dict[str, str]:
    return {it["type"]: it["status"] for it in reply.document.get("status", {}).get("conditions", ())}


def test_conditions_of_two_writers_are_merged_by_type(server: Server, pool: str) -> None:
    apply_conditions(server, pool, "first", condition("Accepted"), condition("Programmed", "False"))
    both = apply_conditions(server, pool, "second", condition("Ready"))
    assert conditions_of(both) == {"Accepted": "True", "Programmed": "False", "Ready": "True"}


def test_a_writer_changes_its_own_conditions_alone(server: Server, pool: str) -> None:
    apply_conditions(server, pool, "first", condition("Accepted"), condition("Programmed"))
    apply_conditions(server, pool, "second", condition("Ready"))
    after = apply_conditions(server, pool, "first", condition("Accepted", "False", "Invalid"))
    assert conditions_of(after) == {"Accepted": "False", "Ready": "True"}


def test_a_writer_does_not_take_over_the_condition_of_another_unnoticed(server: Server, pool: str) -> None:
    apply_conditions(server, pool, "first", condition("Accepted"))
    reply = apply_conditions(server, pool, "second", condition("Accepted", "False", "Invalid"))
    assert reply.status == 409
    assert 'conflicts with "first"' in reply.document["message"]


def test_a_status_in_a_manifest_is_not_stored(server: Server, pool: str) -> None:
    """Whoever may write pools cannot thereby call one ready."""
    manifest = server.send("GET", pool).document
    manifest["status"] = {"conditions": [condition("Ready")]}
    reply = server.send("PUT", pool, manifest)
    assert reply.complaints == []
    assert reply.document["status"] == {"observedGeneration": -1}


def test_writing_the_status_leaves_the_spec_and_its_generation(server: Server, pool: str) -> None:
    document = server.send("GET", pool).document
    document["status"] = {"observedGeneration": 1}
    document["spec"]["suspend"] = True
    reply = server.send("PUT", f"{pool}/status", document)
    assert reply.document["status"] == {"observedGeneration": 1}
    assert "suspend" not in reply.document["spec"]
    assert reply.document["metadata"]["generation"] == 1


def test_writing_the_spec_raises_the_generation(server: Server, pool: str) -> None:
    document = server.send("GET", pool).document
    document["spec"]["suspend"] = True
    assert server.send("PUT", pool, document).document["metadata"]["generation"] == 2


def test_every_condition_that_the_operator_can_write_fits(server: Server, pool: str) -> None:
    for kind, reasons in REASONS.items():
        for reason in sorted(reasons):
            reply = apply_conditions(server, pool, "operator", condition(kind.value, "Unknown", reason.value))
            assert conditions_of(reply) == {kind.value: "Unknown"}
