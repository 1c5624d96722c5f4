"""What fields are made of: bounded strings, whole numbers and lists.

Each has a bound, since the API server prices CEL by it and a sidecar holds what is written here in memory. Each says
in its own words what it expects. A value that may be a key pasted into the wrong place is never repeated in a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic_core import CoreSchema, core_schema

from tidegate_operator.api.problems import FieldPath, Problem, describe
from tidegate_operator.api.section import is_settled, refuse
from tidegate_operator.api.spellings import literal, spelling

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic.json_schema import JsonSchemaValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A bounded string.

    Attributes:
        expected: the noun phrase of messages: "a model name such as gpt-4o-mini".
        pattern: what the whole string must match, in the syntax that Go and Python share; empty for anything.
        secret: the value is not repeated in messages.
        time: it is a moment as RFC 3339 has it, for which the API server has a format and words of its own.
    """

    expected: str
    max_length: int
    min_length: int = 1
    pattern: str = ""
    secret: bool = False
    time: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the plain string that `source` is."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Type, bounds and spelling."""
        bounds: JsonSchemaValue = {"type": "string", "maxLength": self.max_length}
        if self.min_length:
            bounds["minLength"] = self.min_length
        if self.time:
            return bounds | {"format": "date-time"}
        if self.pattern:
            return bounds | spelling(self.pattern, self.expected, secret=self.secret)
        return bounds

    def _check(self, value: str, info: ValidationInfo) -> str:
        if is_settled(info):
            return value
        found = f"{len(value)} characters" if self.secret else describe(value)
        if len(value) > self.max_length:
            refuse(
                [
                    Problem(
                        (),
                        f"expected {self.expected}, at most {self.max_length} characters; found {len(value)}",
                    )
                ]
            )
        if len(value) < self.min_length or (self.pattern and not re.fullmatch(self.pattern, value)):
            refuse([Problem((), f"expected {self.expected}, found {found}")])
        return value


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `minimum` to `maximum`, both included."""

    minimum: int
    maximum: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the plain integer that `source` is."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Type and bounds."""
        return {"type": "integer", "format": "int64", "minimum": self.minimum, "maximum": self.maximum}

    def _check(self, value: int, info: ValidationInfo) -> int:
        if not is_settled(info) and not self.minimum <= value <= self.maximum:
            refuse([Problem((), f"expected a number from {self.minimum} to {self.maximum}, found {value}")])
        return value


@dataclass(frozen=True, slots=True)
class Entries:
    """An object of at most `maximum` members whose names the author chooses, such as labels."""

    maximum: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the dict that `source` is."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The bound."""
        return {**handler(schema), "maxProperties": self.maximum}

    def _check(self, entries: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if not is_settled(info) and len(entries) > self.maximum:
            refuse([Problem((), f"expected at most {self.maximum} entries, found {len(entries)}")])
        return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list of `min_items` to `max_items`.

    Attributes:
        keys: fields that tell the items apart, for merging (list-type map); no two items have the same.
        unique: plain words of which none comes twice (list-type set).
        distinct: no two items are equal, which only we check; the list is replaced as a whole.
    """

    max_items: int
    min_items: int = 0
    keys: tuple[str, ...] = ()
    unique: bool = False
    distinct: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the tuple that `source` is."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Bounds, and how server-side apply merges the list."""
        listing = handler(schema)
        listing["maxItems"] = self.max_items
        if self.min_items:
            listing["minItems"] = self.min_items
        if self.keys:
            listing["x-kubernetes-list-type"] = "map"
            listing["x-kubernetes-list-map-keys"] = list(self.keys)
        else:
            listing["x-kubernetes-list-type"] = "set" if self.unique else "atomic"
        return listing

    def _check(self, items: tuple[object, ...], info: ValidationInfo) -> tuple[object, ...]:
        if is_settled(info):
            return items
        problems: list[Problem] = []
        if len(items) > self.max_items:
            problems.append(Problem((), f"expected at most {self.max_items} items, found {len(items)}"))
        if len(items) < self.min_items:
            problems.append(
                Problem(
                    (),
                    f"expected at least {self.min_items} item, found none; remove the field if it is not meant",
                )
            )
        if self.keys or self.unique or self.distinct:
            problems += self._duplicates(items)
        refuse(problems)
        return items

    def _duplicates(self, items: tuple[object, ...]) -> list[Problem]:
        first: dict[object, int] = {}
        problems = []
        for index, item in enumerate(items):
            identity = tuple(getattr(item, key) for key in self.keys) if self.keys else item
            if identity in first:
                # a key without a value was not written
                said = [key for key in self.keys if getattr(item, key) != ""]
                what = (
                    " and ".join(f"{key} {describe(str(getattr(item, key)))}" for key in said) or "this item"
                )
                path: FieldPath = (index, said[0]) if said else (index,)
                problems.append(
                    Problem(path, f"{what} stands in the list already, as item {first[identity]}")
                )
            first.setdefault(identity, index)
        return problems


def keys_cel(field: str, key: Any) -> str:
    """In CEL: the keys of a map are texts of this type, if there is a map. A schema has no say about keys."""
    (text,) = (part for part in get_args(key) if isinstance(part, Text))
    fits = f"size(key) <= {text.max_length} && key.matches({literal(text.pattern)})"
    return f"!has(self.{field}) || self.{field}.all(key, {fits})"


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Name = Annotated[
    str,
    Text(
        expected="a name of lower-case letters, digits and '-', at most 63 characters",
        pattern=f"^{_LABEL}$",
        max_length=63,
    ),
]
"""A rule, a provider or a namespace: short enough for labels and metrics."""

ObjectName = Annotated[
    str,
    Text(
        expected="the name of an object: lower-case letters, digits, '-' and '.', at most 253 characters",
        pattern=rf"^{_LABEL}(\.{_LABEL})*$",
        max_length=253,
    ),
]

OwnOrNamespace = Annotated[
    str,
    Text(
        expected="the name of a namespace, or nothing for the object's own",
        pattern=f"^({_LABEL})?$",
        max_length=63,
        min_length=0,
    ),
]

APIGroup = Annotated[
    str,
    Text(
        expected="an API group such as argoproj.io, or nothing for the kind's own",
        pattern=rf"^({_LABEL}(\.{_LABEL})*)?$",
        max_length=253,
        min_length=0,
    ),
]

KindName = Annotated[
    str,
    Text(
        expected="a kind such as Deployment: letters and digits, beginning with a capital",
        pattern="^[A-Z][A-Za-z0-9]*$",
        max_length=63,
    ),
]

ModelName = Annotated[
    str,
    Text(
        expected="a model name such as gpt-4o-mini, without spaces, quotes or '*'",
        pattern=r"^[!#-&()+-~]+$",
        max_length=256,
    ),
]

ModelAlias = Annotated[
    str,
    Text(
        expected="a model name such as gpt-4o-mini, without spaces, quotes or '*'",
        pattern=r"^[!#-&()+-~]+$",
        # a pool has room for 32768 of them, and the API server prices each by its length
        max_length=128,
    ),
]

ModelPattern = Annotated[
    str,
    Text(
        expected="a model name such as gpt-4o-mini, or a pattern such as 'gpt-4o*', without spaces or quotes",
        pattern=r"^[!#-&(-~]+$",
        max_length=256,
    ),
]

HeaderName = Annotated[
    str,
    Text(
        expected="the name of an HTTP header such as x-user-id",
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        max_length=128,
    ),
]

HeaderValue = Annotated[
    str,
    Text(
        expected="a header value of visible ASCII characters, with single spaces inside",
        pattern=r"^[!-~]+( [!-~]+)*$",
        max_length=1024,
        secret=True,
    ),
]

EnvironmentVariable = Annotated[
    str,
    Text(
        expected="the name of an environment variable such as OPENAI_API_KEY (never the key itself)",
        pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        max_length=256,
        secret=True,
    ),
]

SecretKey = Annotated[
    str,
    Text(
        expected=(
            "a key of a Secret such as openai: letters, digits, '-', '_' and '.', not two dots at the start "
            "(never the provider's key itself)"
        ),
        # what Kubernetes takes as a key of a Secret, so that it is the name of a file in its mount and never a path
        pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$",
        max_length=253,
        secret=True,
    ),
]

Percent = Annotated[int, Whole(1, 100)]
