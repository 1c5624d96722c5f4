"""Which models there are, as OpenAI's SDKs read it: OpenAI API reference, "Models"."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate_sidecar.dialects.json_text import write_json


def model_list(names: Sequence[str]) -> bytes:
    """All of them, on one page as OpenAI has it."""
    return write_json({"object": "list", "data": [_document(name) for name in names]})


def model(name: str) -> bytes:
    """One of them."""
    return write_json(_document(name))


def _document(name: str) -> dict[str, object]:
    # When it was made nobody here knows, and the SDKs want a number.
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
