"""The status annotation (PURE): what an injected pod says about its injection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tidegate_operator.inject.document import Document, annotations_of
from tidegate_operator.inject.names import STATUS
from tidegate_operator.inject.sealing import Given


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What was injected.

    Attributes:
        version: of Tidegate.
        template: `container.template_hash`; pods with another one than the platform's are outdated.
        environment: names of variables that were added, by container.
        image: that the sidecar was given.
        given: what of the container and of the pod's volumes is the sidecar's.
        seal: `sealing.seal` of it all: another release of the injector cannot work out what this one has given.
        kept: base URLs that the application had set itself, by container: calls that go there pass no sidecar.
    """

    version: str = ""
    template: str = ""
    image: str = ""
    given: Given = field(default_factory=Given)
    seal: str = ""
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_text(self) -> str:
        """As it stands in the annotation."""
        document: dict[str, object] = {"version": self.version, "template": self.template}
        document |= {"image": self.image, "volumes": sorted(self.given.volumes), "seal": self.seal}
        if self.given.variables:
            document["variables"] = sorted(self.given.variables)
        document["environment"] = self.environment
        if self.kept:
            document["kept"] = self.kept
        return json.dumps(document, separators=(",", ":"))


def read_status(pod: Document) -> Status | None:
    """What a pod says; None when it says nothing that can be read, which a person may have written."""
    try:
        found = json.loads(annotations_of(pod).get(STATUS, ""))
        return Status(
            version=str(found["version"]),
            template=str(found["template"]),
            image=str(found.get("image", "")),
            given=Given(
                variables=frozenset(_words(found.get("variables", ()))),
                volumes=frozenset(_words(found.get("volumes", ()))),
            ),
            seal=str(found.get("seal", "")),
            environment=_names(found["environment"]),
            kept=_names(found.get("kept", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _names(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {str(name): _words(variables) for name, variables in found.items()}


def _words(found: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(word) for word in found)
