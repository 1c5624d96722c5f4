"""JSON text to values: orjson, and behind it the standard library for what RFC 8259 allows and orjson refuses.

The second parser takes numbers that no double holds and lone surrogates in escapes (RFC 8259 sections 6 and 8.2), which
providers accept and SDKs send. It is stricter than its default: NaN and Infinity are no JSON, and a number with very many
digits costs no more than reading it, because none longer than 64 bits is made an integer.

Reasons for a refusal never quote the text, which may be a prompt.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn

import orjson

STRING: Final = rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"'
"""One string, whatever it escapes. For patterns with DOTALL. Groups are repeated greedily within atomic groups throughout this
package: a possessive group (`(?:…)*+`) matches what it must not before CPython 3.11.5 (gh-106052)."""

_CONSTANTS: Final = re.compile(STRING + rb"|(-?Infinity|NaN)", re.DOTALL)
_LONGEST_64_BIT: Final = 20
"""Characters of the longest integer that 64 bits hold, with or without a sign."""


class NotJsonError(ValueError):
    """A text that is no JSON.

    Attributes:
        reason: words for a person, to be followed by "at byte" and the offset.
        offset: where, in bytes from the beginning of the text.
    """

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset}")
        self.reason = reason
        self.offset = offset


class Raw:
    """Stands in a document for a value that was checked and not parsed: it is at `body[start:end]`.

    No class that a JSON writer would know, so that writing it by mistake fails.
    """

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    def __repr__(self) -> str:
        return f"<JSON value of {self.end - self.start} bytes at {self.start}, not parsed>"


class HugeNumber:
    """Stands in a document for a number that no double holds, such as 1e400; `text` is how it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<number of {len(self.text)} characters that no double holds>"


def parse(text: bytes) -> object:
    """The value of one JSON text. Integers of more than 64 bits are floats, as orjson makes them.

    Raises:
        NotJsonError: RFC 8259 does not allow it, or it is nested more deeply than the parsers go.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        return _decode(text, _PARSER)


def check(text: bytes) -> None:
    """The same for whoever does not want the value.

    Raises:
        NotJsonError: as `parse`.
    """
    try:
        orjson.loads(text)
    except ValueError:
        _decode(text, _CHECKER)


def _decode(text: bytes, decoder: json.JSONDecoder) -> object:
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise NotJsonError("a byte that is no UTF-8", error.start) from error
    try:
        return decoder.decode(decoded)
    except json.JSONDecodeError as error:
        reason = (error.msg[:1].lower() + error.msg[1:]).removesuffix(" at")
        raise NotJsonError(reason, len(decoded[: error.pos].encode())) from error
    except _ConstantError as error:
        found = (match.start(1) for match in _CONSTANTS.finditer(text) if match[1])
        raise NotJsonError("NaN or Infinity, which is no JSON number,", next(found, 0)) from error
    except RecursionError as error:
        raise NotJsonError("it is nested too deeply", 0) from error


class _ConstantError(ValueError):
    """The second parser met NaN or Infinity; it does not say where."""


def _refuse(name: str) -> NoReturn:
    raise _ConstantError(name)


def _integer(text: str) -> object:
    if len(text) <= _LONGEST_64_BIT:
        value = int(text)
        if -(2**63) <= value < 2**64:
            return value
    return _real(text)


def _real(text: str) -> object:
    value = float(text)  # takes time in proportion to the digits, unlike int()
    return HugeNumber(text) if math.isinf(value) else value


_PARSER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_real, parse_constant=_refuse)
_CHECKER: Final = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse)
"""Numbers become something that costs nothing."""
