"""The status annotation (PURE): what an injected pod says about its injection."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        kept: base URLs that the application had set itself, by container: calls that go there pass no sidecar.
    """

    version: str = ""
    template: str = ""
    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_text(self) -> str:
        """As it stands in the annotation."""
        document: dict[str, object] = {"version": self.version, "template": self.template}
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
            environment=_names(found["environment"]),
            kept=_names(found.get("kept", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _names(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(str(variable) for variable in variables) for name, variables in found.items()}
