"""AdmissionReview v1, as the API server sends it (PURE): bytes to a value.

Strict about what decisions rest on, tolerant of everything else: fields that later versions bring are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tidegate_operator.api.problems import describe
from tidegate_operator.inject.document import Document, part

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

_OBJECTS: Final = ("metadata", "spec")
_LISTS: Final = ("containers", "initContainers", "volumes", "imagePullSecrets")


class RequestError(ValueError):
    """This is no AdmissionReview that can be answered; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked.

    Attributes:
        uid: of the question, to be repeated in the answer.
        operation: CREATE, UPDATE, DELETE or CONNECT.
        kind: of the object, such as Pod.
        namespace: empty for cluster-scoped objects. A pod that a controller makes may not say it itself.
        name: empty while the API server has still to generate it.
        object: as it is to be; empty when it is to be deleted.
        old: as it is; None when it is new.
    """

    uid: str
    operation: str
    kind: str
    namespace: str
    name: str
    object: Document
    old: Document | None

    @property
    def subject(self) -> str:
        """The object, for people: `Pod team-a/chat-`, with the prefix of a name that is not there yet."""
        name = self.name or str(part(self.object, "metadata").get("generateName") or "")
        return f"{self.kind} {self.namespace}/{name}" if self.namespace else f"{self.kind} {name}"


def read_request(body: bytes) -> Request:
    """Read an AdmissionReview.

    Raises:
        RequestError: it is none.
    """
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if not isinstance(review, dict) or (review.get("apiVersion"), review.get("kind")) != (API_VERSION, KIND):
        found = review.get("apiVersion") if isinstance(review, dict) else review
        raise RequestError(f"expected {KIND} of {API_VERSION}, found {describe(found)}")
    request = _object(review, "request", ())
    kind = _object(request, "kind", ("request",))
    document = _object(request, "object", ("request",), is_required=False)
    old = _object(request, "oldObject", ("request",), is_required=False)
    for found, where in ((document, "object"), (old, "oldObject")):
        _check(found, f"request.{where}")
    return Request(
        uid=_text(request, "uid"),
        operation=_text(request, "operation"),
        kind=_text(kind, "kind"),
        namespace=str(request.get("namespace") or ""),
        name=str(request.get("name") or ""),
        object=document,
        old=old or None,
    )


def _object(
    document: Mapping[str, Any], key: str, path: tuple[str, ...], *, is_required: bool = True
) -> dict[str, Any]:
    found = document.get(key)
    if found is None and not is_required:
        return {}
    if not isinstance(found, dict):
        raise RequestError(f"{'.'.join((*path, key))}: expected an object, found {describe(found)}")
    return found


def _text(document: Mapping[str, Any], key: str) -> str:
    found = document.get(key)
    if not isinstance(found, str) or not found:
        raise RequestError(f"request.{key}: expected a text, found {describe(found)}")
    return found


def _check(document: Document, path: str) -> None:
    """The shape that decisions take for granted, as deep as a pod has it: the API server has checked the rest."""
    for key in _OBJECTS:
        if not isinstance(document.get(key) or {}, dict):
            raise RequestError(f"{path}.{key}: expected an object, found {describe(document[key])}")
    for key in ("annotations", "labels"):
        found = part(document, "metadata").get(key) or {}
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise RequestError(f"{path}.metadata.{key}: expected texts by name, found {describe(found)}")
    for key in _LISTS:
        found = part(document, "spec").get(key) or []
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise RequestError(f"{path}.spec.{key}: expected a list of objects, found {describe(found)}")
