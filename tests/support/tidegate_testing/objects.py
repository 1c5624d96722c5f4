"""Objects of an API server by requests, for what surrounds a test: each start of kubectl costs more than most tests.

Kinds are named as in kubectl (`aipolicy`, `deployments`, `Pod`). Where a test is about what a person does, it runs kubectl.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.loopback import Answer

_APIS = (
    "v1",
    "apps/v1",
    "batch/v1",
    "tidegate.dev/v1alpha1",
    "events.k8s.io/v1",
    "coordination.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
    "admissionregistration.k8s.io/v1",
)
"""Where words for kinds are looked up; the first that knows one has it."""

_NOT_FOUND = 404
_ERROR = 400


class ObjectRefusedError(Exception):
    """The API server refused; the message has its words."""


class _Resource(NamedTuple):
    api: str
    plural: str
    is_namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        inside = f"/namespaces/{namespace or 'default'}" if self.is_namespaced else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


class Objects:
    """Reads and writes as the administrator; kinds are learnt from the server when they are first named."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._resources: dict[tuple[str, str], _Resource] = {}

    def apply(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply, by force.

        Raises:
            ObjectRefusedError: it was refused.
        """
        metadata = document["metadata"]
        resource = self._resource(document["kind"], document["apiVersion"])
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        answer = self._control_plane.request(
            "PATCH",
            f"{path}?fieldManager=tidegate-tests&fieldValidation=Strict&force=true",
            body=document,
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return _accepted(answer, path)

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None where it is not there."""
        path = self._resource(kind).path(namespace, name)
        answer = self._control_plane.request("GET", path)
        return None if answer.status == _NOT_FOUND else _accepted(answer, path)

    def list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All of a kind in a namespace."""
        path = self._resource(kind).path(namespace)
        items: list[dict[str, Any]] = _accepted(self._control_plane.request("GET", path), path)["items"]
        return items

    def delete(self, kind: str, namespace: str, name: str = "", *, at_once: bool = False) -> None:
        """Delete an object, or without a name all of its kind; what is not there is no error.

        Args:
            kind: as above.
            namespace: empty for a kind without.
            name: of the object.
            at_once: pods get no time to end, which without a node nobody would shorten.
        """
        path = self._resource(kind).path(namespace, name)
        body = {"gracePeriodSeconds": 0} if at_once else None
        answer = self._control_plane.request("DELETE", path, body=body)
        if answer.status != _NOT_FOUND:
            _accepted(answer, path)

    def _resource(self, kind: str, api: str = "") -> _Resource:
        key = (api, kind.lower())
        if key not in self._resources:
            for it in (api,) if api else _APIS:
                self._learn(it)
        if key not in self._resources:
            raise ObjectRefusedError(f"the API server serves no {kind} {api}".rstrip())
        return self._resources[key]

    def _learn(self, api: str) -> None:
        path = f"/apis/{api}" if "/" in api else f"/api/{api}"
        answer = self._control_plane.request("GET", path)
        if answer.status == _NOT_FOUND:
            return
        for it in _accepted(answer, path)["resources"]:
            if "/" in it["name"]:
                continue
            found = _Resource(api, it["name"], it["namespaced"])
            for word in (it["name"], it["singularName"], it["kind"].lower(), *it.get("shortNames", ())):
                self._resources.setdefault(("", word), found)
                self._resources[api, word] = found


def _accepted(answer: Answer, path: str) -> dict[str, Any]:
    if answer.status >= _ERROR:
        raise ObjectRefusedError(f"{path}: {answer.status}: {answer.text}")
    document: dict[str, Any] = answer.json()
    return document
