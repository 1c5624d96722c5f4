"""Samples of one value: strings, numbers, and what is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_policy.units import DURATION_PATTERN
from tidegate_samples.sample import Stricter
from tidegate_samples.spellings import SPELLINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_samples.places import Place
    from tidegate_samples.sample import Sample

_ANOTHER_TYPE: Final[dict[str, tuple[str, object]]] = {
    "string": ("a number", 1),
    "integer": ("a number in quotes", "1"),
    "boolean": ("a word in quotes", "true"),
    "array": ("an object", {}),
    "object": ("a list", []),
}


def scalar_samples(place: Place) -> Iterator[Sample]:
    """On both sides of each bound of a string, a number or a choice."""
    schema = place.field.schema
    if schema["type"] == "boolean":
        yield from _booleans(place)
    elif schema["type"] == "integer":
        yield from _integers(place)
    elif "enum" in schema:
        yield from _choices(place)
    elif place.field.check.pattern in SPELLINGS:  # a test of its own finds patterns without words
        yield from _lengths(place)
        yield from _shape(place)


def word_samples(place: Place) -> Iterator[Sample]:
    """All that is remarkable about the pattern of a string, but for the one misfit that each field has."""
    spelling = SPELLINGS.get(place.field.check.pattern)
    if not spelling or not spelling.pattern:
        return
    for what, word in spelling.fits.items():
        yield place.accepted(what, word)
    for what, word in list(spelling.misfits.items())[1:]:
        yield place.misspelled(what, word)


def type_samples(place: Place) -> Iterator[Sample]:
    """A value of a type that the field does not have."""
    what, value = _ANOTHER_TYPE[place.field.schema["type"]]
    yield place.rejected(f"{what} instead", value, "must be of type")


def _booleans(place: Place) -> Iterator[Sample]:
    for value in (False, True):
        if place.allows(value):
            yield place.accepted(str(value).lower(), value)


def _integers(place: Place) -> Iterator[Sample]:
    least, most = place.field.schema["minimum"], place.field.schema["maximum"]
    yield place.accepted(f"the least, {least}", least)
    yield place.accepted(f"the most, {most}", most)
    yield place.rejected(f"one below {least}", least - 1, f"should be greater than or equal to {least}")
    yield place.rejected(f"one above {most}", most + 1, f"should be less than or equal to {most}")
    yield place.rejected("a fraction", place.value + 0.5, "must be of type int")
    if place.path[0] == "spec":
        message = "expected a whole number, found the number"
        yield place.refused("a whole number with .0", float(place.value), message, Stricter.POINT_ZERO)


def _choices(place: Place) -> Iterator[Sample]:
    words = place.field.schema["enum"]
    for word in words:
        if place.allows(word):
            yield place.accepted(f"the word {word}", word)
    yield place.rejected("a word that is none of the choices", "Surplus", "Unsupported value")
    yield place.rejected("a choice in lower case", words[0].lower(), "Unsupported value")
    yield place.rejected("an empty word", "", "Unsupported value")


def _lengths(place: Place) -> Iterator[Sample]:
    schema = place.field.schema
    spelling = SPELLINGS[place.field.check.pattern]
    least, most = schema.get("minLength", 0), schema["maxLength"]
    for length in sorted({least, most}):
        word = spelling.of_length(length)
        if word is not None:
            yield place.accepted(f"{length} characters", word)
    too_long = spelling.of_length(most + 1) or "a" * (most + 1)
    yield place.rejected(f"{most + 1} characters", too_long, f"may not be more than {most} ")
    if least:
        too_short, said = "a" * (least - 1), f"should be at least {least} chars long"
        yield place.misspelled(f"{least - 1} characters", too_short, said)


def _shape(place: Place) -> Iterator[Sample]:
    pattern = place.field.check.pattern
    for what, word in list(SPELLINGS[pattern].misfits.items())[:1]:
        yield place.misspelled(what, word)
    if pattern == DURATION_PATTERN:
        yield place.accepted("a leap year", "366d")
        message = "is too long; a duration is at most 366d"
        yield place.refused("a day more than a leap year", "367d", message, Stricter.LONG_DURATION)
        yield place.refused("a second more than a leap year", "31622401s", message, Stricter.LONG_DURATION)
