"""The fullest pool that a request can bring."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tidegate_operator.api.kinds import KINDS
from tidegate_samples.places import valid_documents

if TYPE_CHECKING:
    from tidegate_samples.sample import Document

REQUEST_LIMIT_BYTES: Final = 3 * 1024 * 1024
"""What the API server reads of a body."""


def fullest_pool() -> Document:
    """As many providers, models and aliases as there may be, with names as long as a request has room for."""
    models: list[dict[str, Any]] = [
        {"name": f"m{number}", "aliases": [f"{number}-{alias}-".ljust(80, "a") for alias in range(16)]}
        for number in range(64)
    ]
    providers = [{"name": f"p{number}", "type": "OpenAI", "models": models} for number in range(32)]
    document = valid_documents(KINDS["ProviderPool"])[0] | {"spec": {"providers": providers}}
    assert len(json.dumps(document)) > 0.85 * REQUEST_LIMIT_BYTES
    return document
