"""AdmissionReview v1 in: strict about what decisions rest on, tolerant of the rest."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injecting_shapes.platform import PLATFORM, review
from injecting_shapes.pods import pod

from tidegate_operator.inject.request import RequestError, read_request
from tidegate_operator.inject.response import Outcome, Result, write_response
from tidegate_operator.inject.review import Entry, answer


def test_what_later_versions_add_is_not_looked_at() -> None:
    document = orjson.loads(review(pod(), requestSubResource="", novelty={"a": 1}))
    document["also"] = "new"
    found = read_request(orjson.dumps(document))
    assert (found.kind, found.operation, found.namespace, found.old) == ("Pod", "CREATE", "team-a", None)


def test_the_namespace_is_the_requests_own() -> None:
    """A pod that a ReplicaSet makes does not say it."""
    document = pod()
    del document["metadata"]["name"]
    document["metadata"]["generateName"] = "chat-"
    assert read_request(review(document, name="")).subject == "Pod team-a/chat-"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"[]", "expected AdmissionReview of admission.k8s.io/v1, found a list"),
        (
            b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}',
            "found 'admission.k8s.io/v1beta1'",
        ),
        (
            b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
            "request: expected an object, found nothing",
        ),
        (review(pod(), uid=""), "request.uid: expected a text, found ''"),
        (review(pod(), kind="Pod"), "request.kind: expected an object, found 'Pod'"),
        (review(pod(), object=[]), "request.object: expected an object, found a list"),
        (review({"metadata": 7}), "request.object.metadata: expected an object, found the number 7"),
        (
            review({"metadata": {"labels": {"a": 1}}}),
            "request.object.metadata.labels: expected texts by name",
        ),
        (
            review({"spec": {"containers": "app"}}),
            "request.object.spec.containers: expected a list of objects",
        ),
        (review({"spec": {"volumes": [1]}}), "request.object.spec.volumes: expected a list of objects"),
        (b"[" * 100_000, "the body is not JSON"),
    ],
)
def test_what_is_no_review_is_told(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message.replace(".", r"\.").replace("[", r"\[")):
        read_request(body)


@pytest.mark.parametrize("entry", list(Entry))
def test_an_entry_takes_no_other_kinds(entry: Entry) -> None:
    with pytest.raises(RequestError, match=f"/{entry.value} is for"):
        answer(entry, read_request(review(pod() | {"kind": "ReplicaSet"})), PLATFORM)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metadata", "spec", "name"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.binary(max_size=20) | JSON.map(orjson.dumps) | JSON.map(lambda found: review({"spec": found})))
def test_nothing_makes_reading_fail_otherwise(body: Any) -> None:
    with suppress(RequestError):
        read_request(body)


def test_the_answer_repeats_the_uid_and_has_the_patch_in_base64() -> None:
    outcome = Outcome(result=Result.INJECTED, patch=({"op": "remove", "path": "/a"},), warnings=("b",))
    document = orjson.loads(write_response("705a", outcome))
    assert document == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "705a",
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=",
            "warnings": ["tidegate: b"],
        },
    }


def test_an_answer_without_a_patch_names_no_type_of_it() -> None:
    """The API server refuses the one without the other."""
    assert orjson.loads(write_response("1", Outcome(result=Result.SKIPPED)))["response"] == {
        "uid": "1",
        "allowed": True,
    }
