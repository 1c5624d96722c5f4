"""The samples leave nothing out: a new field, pattern, rule or check without samples fails here and says so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

import pytest
from tidegate_samples.containers import KEYS_OF_MAPS
from tidegate_samples.derived import spec_samples, status_samples
from tidegate_samples.places import fields, place_of, valid_documents, values_at
from tidegate_samples.rules import RULES, rules_of
from tidegate_samples.sample import Stricter
from tidegate_samples.spellings import SPELLINGS
from tidegate_samples.stricter import REFUSALS

from tidegate_operator.api.fields import Text
from tidegate_operator.api.kinds import KINDS, Kind
from tidegate_operator.api.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = {"spec": spec_samples(), "status": status_samples()}
"""By part of the object."""

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def sections(annotation: object) -> Iterator[type[Section]]:
    """The sections in a type, those in their fields included."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for info in annotation.model_fields.values():
            yield from sections(info.annotation)
    for argument in get_args(annotation):
        yield from sections(argument)


@kinds
def test_every_field_stands_in_a_valid_document(kind: Kind) -> None:
    """Where this fails, write the field into objects/, so that its bounds are tried."""
    missing = [
        ".".join(it.path) for part in SAMPLES for it in fields(kind, part) if place_of(kind, it) is None
    ]
    assert missing == []


@kinds
def test_the_first_valid_document_has_nothing_to_leave_out(kind: Kind) -> None:
    first = valid_documents(kind)[0]["spec"]
    present = [it for it in fields(kind, "spec") if len(it.path) > 1 and list(values_at(first, it.path[1:]))]
    optional = [it for it in present if it.is_property and not it.is_required and not it.is_ruled]
    assert optional == []


@kinds
def test_every_field_has_samples_on_both_sides(kind: Kind) -> None:
    for part, samples in SAMPLES.items():
        of_kind = [it for it in samples if it.kind is kind]
        rejected = {it.field for it in of_kind if it.said}
        accepted = {it.field for it in of_kind if not it.said and not it.stricter}
        for field in fields(kind, part)[1:]:
            place = place_of(kind, field)
            assert place is not None
            below = {it[: len(place.path)] for it in rejected}
            assert place.path in below, field.path
            assert place.path in {it[: len(place.path)] for it in accepted}, field.path


@kinds
def test_every_choice_is_accepted_somewhere(kind: Kind) -> None:
    """Also those that a rule lets stand only beside something else."""
    for part, of in SAMPLES.items():
        documents = [it.document for it in of if it.kind is kind and not it.said and not it.stricter]
        for field in fields(kind, part):
            seen = {word for it in documents for word in values_at(it, field.path) if isinstance(word, str)}
            assert set(field.schema.get("enum", ())) <= seen, field.path


def test_every_pattern_has_words_and_all_words_a_pattern() -> None:
    patterns = {
        it.check.pattern
        for kind in KINDS.values()
        for part in SAMPLES
        for it in fields(kind, part)
        if it.schema["type"] == "string" and "enum" not in it.schema
    }
    assert patterns <= SPELLINGS.keys()
    of_keys = {it.pattern for key in KEYS_OF_MAPS.values() for it in get_args(key) if isinstance(it, Text)}
    assert SPELLINGS.keys() <= patterns | of_keys


def test_every_map_has_the_type_of_its_keys() -> None:
    maps = {
        it.path[-1]
        for kind in KINDS.values()
        for part in SAMPLES
        for it in fields(kind, part)
        if "additionalProperties" in it.schema
    }
    assert maps == KEYS_OF_MAPS.keys()


def test_every_rule_is_broken_and_kept_and_no_other() -> None:
    """Where this fails, a rule has no samples, or its words have changed: they stand in the tables of `rules`."""
    written = {rule["message"] for kind in KINDS.values() for _, rule in rules_of(kind)}
    assert written == RULES.keys()
    assert [message for message, samples in RULES.items() if not samples.broken or not samples.kept] == []


def test_every_check_of_our_own_has_a_refusal() -> None:
    """A section with `problems` refuses what the server may let pass; such refusals are all told."""
    checking = {
        section
        for kind in KINDS.values()
        for section in sections(kind.spec)
        if section.problems is not Section.problems
    }
    assert checking == {section for section, _ in REFUSALS}


def test_every_reason_for_being_stricter_has_samples() -> None:
    assert {it.stricter for it in spec_samples() if it.stricter} == set(Stricter)


def test_no_two_samples_have_one_name() -> None:
    counts = Counter(it.name for it in (*spec_samples(), *status_samples()))
    assert [name for name, count in counts.items() if count > 1] == []
