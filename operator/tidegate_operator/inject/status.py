"""The status annotation (PURE): what an injected pod says about its injection."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidegate_operator.inject.document import Document, annotations_of
from tidegate_operator.inject.names import STATUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What was injected.

    Attributes:
        version: of Tidegate.
        template: `container.template_hash`; pods with another one than the platform's are outdated.
        environment: names of variables that were added, by container.
        image: that the sidecar was given.
        seal: by whoever has the injector's key, on the image and our variables: another release of the injector cannot
            work out what this one has given.
        kept: base URLs that the application had set itself, by container: calls that go there pass no sidecar.
    """

    version: str = ""
    template: str = ""
    image: str = ""
    seal: str = ""
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_text(self) -> str:
        """As it stands in the annotation."""
        document: dict[str, object] = {"version": self.version, "template": self.template}
        document |= {"image": self.image, "seal": self.seal}
        document["environment"] = self.environment
        if self.kept:
            document["kept"] = self.kept
        return json.dumps(document, separators=(",", ":"))


def seal(key: bytes, image: str, told: Sequence[tuple[str, str]]) -> str:
    """What stands in `Status.seal` for a sidecar with this image and these variables."""
    content = json.dumps([image, told], separators=(",", ":"))
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()[:32]


def read_status(pod: Document) -> Status | None:
    """What a pod says; None when it says nothing that can be read, which a person may have written."""
    try:
        found = json.loads(annotations_of(pod).get(STATUS, ""))
        return Status(
            version=str(found["version"]),
            template=str(found["template"]),
            image=str(found.get("image", "")),
            seal=str(found.get("seal", "")),
            environment=_names(found["environment"]),
            kept=_names(found.get("kept", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _names(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(str(variable) for variable in variables) for name, variables in found.items()}
