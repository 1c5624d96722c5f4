"""Samples of lists, maps and objects: how many, which twice, what is missing, what is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from tidegate_operator.api.fields import HeaderName, Text
from tidegate_operator.api.selectors import LabelKey
from tidegate_samples.places import ABSENT, check_in
from tidegate_samples.sample import Stricter
from tidegate_samples.spellings import SPELLINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_operator.api.crd import Schema
    from tidegate_samples.places import Place
    from tidegate_samples.sample import Sample

KEYS_OF_MAPS: Final[Mapping[str, Any]] = {"matchLabels": LabelKey, "headers": HeaderName}
"""Map to the type of its keys, which no schema tells."""

_NOTHING: Final = "found nothing; write a value or remove the field"


def container_samples(place: Place) -> Iterator[Sample]:
    """On both sides of each bound of a list, a map or an object."""
    schema = place.field.schema
    if schema["type"] == "array":
        yield from _counts(place)
        yield from _repetitions(place)
        yield place.rejected("nothing as an item", [None], "must be of type", 0)
    elif "additionalProperties" in schema:
        yield from _entries(place)
        if place.path[-1] in KEYS_OF_MAPS:
            yield from _keys(place)
    else:
        yield place.rejected("an unknown field", place.value | {"surplus": 1}, "unknown field", "surplus")
        if not schema.get("required") and "x-kubernetes-validations" not in schema:
            yield place.accepted("an object without fields", {})


def absence_samples(place: Place) -> Iterator[Sample]:
    """A field that is left out, or has nothing behind its colon."""
    if not place.field.is_property:
        return
    if place.field.is_required:
        yield place.rejected("left out", ABSENT, "Required value")
        yield place.rejected("nothing", None, "Required value")
    elif place.allows(ABSENT):
        yield place.accepted("left out", ABSENT)
        if place.path[0] == "spec":
            yield place.refused("nothing", None, _NOTHING, Stricter.NULL)


def _counts(place: Place) -> Iterator[Sample]:
    schema = place.field.schema
    least, most = schema.get("minItems", 0), schema["maxItems"]
    for count in (least, most):
        if place.allows(_items(place, count)):
            yield place.accepted(f"{count} items", _items(place, count))
    yield place.rejected(f"{most + 1} items", _items(place, most + 1), f"must have at most {most} items")
    if least:
        below = _items(place, least - 1)
        yield place.rejected(f"{least - 1} items", below, f"should have at least {least} items")


def _repetitions(place: Place) -> Iterator[Sample]:
    schema, first = place.field.schema, place.value[0]
    what, twice = "the same item twice", [first, first]
    if schema["x-kubernetes-list-type"] != "atomic":
        yield place.rejected(what, twice, "Duplicate value", 1)
    elif place.allows(twice):
        yield place.accepted(what, twice)
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        default = schema["items"]["properties"][key].get("default")
        if default is not None:
            without = {name: value for name, value in first.items() if name != key}
            what = f"the default of {key}, once written and once left out"
            yield place.rejected(what, [without | {key: default}, without], "Duplicate value", 1)


def _items(place: Place, count: int) -> list[Any]:
    schema = place.field.schema["items"]
    words = schema.get("enum")
    if words:
        return [words[index % len(words)] for index in range(count)]
    return [_variant(schema, place.value[0], index) for index in range(count)]


def _variant(schema: Schema, item: Any, index: int) -> Any:
    """An item like the given one, with no more than it needs, that differs from those of other indexes."""
    if schema["type"] == "object" and "properties" in schema:
        rules = " ".join(rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))
        return {
            name: item[name] if check_in(schema, f"self.{name}") else _variant(inner, item[name], index)
            for name, inner in schema["properties"].items()
            if name in item and (name in schema.get("required", ()) or f"self.{name}" in rules)
        }
    check = check_in(schema)
    spelling = SPELLINGS.get(check.pattern if check else "")
    is_free = schema["type"] == "string" and not {"enum", "format"} & schema.keys()
    if is_free and spelling and spelling.is_numbered:
        return spelling.numbered(index)
    return item


def _entries(place: Place) -> Iterator[Sample]:
    value = next(iter(place.value.values()))
    most = place.field.schema["maxProperties"]
    yield place.accepted("no entries", {})
    yield place.accepted(f"{most} entries", {f"k{index}": value for index in range(most)})
    too_many = {f"k{index}": value for index in range(most + 1)}
    yield place.rejected(f"{most + 1} entries", too_many, f"must have at most {most} ")
    yield place.refused("nothing as a value", {"k": None}, _NOTHING, Stricter.NULL, "k")


def _keys(place: Place) -> Iterator[Sample]:
    value = next(iter(place.value.values()))
    (text,) = (part for part in get_args(KEYS_OF_MAPS[str(place.path[-1])]) if isinstance(part, Text))
    spelling = SPELLINGS[text.pattern]
    longest = spelling.of_length(text.max_length)
    yield place.accepted(f"a key of {text.max_length} characters", {longest: value})
    for what, key in spelling.fits.items():
        yield place.accepted(f"key: {what}", {key: value})
    too_long = "a" * (text.max_length + 1)
    for what, key in (*spelling.misfits.items(), ("nothing", ""), (f"{len(too_long)} characters", too_long)):
        yield place.rejected(f"key: {what}", {key: value}, f"the keys of {place.path[-1]} are ")
