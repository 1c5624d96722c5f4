"""Which models there are, as Anthropic's SDKs read it: Anthropic API reference, "Models"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidegate_sidecar.dialects.json_text import write_json

_RELEASED: Final = "1970-01-01T00:00:00Z"
"""What the API reference prescribes where nobody knows when a model was released."""


def model_list(names: Sequence[str]) -> bytes:
    """All of them, on one page."""
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
    return write_json({"data": [_document(name) for name in names], "has_more": False, **ends})


def model(name: str) -> bytes:
    """One of them."""
    return write_json(_document(name))


def _document(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _RELEASED}
