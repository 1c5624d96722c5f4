"""A platform, and asking the injector the way the API server does."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from tidegate_operator.inject.pod import Platform
from tidegate_operator.inject.request import Request, read_request
from tidegate_operator.inject.response import Outcome
from tidegate_operator.inject.review import Entry, answer
from tidegate_operator.inject.template import Template

TRUST = "-----BEGIN CERTIFICATE-----\nof the operator\n-----END CERTIFICATE-----\n"
TEMPLATE = Template(
    version="0.1.0",
    image="registry.example/tidegate/sidecar:0.1.0",
    operator_url="https://tidegate-operator.tidegate-system.svc:8443",
    images=("registry.example/tidegate/sidecar-debug:0.1.0", "mirror.example/tidegate/*"),
)
PLATFORM = Platform(template=TEMPLATE, trust=TRUST)


def review(
    document: Mapping[str, Any],
    *,
    operation: str = "CREATE",
    old: Mapping[str, Any] | None = None,
    **more: Any,
) -> bytes:
    """An AdmissionReview as the API server sends it."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": document.get("kind", "Pod")},
        "operation": operation,
        "namespace": "team-a",
        "name": "chat",
        "object": document,
        "oldObject": old,
        "dryRun": False,
        "options": None,
    }
    return orjson.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request | more}
    )


def request(document: Mapping[str, Any], **more: Any) -> Request:
    return read_request(review(document, **more))


def ask(
    document: Mapping[str, Any], entry: Entry = Entry.PODS, platform: Platform = PLATFORM, **more: Any
) -> Outcome:
    return answer(entry, request(document, **more), platform)


def injected(
    document: Mapping[str, Any], entry: Entry = Entry.PODS, platform: Platform = PLATFORM
) -> dict[str, Any]:
    """The pod as it is stored."""
    outcome = ask(document, entry, platform)
    assert outcome.allowed, outcome.message
    return patched(document, outcome.patch)


def patched(document: Mapping[str, Any], operations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What RFC 6902 makes of a document; `KeyError` or `IndexError` for a place that is not there."""
    root: dict[str, Any] = {"": copy.deepcopy(dict(document))}
    for operation in operations:
        match operation["op"]:
            case "add":
                _add(root, operation["path"], copy.deepcopy(operation["value"]))
            case "remove":
                _remove(root, operation["path"])
            case "replace":
                _remove(root, operation["path"])
                _add(root, operation["path"], copy.deepcopy(operation["value"]))
            case "move":
                _add(root, operation["path"], _remove(root, operation["from"]))
            case other:
                raise AssertionError(other)
    found: dict[str, Any] = root[""]
    return found


def _add(root: Any, path: str, value: Any) -> None:
    parent, key = _find(root, path)
    if isinstance(parent, list):
        if key > len(parent):
            raise IndexError(path)
        parent.insert(key, value)
    else:
        parent[key] = value


def _remove(root: Any, path: str) -> Any:
    parent, key = _find(root, path)
    return parent.pop(key)


def _find(root: Any, path: str) -> tuple[Any, Any]:
    *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]
    for step in parents:
        root = root[int(step) if isinstance(root, list) else step]
    return root, int(last) if isinstance(root, list) else last
