"""The seal on a sidecar (PURE): by it an injector of another release knows what this one has given.

While replicas are replaced, one may inject and another have the last word. It cannot work out what the other's template
asks for, so the status of the pod says what was given, and the seal, by the key that all replicas have, that it is true.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.inject.container import (
    FROM_THE_POD,
    NO_OVERRIDES,
    TRUST,
    PodFacts,
    container,
    volumes,
)
from tidegate_operator.inject.document import Document, items
from tidegate_operator.inject.template import Template

PREFIX: Final = "TIDEGATE_"
"""Of variables that are the sidecar's in every release."""

_PORT_PREFIX: Final = "tidegate-"
_MOUNT_FIELDS: Final = ("name", "mountPath", "readOnly", "subPath", "subPathExpr", "mountPropagation")
_DEFAULT_MODE: Final = 0o644
"""Of files in a volume, which the API server writes where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a sidecar was given, beside what its names tell already.

    Attributes:
        variables: names of those that do not begin with `PREFIX`, such as a proxy's.
        volumes: names of the pod's volumes that are the sidecar's.
    """

    variables: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()

    def variables_of(self, found: Document) -> list[Document]:
        """Those variables of a container that are the sidecar's."""
        return [it for it in items(found, "env") if self._is_variable(str(it.get("name", "")))]

    def mounts_of(self, found: Document) -> list[Document]:
        """Those mounts of a container that are of the sidecar's volumes."""
        return [it for it in items(found, "volumeMounts") if it.get("name") in self.volumes]

    def _is_variable(self, name: str) -> bool:
        return name.startswith(PREFIX) or name in self.variables


@functools.lru_cache(maxsize=8)
def given_by(template: Template) -> Given:
    """What the sidecars of a platform are given."""
    variables = (str(it["name"]) for it in container(template, "", NO_OVERRIDES, PodFacts())["env"])
    return Given(
        variables=frozenset(it for it in variables if not it.startswith(PREFIX)),
        volumes=frozenset(it["name"] for it in volumes(template)),
    )


def ports_of(found: Document) -> list[Document]:
    """Those ports of a container that are the sidecar's."""
    return [it for it in items(found, "ports") if str(it.get("name", "")).startswith(_PORT_PREFIX)]


def seal(key: bytes, image: str, sidecar: Document, pod_volumes: Collection[Document], given: Given) -> str:
    """What stands in `Status.seal`.

    Args:
        key: that all replicas of the injector have.
        image: that the sidecar was given; a mirror may have taken its place in the container.
        sidecar: its container.
        pod_volumes: all of the pod's.
        given: what of them is the sidecar's.
    """
    content = [
        image,
        sidecar.get("command"),
        sorted((it.get("name"), it.get("containerPort")) for it in ports_of(sidecar)),
        sorted(_variables(sidecar, given)),
        sorted(
            json.dumps({name: it[name] for name in _MOUNT_FIELDS if it.get(name)})
            for it in given.mounts_of(sidecar)
        ),
        sorted(_text(_without_default_modes(it)) for it in pod_volumes if it.get("name") in given.volumes),
        [sorted(given.variables), sorted(given.volumes)],
    ]
    return hmac.new(key, _text(content).encode(), hashlib.sha256).hexdigest()[:32]


def _variables(sidecar: Document, given: Given) -> Iterator[str]:
    """Those that mean the same whatever others change of the pod, and whichever authorities a replica knows."""
    for it in given.variables_of(sidecar):
        if it["name"] not in (*FROM_THE_POD, TRUST):
            yield _text([it["name"], it.get("value") or "", it.get("valueFrom")])


def _without_default_modes(volume: Document) -> dict[str, Any]:
    return {
        name: {key: value for key, value in source.items() if (key, value) != ("defaultMode", _DEFAULT_MODE)}
        if isinstance(source, Mapping)
        else source
        for name, source in volume.items()
    }


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
