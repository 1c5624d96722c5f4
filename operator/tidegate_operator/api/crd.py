"""pydantic models to CustomResourceDefinitions with structural schemas.

A structural schema says the type of everything, refers to nothing and has no alternatives: what pydantic writes with
`$ref`, `anyOf` and `title` is written out. The API server merges, defaults and prices by what stands there, so a
property without description, or a string, list, map or number without bound, is an error here and not in a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from tidegate_operator.api.earlier import EARLIER, ITEM
from tidegate_operator.api.kinds import GROUP, VERSION
from tidegate_operator.api.section import Section
from tidegate_operator.api.spellings import rules_of_entries, rules_of_members, rules_of_value
from tidegate_operator.api.status import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate_operator.api.earlier import Earlier
    from tidegate_operator.api.kinds import Column, Kind

Schema = dict[str, Any]

PART_OF: Final = {"app.kubernetes.io/part-of": "tidegate"}
"""By this label people find the definitions, whoever has applied them."""

SCHEMAS: Final[Mapping[str, int]] = {"0.1.0": 1}
"""Number of the definitions of each release. It rises with every release: fields may be lost on the way down."""

SCHEMA_ANNOTATION: Final = "tidegate.dev/schema"
"""Has the number on a definition; the charts refuse to put a lower one in the place of a higher one."""

_KEPT: Final = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)
_BOUNDS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("maxLength",),
    "array": ("maxItems",),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}


class SchemaError(ValueError):
    """A model says something that a structural schema cannot, or does not say what it must."""


def custom_resource_definition(kind: Kind[Any]) -> Schema:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "annotations": {SCHEMA_ANNOTATION: str(max(SCHEMAS.values()))},
            "labels": dict(PART_OF),
            "name": kind.crd_name,
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["tidegate"],
            },
            "scope": kind.scope.value,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {} if kind.status is None else {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": _root(kind)},
                }
            ],
        },
    }


def structural_schema(model: type[Section], root: str) -> Schema:
    """The schema of one model; `root` is where it stands, for messages.

    Raises:
        SchemaError: a bound or a description is missing, or there are alternatives.
    """
    document = model.model_json_schema(schema_generator=_Generator, mode="validation")
    return _structural(document, document.get("$defs", {}), root)


class _Generator(GenerateJsonSchema):
    """Keeps the defaults of texts alone: those of a list's keys are all that the API server is to store."""

    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, str) else None


def _root(kind: Kind[Any]) -> Schema:
    spec = _with_earlier(structural_schema(kind.spec, "spec"), EARLIER.get(kind.name, ()))
    return {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "description": f"Group and version of the object: {GROUP}/{VERSION}.",
                "type": "string",
            },
            "kind": {"description": f"Kind of the object: {kind.name}.", "type": "string"},
            # the API server has its own schema for metadata, and allows no word more here
            "metadata": {"type": "object"},
            "spec": {**spec, "description": "What is wanted."},
            **_status(kind),
        },
    }


def _status(kind: Kind[Any]) -> Schema:
    if kind.status is None:
        return {}
    status = structural_schema(kind.status, "status") | {"default": {"observedGeneration": UNSEEN}}
    return {"status": {**status, "description": "What became of it. Written by the operator alone."}}


def _with_earlier(spec: Schema, spellings: Iterable[Earlier]) -> Schema:
    """The schema with the names that the API server must not drop."""
    for earlier in spellings:
        *above, name = earlier.path
        section = spec
        for part in above:
            section = section["items"] if part == ITEM else section["properties"][part]
        section["properties"][name] = {"description": earlier.description, **earlier.schema}
    return spec


def _column(column: Column) -> Schema:
    written: Schema = {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.path,
    }
    if column.priority:
        written["priority"] = column.priority
    return written


def _structural(schema: Schema, definitions: Mapping[str, Schema], where: str) -> Schema:
    schema = _resolved(schema, definitions)
    if "type" not in schema:
        raise SchemaError(f"{where}: no type, or alternatives, which a structural schema cannot have")
    written: Schema = {}
    if "description" in schema:
        written["description"] = " ".join(schema["description"].split())
    written |= {key: schema[key] for key in _KEPT if key in schema}
    if schema["type"] == "object":
        written |= _object(schema, definitions, where)
        _add_rules(written, _rules_of_secrets(schema, definitions))
    elif schema["type"] == "string":
        _add_rules(written, rules_of_value(schema))
    elif schema["type"] == "array":
        written["items"] = _structural(schema["items"], definitions, f"{where}[]")
        _give_defaults(written, _resolved(schema["items"], definitions).get("properties", {}))
    _require_bounds(written, where)
    return written


def _give_defaults(listing: Schema, properties: Mapping[str, Schema]) -> None:
    """The API server stores only the defaults without which it could not tell a list's items apart.

    Another default would stand in objects for ever, and a release that chose a better one would change none of them.
    """
    for key in listing.get("x-kubernetes-list-map-keys", ()):
        if "default" in properties.get(key, {}):
            listing["items"]["properties"][key]["default"] = properties[key]["default"]


def _object(schema: Schema, definitions: Mapping[str, Schema], where: str) -> Schema:
    values = _values(schema)
    if values is not None:
        return {"additionalProperties": _structural(values, definitions, f"{where}{{}}")}
    written: Schema = {"properties": {}}
    for name, inner in schema.get("properties", {}).items():
        at = f"{where}.{name}"
        written["properties"][name] = _structural(inner, definitions, at)
        if not written["properties"][name].get("description"):
            raise SchemaError(f"{at}: no description; write a docstring under the field")
    if schema.get("required"):
        written["required"] = sorted(schema["required"])
    return written


def _values(schema: Schema) -> Schema | None:
    """The schema of a map's values."""
    values = schema.get("additionalProperties") or next(
        iter(schema.get("patternProperties", {}).values()), None
    )
    return values if isinstance(values, dict) else None


def _rules_of_secrets(schema: Schema, definitions: Mapping[str, Schema]) -> Iterable[Schema]:
    values = _values(schema)
    if values is not None:
        return rules_of_entries(_resolved(values, definitions))
    properties = schema.get("properties", {})
    return rules_of_members({name: _resolved(inner, definitions) for name, inner in properties.items()})


def _add_rules(written: Schema, rules: Iterable[Schema]) -> None:
    if all_rules := [*written.get("x-kubernetes-validations", ()), *rules]:
        written["x-kubernetes-validations"] = all_rules


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The schema with what it refers to written out; what it says itself goes before that."""
    present = [it for it in schema.get("anyOf", ()) if it.get("type") != "null"]
    if len(present) == 1:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return _resolved({**present[0], **rest}, definitions)
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _resolved({**definitions[schema["$ref"].rpartition("/")[2]], **rest}, definitions)
    if "const" in schema:
        return {**schema, "enum": [schema["const"]]}
    return schema


def _require_bounds(written: Schema, where: str) -> None:
    needed = _BOUNDS.get(written["type"], ())
    if "enum" in written:
        needed = ()
    if "additionalProperties" in written:
        needed = ("maxProperties",)
    missing = [bound for bound in needed if bound not in written]
    if missing:
        raise SchemaError(f"{where}: {' and '.join(missing)} missing")
    keys = written.get("x-kubernetes-list-map-keys", ())
    items = written.get("items", {})
    for key in keys:
        if key not in items.get("required", ()) and "default" not in items["properties"][key]:
            raise SchemaError(f"{where}: the key {key} of the list is neither required nor has it a default")
