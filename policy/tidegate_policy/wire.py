"""A value of the contract to canonical JSON and back.

Canonical: keys sorted, no white space, UTF-8, enums by value, every field written but those that `model.added` leaves
out. Equal values have equal bytes, so the digest names a configuration on every replica. Decoding is strict: an unknown
or missing field, a wrong type or an unknown word is a `DecodeError` with the path; a foreign `schema_version` is seen
before anything else, so that a newer document is refused for its version and not for a field that came with it.

Messages between processes (acknowledgements, moments) are read by `decode_message`, since replicas of two releases send
them to each other in every upgrade: fields that the reader does not know are passed over and counted. A writer whose message
would mean something else without a field names it in `requires`, and is refused by a reader that does not know it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tidegate_policy.errors import DecodeError, SchemaVersionError
from tidegate_policy.model import (
    ADDED,
    SCHEMA_VERSION,
    SINCE,
    SUPPORTED_SCHEMA_VERSIONS,
    CompiledConfig,
)

T = TypeVar("T")

_MAX_SHOWN = 80

MAX_DEPTH = 16
"""Nesting that a document of the contract can have; deeper input is refused before it costs anything."""


def encode(value: object) -> bytes:
    """Canonical JSON of any dataclass of the contract."""
    return json.dumps(
        value, default=_members, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    ).encode()


def digest(config: CompiledConfig) -> str:
    """SHA-256 of the canonical JSON, in hex: the name of this configuration."""
    return hashlib.sha256(encode(config)).hexdigest()


@dataclass(frozen=True, slots=True)
class Need:
    """The oldest schema version that says all of a document, and what asks for it: a field, and the object it came from."""

    version: int
    why: str = ""


def need(value: object, origin: str = "") -> Need:
    """What a reader of `value` has to understand, at least. A reader of less would drop a rule without a word."""
    found = Need(SCHEMA_VERSION)
    if not _can_need(type(value)):  # type: ignore[arg-type] # mypy asks whether types have a hash
        return found
    source = getattr(value, "source", None)
    origin = str(source) if source is not None else origin
    for item in dataclasses.fields(value):  # type: ignore[arg-type] # _can_need
        member = getattr(value, item.name)
        since = item.metadata.get(SINCE, SCHEMA_VERSION)
        if since > found.version and member != item.default:
            found = Need(since, f"{item.name} of {origin or type(value).__name__}")
        for part in member if isinstance(member, tuple) else (member,):
            if dataclasses.is_dataclass(part):
                found = max(found, need(part, origin), key=lambda it: it.version)
    return found


def decode_config(data: bytes) -> CompiledConfig:
    """Read a configuration.

    Raises:
        SchemaVersionError: the version is not one of `SUPPORTED_SCHEMA_VERSIONS`.
        DecodeError: anything else that is wrong, with its path.
    """
    document = _load(data)
    if not isinstance(document, dict):
        raise DecodeError("", f"expected an object, found {_kind(document)}")
    version = document.get("schema_version")
    if type(version) is not int:
        raise DecodeError("schema_version", f"expected an integer, found {_kind(version)}")
    if version not in SUPPORTED_SCHEMA_VERSIONS:
        raise SchemaVersionError(version, SUPPORTED_SCHEMA_VERSIONS)
    return cast("CompiledConfig", _read(CompiledConfig, document, "", 0))


def decode(kind: type[T], data: bytes) -> T:
    """Read one dataclass of the contract that carries no schema version of its own."""
    return read(kind, _load(data))


def read(kind: type[T], document: object) -> T:
    """What `decode` makes of JSON that has been parsed already."""
    return cast("T", _read(kind, document, "", 0))


def decode_message(kind: type[T], data: bytes, on_unknown: Callable[[str], None] = lambda _: None) -> T:
    """Read one message of the contract, which may be of a later release.

    Args:
        kind: of the message, as this release knows it.
        data: JSON.
        on_unknown: told the path of each field that is passed over, a name of the sender's choice.

    Raises:
        DecodeError: it says what it should not in a field that is known, or `requires` names one that is not.
    """
    return read_message(kind, _load(data), on_unknown)


def read_message(
    kind: type[T], document: object, on_unknown: Callable[[str], None] = lambda _: None, path: str = ""
) -> T:
    """What `decode_message` makes of JSON that has been parsed already, and of a message that stands at `path` of another."""
    if isinstance(document, dict) and "requires" in document:
        _check_required(kind, document["requires"], _join(path, "requires"))
        document = {name: member for name, member in document.items() if name != "requires"}
    return cast("T", _read(kind, _without_unknown(kind, document, path, on_unknown, 0), path, 0))


def _check_required(kind: type, required: object, path: str) -> None:
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise DecodeError(path, f"expected a list of fields, found {_kind(required)}")
    for name in required:
        if name not in _fields(kind):
            raise DecodeError(
                path,
                f"the sender insists on the field {name[:_MAX_SHOWN]!r}, which this release does not know; upgrade it",
            )


def _without_unknown(
    kind: object, value: object, path: str, on_unknown: Callable[[str], None], depth: int
) -> object:
    """The value with what this release knows of it."""
    if depth > MAX_DEPTH:
        raise DecodeError(path, f"nested deeper than {MAX_DEPTH}")
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        fields = _fields(kind)
        kept = {}
        for name, member in value.items():
            below = _join(path, str(name))
            if name in fields:
                kept[name] = _without_unknown(fields[name][0], member, below, on_unknown, depth + 1)
            else:
                on_unknown(below)
        return kept
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis and isinstance(value, list):
        (inner, _) = get_args(kind)
        return [_without_unknown(inner, item, f"{path}[]", on_unknown, depth + 1) for item in value]
    return value


def _load(data: bytes) -> object:
    try:
        return cast("object", json.loads(data))
    except (ValueError, RecursionError) as error:
        raise DecodeError("", f"not JSON: {error}") from error


def _members(value: Any) -> dict[str, object]:
    """A dataclass as the encoder wants it; tuples and enums of strings it knows itself."""
    always, added = _written(type(value))  # type: ignore[arg-type] # mypy asks whether instances have a hash
    members = {name: getattr(value, name) for name in always}
    for name, default in added:
        if (found := getattr(value, name)) != default:
            members[name] = found
    return members


@cache
def _written(kind: type) -> tuple[tuple[str, ...], tuple[tuple[str, object], ...]]:
    """The fields that are always written, and those that are not while they have their default."""
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is no part of the contract")
    always, later = [], []
    for item in dataclasses.fields(kind):
        if ADDED in item.metadata:
            later.append((item.name, cast("object", item.default)))
        else:
            always.append(item.name)
    return tuple(always), tuple(later)


@cache
def _can_need(kind: type) -> bool:
    """Whether a value of this type, or one in it, can have a field that came with a later schema version."""
    if not dataclasses.is_dataclass(kind):
        return False
    hints = get_type_hints(kind)
    return any(
        SINCE in item.metadata or any(_can_need(part) for part in _types_in(hints[item.name]))
        for item in dataclasses.fields(kind)
    )


def _types_in(hint: object) -> tuple[type, ...]:
    if isinstance(hint, type):
        return (hint,)
    return tuple(part for argument in get_args(hint) for part in _types_in(argument))


@cache
def _fields(kind: type) -> dict[str, tuple[object, bool]]:
    """Field name to (type, has a default), in order of declaration."""
    hints = get_type_hints(kind)
    return {
        item.name: (
            hints[item.name],
            item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING,
        )
        for item in dataclasses.fields(kind)
    }


def _read(kind: object, value: object, path: str, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise DecodeError(path, f"nested deeper than {MAX_DEPTH}")
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _read_object(kind, value, path, depth)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _read_word(kind, value, path)
    origin = get_origin(kind)
    if origin is tuple:
        return _read_list(kind, value, path, depth)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (argument for argument in get_args(kind) if argument is not types.NoneType)
        return _read(inner, value, path, depth)
    # bool is a subclass of int: compare types, so that true is no number and 1 is no flag.
    if type(value) is not kind:
        raise DecodeError(path, f"expected {getattr(kind, '__name__', kind)}, found {_kind(value)}")
    return value


def _read_object(kind: type, value: object, path: str, depth: int) -> object:
    if not isinstance(value, dict):
        raise DecodeError(path, f"expected an object, found {_kind(value)}")
    fields = _fields(kind)
    for name in value:
        if name not in fields:
            raise DecodeError(
                _join(path, str(name)), f"unknown field; {kind.__name__} has {', '.join(fields)}"
            )
    arguments: dict[str, Any] = {}
    for name, (hint, has_default) in fields.items():
        if name in value:
            arguments[name] = _read(hint, value[name], _join(path, name), depth + 1)
        elif not has_default:
            raise DecodeError(_join(path, name), "missing")
    return kind(**arguments)


def _read_list(kind: object, value: object, path: str, depth: int) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise DecodeError(path, f"expected a list, found {_kind(value)}")
    arguments = get_args(kind)
    if arguments[-1] is Ellipsis:
        hints: tuple[object, ...] = (arguments[0],) * len(value)
    elif len(arguments) != len(value):
        raise DecodeError(path, f"expected {len(arguments)} items, found {len(value)}")
    else:
        hints = arguments
    return tuple(
        _read(hint, item, f"{path}[{index}]", depth + 1)
        for index, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _read_word(kind: type[StrEnum], value: object, path: str) -> StrEnum:
    if isinstance(value, str):
        for word in kind:
            if word.value == value:
                return word
    raise DecodeError(path, f"expected one of {', '.join(word.value for word in kind)}, found {value!r}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
