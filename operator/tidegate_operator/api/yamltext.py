"""Plain values as YAML text: always the same bytes for the same value, in block style, for files that people review."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 110

PROSE: Final = frozenset({"description", "message"})
"""Keys whose long values are wrapped at spaces; they hold words with single spaces between them."""

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
# words that some YAML version reads as something else than a string
_RESERVED: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"})


def to_yaml(value: dict[str, Any]) -> str:
    """The document, with a line break at the end."""
    return "\n".join(_block(value, 0)) + "\n"


def _block(value: dict[str, Any] | list[Any], indent: int) -> Iterator[str]:
    pad = " " * indent
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(pad, key, item)
        return
    for item in value:
        if isinstance(item, dict | list) and item:
            first, *rest = _block(item, indent + 2)
            yield f"{pad}- {first[indent + 2 :]}"
            yield from rest
        else:
            yield f"{pad}- {_inline(item)}"


def _entry(pad: str, key: str, item: object) -> Iterator[str]:
    head, indent = f"{pad}{_scalar(key)}:", len(pad)
    if isinstance(item, dict) and item:
        yield head
        yield from _block(item, indent + 2)
    elif isinstance(item, list) and item:
        yield head
        yield from _block(item, indent)
    elif key in PROSE and isinstance(item, str) and len(head) + len(item) + 3 > WIDTH:
        yield f"{head} >-"
        width = max(40, WIDTH - indent - 2)
        lines = textwrap.wrap(item, width, break_long_words=False, break_on_hyphens=False)
        yield from (f"{pad}  {line}" for line in lines)
    else:
        yield f"{head} {_inline(item)}"


def _inline(value: object) -> str:
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)
