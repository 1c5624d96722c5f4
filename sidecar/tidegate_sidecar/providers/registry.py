"""Dialect to adapter."""

from __future__ import annotations

from typing import Final

from tidegate_policy.model import Dialect
from tidegate_sidecar.providers.anthropic import Anthropic
from tidegate_sidecar.providers.base import DialectAdapter
from tidegate_sidecar.providers.openai import OpenAI

ADAPTERS: Final[dict[Dialect, DialectAdapter]] = {Dialect.OPENAI: OpenAI(), Dialect.ANTHROPIC: Anthropic()}
"""All dialects; adapters hold no state."""
