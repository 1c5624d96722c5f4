"""What is wrong is refused, and the message says what is allowed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from injecting_shapes.platform import ask, injected, request
from injecting_shapes.pods import container, pod

from tidegate_operator.inject.decide import DenyReason, SkipReason
from tidegate_operator.inject.names import INJECT
from tidegate_operator.inject.response import Result, failed, write_response
from tidegate_operator.inject.review import Entry

WRONG_OVERRIDES = [
    (
        "cpu-request",
        "fast",
        "annotation tidegate.dev/cpu-request is 'fast'; expected a quantity such as 100m or 0.5",
    ),
    ("cpu-request", "0", "at least 1m"),
    ("cpu-limit", "-1", "expected a quantity such as 100m or 0.5"),
    ("cpu-limit", "1e99", "expected a quantity"),
    (
        "memory-request",
        "64",
        "annotation tidegate.dev/memory-request is '64'; expected a quantity such as 128Mi, at least 16Mi",
    ),
    ("memory-limit", "128 Mi", "expected a quantity such as 128Mi"),
    ("memory-limit", "", "annotation tidegate.dev/memory-limit is ''"),
    (
        "image",
        "evil.example/sidecar:1",
        "registry.example/tidegate/sidecar:0.1.0, registry.example/tidegate/sidecar-debug:0.1.0, mirror.example/tidegate/*",
    ),
    ("image", "registry.example/tidegate/sidecar-debug:0.1.0-evil", "this platform allows"),
    ("image", "", "annotation tidegate.dev/image is ''; this platform allows"),
    ("startup", "wait", "annotation tidegate.dev/startup is 'wait'; allowed are Start or Wait"),
    (
        "exclude-env",
        "OPENAI_BASE_URL,PATH",
        "annotation tidegate.dev/exclude-env is 'PATH'; variables that can be excluded are OPENAI_BASE_URL, ",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_OVERRIDES)
def test_an_annotation_that_cannot_be_followed_is_refused(name: str, value: str, message: str) -> None:
    outcome = ask(pod(annotations={f"tidegate.dev/{name}": value}))
    assert (outcome.result, outcome.reason) == (Result.DENIED, DenyReason.WRONG_OVERRIDE)
    assert message in outcome.message


def test_everything_that_is_wrong_is_told_at_once() -> None:
    outcome = ask(pod(annotations={"tidegate.dev/cpu-limit": "x", "tidegate.dev/startup": "y"}))
    assert "tidegate.dev/cpu-limit is 'x'" in outcome.message
    assert "tidegate.dev/startup is 'y'" in outcome.message


def test_a_request_above_its_limit_is_refused() -> None:
    outcome = ask(pod(annotations={"tidegate.dev/cpu-request": "2", "tidegate.dev/cpu-limit": "1500m"}))
    assert outcome.message == (
        "annotation tidegate.dev/cpu-request is '2'; it must not be above tidegate.dev/cpu-limit, 1500m"
    )


@pytest.mark.parametrize("value", ["true", "yes", "Enabled", "", "on", "disable"])
def test_a_word_that_is_none_is_refused(value: str) -> None:
    outcome = ask(pod(annotations={INJECT: value}))
    assert (outcome.result, outcome.reason) == (Result.DENIED, DenyReason.WRONG_INJECT)
    assert outcome.message == f"annotation tidegate.dev/inject is {value!r}; allowed are enabled or disabled"


def test_label_and_annotation_that_contradict_each_other_are_refused() -> None:
    document = pod()
    document["metadata"]["labels"] = {INJECT: "disabled"}
    outcome = ask(document)
    assert outcome.reason == DenyReason.WRONG_INJECT
    assert "take one of them away" in outcome.message


def test_a_label_that_is_wrong_is_refused_as_a_label() -> None:
    document = pod()
    document["metadata"]["labels"] = {INJECT: "true"}
    assert ask(document).message.startswith("label tidegate.dev/inject is 'true'")


@pytest.mark.parametrize(
    ("document", "reason", "message"),
    [
        pytest.param(
            pod(container("tidegate-sidecar")),
            DenyReason.NAME_TAKEN,
            "give it another name",
            id="name of a container",
        ),
        pytest.param(
            pod(initContainers=[container("tidegate-sidecar", restartPolicy="Always")]),
            DenyReason.NAME_TAKEN,
            "a container is named tidegate-sidecar",
            id="name of a sidecar that somebody wrote by hand",
        ),
        pytest.param(
            pod(container(ports=[{"containerPort": 80}, {"containerPort": 19280}])),
            DenyReason.PORT_TAKEN,
            "container app has port 19280; the sidecar needs 19280 and 19290",
            id="port of the application",
        ),
        pytest.param(
            pod(initContainers=[container("other", ports=[{"containerPort": 19290}])]),
            DenyReason.PORT_TAKEN,
            "container other has port 19290",
            id="port of another sidecar",
        ),
        pytest.param(
            pod(volumes=[{"name": "tidegate-state", "emptyDir": {}}]),
            DenyReason.VOLUME_TAKEN,
            "a volume is named tidegate-state",
            id="name of a volume",
        ),
        pytest.param(
            pod(container(), container("istio-proxy"), annotations={"tidegate.dev/startup": "Wait"}),
            DenyReason.MESH_BLOCKS_START,
            "istio-proxy is an ordinary container",
            id="waiting for a configuration that a mesh will not let through",
        ),
    ],
)
def test_a_pod_in_which_the_sidecar_has_no_place_is_refused(
    document: dict[str, Any], reason: DenyReason, message: str
) -> None:
    outcome = ask(document)
    assert (outcome.result, outcome.reason) == (Result.DENIED, reason)
    assert message in outcome.message


def test_a_status_written_by_hand_does_not_pass_for_an_injection() -> None:
    document = pod(container("tidegate-sidecar"), annotations={"tidegate.dev/status": "{}"})
    assert ask(document).reason == DenyReason.NAME_TAKEN


def test_a_refusal_is_never_taken_for_a_field_that_cannot_change() -> None:
    """GitOps tools delete and create anew what is answered by 422 or with the word immutable."""
    outcome = ask(pod(annotations={INJECT: "true"}))
    status = orjson.loads(write_response("1", outcome))["response"]["status"]
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    assert "immutable" not in status["message"]


def test_a_fault_of_ours_refuses_and_says_so() -> None:
    response = orjson.loads(write_response("1", failed("KeyError")))["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, 500)
    assert "Tidegate's injector failed: KeyError" in response["status"]["message"]


@pytest.mark.parametrize("reason", list(SkipReason))
def test_every_reason_has_words(reason: SkipReason) -> None:
    assert reason.message


def test_what_was_skipped_although_asked_is_told() -> None:
    assert ask(pod(hostNetwork=True)).warnings == (
        "the pod gets no sidecar: with hostNetwork the sidecar's ports would be taken on the node, for all pods at once",
    )


def test_a_pod_of_a_namespace_that_said_nothing_is_left() -> None:
    document = pod()
    del document["metadata"]["annotations"]
    assert ask(document).reason == SkipReason.NOT_ASKED
    assert ask(document, Entry.PODS_OF_NAMESPACES).result is Result.INJECTED


def test_warnings_stay_within_what_the_api_server_takes() -> None:
    annotations = {f"tidegate.dev/{'x' * 240}{number}": "" for number in range(100)}
    response = orjson.loads(write_response("1", ask(pod(annotations=annotations))))["response"]
    assert sum(len(warning) for warning in response["warnings"]) < 4_096
    assert max(len(warning) for warning in response["warnings"]) <= 256


def test_updates_and_deletions_of_pods_are_left() -> None:
    assert ask(pod(), operation="UPDATE").result is Result.UNCHANGED
    assert request(pod(), operation="DELETE", object=None).object == {}
    assert injected(pod())["metadata"]["labels"] == {"tidegate.dev/injected": "true"}
