"""Values that remember where they stand in a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidegate_operator.compile.diagnostics import FieldPath


class Flaw(NamedTuple):
    """Something wrong with the text itself. Lines and columns count from 1; column 0: the whole line."""

    line: int
    column: int
    path: FieldPath
    message: str


@dataclass(slots=True)
class Node:
    """A value and where it stands.

    Attributes:
        value: plain Python: dict, list, str, int, float, bool or None.
        line: where it begins, counted from 1.
        members: by key or list position: the line of the key, and the member itself.
        size: values in it, aliases expanded.
    """

    value: Any
    line: int
    members: dict[str | int, tuple[int, Node]] = field(default_factory=dict)
    size: int = 1

    def line_of(self, path: FieldPath) -> int:
        """The line of the field at `path`; where there is none, of the nearest object around it."""
        node, line = self, self.line
        for part in path:
            found = node.members.get(part)
            if found is None:
                break
            line, node = found
        return line
