"""Members of JSON that others wrote: what is there and of the right kind, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NOTHING: Final[dict[str, Any]] = {}
MOST_TOKENS: Final = 2**53
"""A larger number of tokens is none that can be true."""


def object_in(document: object, name: str) -> Mapping[str, Any]:
    """The object that is the member `name` of `document`; an empty one where there is none."""
    value = document.get(name) if type(document) is dict else None
    return value if type(value) is dict else _NOTHING


def tokens_in(document: Mapping[str, Any], name: str) -> int | None:
    """The number of tokens that the member `name` says. None: it says none, or none that can be true."""
    value = document.get(name)
    return value if type(value) is int and 0 <= value < MOST_TOKENS else None
