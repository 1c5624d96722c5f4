"""Where in a document a field of the schema stands, and documents with another value there."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML

from tidegate_operator.api.crd import Schema, custom_resource_definition
from tidegate_operator.api.parse import parse_object
from tidegate_operator.api.status import Timestamp
from tidegate_samples.sample import Document, Sample, Stricter
from tidegate_samples.spelling import pattern_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_operator.api.kinds import Kind
    from tidegate_operator.api.problems import FieldPath

ITEM: Final = "[]"
"""In the path of a field: any item of the list."""
VALUE: Final = "{}"
"""In the path of a field: any value of the map."""

_ENTRY: Final = "self[key]"

_OBJECTS: Final = Path(__file__).with_name("objects")


class Nothing(Enum):
    """Says that a field is left out."""

    ABSENT = "absent"


ABSENT: Final = Nothing.ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How a text must be spelled.

    Attributes:
        pattern: what the whole text matches; empty for any text.
        said: words of the server about one that does not.
        is_above: whether the server names the object around the text, since it never repeats such a text.
    """

    pattern: str = ""
    said: str = ""
    is_above: bool = False


def check_in(schema: Schema, what: str = "self") -> Check | None:
    """The check of `what` among the rules of a schema."""
    for rule in schema.get("x-kubernetes-validations", ()):
        found = re.search(rf"{re.escape(what)}\.matches\(r(['\"])(.*)\1\)", rule["rule"])
        if found and rule["message"].startswith("expected "):
            return Check(pattern=found[2], said=rule["message"], is_above=what == _ENTRY)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One node of a kind's schema."""

    path: tuple[str, ...]
    schema: Schema
    parent: Field | None = None

    @property
    def is_property(self) -> bool:
        """Whether it has a name of its own, and is no item or value."""
        return self.path[-1] not in (ITEM, VALUE)

    @property
    def is_required(self) -> bool:
        """Whether it must be there."""
        return self.parent is not None and self.path[-1] in self.parent.schema.get("required", ())

    @property
    def is_ruled(self) -> bool:
        """Whether a CEL rule beside it looks at it."""
        rules = self.parent.schema.get("x-kubernetes-validations", ()) if self.parent else ()
        return any(re.search(rf"self\.{self.path[-1]}\b", rule["rule"]) for rule in rules)

    @property
    def check(self) -> Check:
        """How the text must be spelled."""
        if self.schema.get("format") == "date-time":
            return Check(pattern=pattern_of(Timestamp), said="must be of type date-time")
        above = self.parent.schema if self.parent else {}
        what = _ENTRY if self.path[-1] == VALUE else f"self.{self.path[-1]}"
        return check_in(self.schema) or check_in(above, what) or Check()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A field in a valid document that has it."""

    kind: Kind[Any]
    field: Field
    document: Document
    path: FieldPath

    @property
    def value(self) -> Any:
        """What stands there."""
        return at(self.document, self.path)

    def allows(self, value: object) -> bool:
        """Whether a value within the bounds also goes with the fields beside it.

        Where a rule looks at the field, our own reading decides whether there is a sample; the server must agree.
        """
        if not self.field.is_ruled:
            return True
        return not parse_object(changed(self.document, self.path, value)).problems

    def accepted(self, what: str, value: object) -> Sample:
        """Another value that is right as well."""
        document = changed(self.document, self.path, value)
        return Sample(kind=self.kind, field=self.path, what=what, document=document)

    def rejected(self, what: str, value: object, said: str, *below: str | int) -> Sample:
        """A value that is wrong: itself, or what is `below` it. `said`: words of the server."""
        document = changed(self.document, self.path, value)
        return Sample(kind=self.kind, field=(*self.path, *below), what=what, document=document, said=said)

    def misspelled(self, what: str, word: str, said: str = "") -> Sample:
        """A text that the server refuses for its spelling, whatever else it says of it."""
        check = self.field.check
        document = changed(self.document, self.path, word)
        field = self.path[:-1] if check.is_above else self.path
        return Sample(kind=self.kind, field=field, what=what, document=document, said=said or check.said)

    def refused(self, what: str, value: object, ours: str, why: Stricter, *below: str | int) -> Sample:
        """A value that we alone refuse. `ours`: words of our message."""
        document = changed(self.document, self.path, value)
        field = (*self.path, *below)
        return Sample(kind=self.kind, field=field, what=what, document=document, ours=ours, stricter=why)


@cache
def fields(kind: Kind[Any], part: str) -> tuple[Field, ...]:
    """The fields of `spec` or `status`, itself first."""
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    root = Field(path=(), schema=version["schema"]["openAPIV3Schema"])
    return tuple(_walk(Field(path=(part,), schema=root.schema["properties"][part], parent=root)))


@cache
def valid_documents(kind: Kind[Any]) -> tuple[Document, ...]:
    """The documents in `objects/`: first the least there is, then such that together have every field."""
    path = _OBJECTS / f"{kind.name}.yaml"
    return tuple(YAML(typ="safe", pure=True).load_all(path.read_text(encoding="utf-8")))


def places(kind: Kind[Any], part: str) -> Iterator[Place]:
    """Each field of a part of a kind, in the richest document that has it."""
    for field in fields(kind, part):
        found = place_of(kind, field)
        if found is not None:
            yield found


def place_of(kind: Kind[Any], field: Field) -> Place | None:
    """A document that has the field; None when none has."""
    for document in reversed(valid_documents(kind)):
        path = _locate(document, field.path)
        if path is not None:
            return Place(kind=kind, field=field, document=document, path=path)
    return None


def changed(document: Any, path: FieldPath, value: object) -> Any:
    """A document with another value at a path; `ABSENT` leaves the field out. The rest is shared, not copied."""
    first, *rest = path
    copied = copy.copy(document)
    if rest:
        copied[first] = changed(document[first], tuple(rest), value)
    elif value is ABSENT:
        del copied[first]
    else:
        copied[first] = value
    return copied


def at(document: Document, path: FieldPath) -> Any:
    """What stands at a path."""
    value: Any = document
    for part in path:
        value = value[part]
    return value


def values_at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """All values that a document has for the path of a field."""
    if not path:
        yield value
        return
    first, *rest = path
    if first == ITEM:
        inner = value if isinstance(value, list) else []
    elif first == VALUE:
        inner = list(value.values()) if isinstance(value, dict) else []
    else:
        inner = [value[first]] if isinstance(value, dict) and first in value else []
    for one in inner:
        yield from values_at(one, tuple(rest))


def _walk(field: Field) -> Iterator[Field]:
    yield field
    inner = dict(field.schema.get("properties", {}))
    if "items" in field.schema:
        inner[ITEM] = field.schema["items"]
    if "additionalProperties" in field.schema:
        inner[VALUE] = field.schema["additionalProperties"]
    for name, schema in inner.items():
        if schema.get("description", "").startswith("Refused:"):
            continue
        yield from _walk(Field(path=(*field.path, name), schema=schema, parent=field))


def _locate(value: Any, path: tuple[str, ...]) -> FieldPath | None:
    if not path:
        return ()
    first, *rest = path
    keys: list[Any] = [first]
    if first == ITEM:
        keys = list(range(len(value)))
    elif first == VALUE:
        keys = list(value)
    for key in keys:
        if isinstance(key, int) or key in value:
            found = _locate(value[key], tuple(rest))
            if found is not None:
                return (key, *found)
    return None
