"""Reading JSON of the API server: whatever is missing or null reads as empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
"""A JSON object. The API server has validated its shape; only what `request.py` checks is relied on otherwise."""


def part(document: Document, *path: str) -> Document:
    """The object at `path`; empty when there is none."""
    for key in path:
        document = document.get(key) or {}
    return document


def items(document: Document, key: str) -> Sequence[Document]:
    """The list at `key`; empty when there is none."""
    found: Sequence[Document] = document.get(key) or ()
    return found


def annotations_of(document: Document) -> Mapping[str, str]:
    """Annotations of an object or a template."""
    return part(document, "metadata", "annotations")


def labels_of(document: Document) -> Mapping[str, str]:
    """Labels of an object or a template."""
    return part(document, "metadata", "labels")
