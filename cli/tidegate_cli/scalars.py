"""What a word in YAML means, as `kubectl apply` has it (YAML 1.1: `on` is true), so that a file means the same here."""

from __future__ import annotations

import re
from typing import Final

_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE: Final = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE: Final = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_INTEGER: Final = re.compile(
    r"[-+]?(?:0[bB]_*[01][01_]{0,63}|0[xX]_*[0-9a-fA-F][0-9a-fA-F_]{0,15}|0[oO]?_*[0-7][0-7_]{0,21}|0|[1-9][0-9_]{0,18})"
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def resolve(text: str) -> object:
    """What a word without quotes means, as the API server's YAML reader has it.

    Dates stay words; so do infinity and not-a-number, which JSON cannot say.
    """
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        digits = text.replace("_", "")
        is_old_octal = re.fullmatch(r"[-+]?0[0-7]+", digits) is not None
        return int(digits, 8 if is_old_octal else 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return join_escapes(text)


def join_escapes(text: str) -> str:
    """Join what JSON writes as two escapes (RFC 8259 section 7) into the one character it means."""
    if not has_half_character(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def has_half_character(text: str) -> bool:
    """Whether one half of such a pair stands alone: no encoding has bytes for it."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def describe(value: object) -> str:
    """A value that is no string, in words."""
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else "a number"
