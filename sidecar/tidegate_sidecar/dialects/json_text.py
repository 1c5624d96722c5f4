"""JSON as providers write it: read whatever an SDK reads, say in words what cannot be read, and write what is ours."""

from __future__ import annotations

import json
from typing import Final

import orjson

_LONGEST_INT: Final = 4_300
"""Digits that Python turns into an integer (`sys.set_int_max_str_digits`); what is longer is near enough as a float."""

_KINDS: Final[dict[type, str]] = {
    dict: "a JSON object",
    list: "a JSON array",
    str: "a JSON string",
    bool: "a JSON boolean",
    int: "a JSON number",
    float: "a JSON number",
    type(None): "a JSON null",
}


def read_json(data: bytes) -> object:
    """The value that `data` says.

    orjson is several times faster, and refuses what RFC 8259 allows or the SDKs' parsers take all the same: halves of
    surrogate pairs, numbers beyond a double, NaN, a byte order mark. That goes to the standard library's parser.

    Raises:
        ValueError: neither can read it.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return _LENIENT.decode(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("JSON with too many levels") from None


def write_json(document: dict[str, object]) -> bytes:
    """`document` as JSON, also where a text in it holds half of a surrogate pair (an undecodable path, for one)."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode()


def what_is(data: bytes) -> str:
    """What bytes are that should have been something else, in words that quote none of them."""
    text = data.strip()
    if not text:
        return "empty"
    if data.startswith(b"\x1f\x8b"):
        return "gzip"
    try:
        return _KINDS[type(read_json(data))]
    except ValueError:
        pass
    try:
        data.decode()
    except UnicodeDecodeError:
        return "binary, or text that is not UTF-8"
    if text.startswith(b"<"):
        return "markup such as HTML"
    return "broken JSON" if text.startswith((b"{", b"[")) else "text"


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INT else float(digits)


_LENIENT: Final = json.JSONDecoder(parse_int=_integer)
