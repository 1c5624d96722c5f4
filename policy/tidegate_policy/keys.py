"""Names around provider keys that both planes must agree on."""

from __future__ import annotations

from typing import Final

KEYS_SECRET: Final = "tidegate-keys"  # noqa: S105 - a name
"""The Secret in each namespace whose keys the sidecars of its pods may use."""

PLACEHOLDER_KEY: Final = "tidegate-placeholder"
"""What an SDK gets as its key where it will not start without one. It opens nothing; sidecars take it for no key."""
