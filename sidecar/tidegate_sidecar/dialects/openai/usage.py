"""Usage in answers, chunks and responses: OpenAI API reference, "Chat completions" and "Responses", `usage`."""

from __future__ import annotations

from tidegate_sidecar.dialects.base import NO_USAGE, Usage
from tidegate_sidecar.dialects.members import MOST_TOKENS, object_in, tokens_in


def usage_in(document: object) -> Usage:
    """What a whole answer or a chunk says was used; Groq's streams say it below `x_groq` unless asked for more."""
    used = document.get("usage") if type(document) is dict else None
    if type(used) is not dict:
        used = object_in(object_in(document, "x_groq"), "usage")
        if not used:
            return NO_USAGE
    if "input_tokens" in used and "prompt_tokens" not in used:  # the names of the Responses API
        said, made = used.get("input_tokens_details"), used.get("output_tokens_details")
        read, written = used.get("input_tokens"), used.get("output_tokens")
    else:
        said, made = used.get("prompt_tokens_details"), used.get("completion_tokens_details")
        read, written = used.get("prompt_tokens"), used.get("completion_tokens")
    # Every call reads this, and nearly always there are two plausible numbers.
    return Usage(
        read if type(read) is int and 0 <= read < MOST_TOKENS else None,
        written if type(written) is int and 0 <= written < MOST_TOKENS else None,
        tokens_in(said, "cached_tokens") if type(said) is dict else None,
        None,
        tokens_in(made, "reasoning_tokens") if type(made) is dict else None,
    )
