"""What is wrong with a document: the place, and a sentence for whoever wrote it."""

from __future__ import annotations

from typing import NamedTuple

FieldPath = tuple[str | int, ...]
"""Keys and list positions from the root of the document: ``("spec", "rateLimits", 0, "per")``."""

MAX_ECHO: int = 60
"""Characters of a refused value that a message repeats."""


class Problem(NamedTuple):
    """One thing that is wrong in a document.

    Attributes:
        path: where, from the root of the document; of a missing field, where it would stand.
        message: what was expected, what was found and what to do, without the path.
    """

    path: FieldPath
    message: str

    def __str__(self) -> str:
        return f"{format_path(self.path)}: {self.message}" if self.path else self.message


def format_path(path: FieldPath) -> str:
    """``spec.rateLimits[0].per``, as people write it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def describe(value: object) -> str:
    """What was found, in words: ``'chat'``, ``the number 30``, ``true``, ``a list``, ``nothing``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_ECHO else f"{value[:MAX_ECHO]}…")
    words = {type(None): "nothing", list: "a list", tuple: "a list", dict: "an object"}
    return words.get(type(value), f"a {type(value).__name__}")
