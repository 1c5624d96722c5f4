"""Requests for moderations: OpenAI API reference, "Create moderation"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidegate_sidecar.dialects.asking import model_alone
from tidegate_sidecar.dialects.base import Asked, Problem

DEFAULT_MODEL: Final = "omni-moderation-latest"
"""What OpenAI takes where a request names no model."""


def asked(document: Mapping[str, object]) -> Asked | Problem:
    """The model, which may be left out; nothing else is decided on."""
    return model_alone(document if "model" in document else {**document, "model": DEFAULT_MODEL})
