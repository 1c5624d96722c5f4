"""Usage in messages and events: Anthropic API reference, "Messages", `usage`."""

from __future__ import annotations

from tidegate_sidecar.dialects.base import NO_USAGE, Usage
from tidegate_sidecar.dialects.members import object_in, tokens_in


def usage_in(document: object) -> Usage:
    """What a message, or an event that has `usage`, says was used; the cache's tokens are none of `input_tokens`."""
    used = object_in(document, "usage")
    if not used:
        return NO_USAGE
    return Usage(
        input_tokens=tokens_in(used, "input_tokens"),
        output_tokens=tokens_in(used, "output_tokens"),
        cached_input_tokens=tokens_in(used, "cache_read_input_tokens"),
        cache_write_tokens=tokens_in(used, "cache_creation_input_tokens"),
    )


def later(before: Usage, now: Usage) -> Usage:
    """The last word on each part: counts are cumulative, and an event leaves out what it has no news of."""
    return Usage(*(old if new is None else new for old, new in zip(before, now, strict=True)))
