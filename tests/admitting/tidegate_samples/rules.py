"""Samples of the CEL rules: for each, sections that break it and sections that keep it.

The tables have the messages themselves as keys, so that they stand there as people read them. A section is the one in
the valid document, with changes; a rule that stands in several places is tried in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tidegate_samples.places import ABSENT, Place, changed, places
from tidegate_samples.policy_rules import POLICY_RULES
from tidegate_samples.pool_rules import POOL_RULES
from tidegate_samples.sample import Changes, Document, RuleSamples, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_operator.api.crd import Schema
    from tidegate_operator.api.kinds import Kind

RULES: Final[Mapping[str, RuleSamples]] = {**POLICY_RULES, **POOL_RULES}
"""By message."""


def rules_of(kind: Kind[Any]) -> Iterator[tuple[Place, Schema]]:
    """Each rule of a kind, at each of its places, but for those about the spelling of one text."""
    for place in places(kind, "spec"):
        for rule in place.field.schema.get("x-kubernetes-validations", ()):
            if not rule["message"].startswith("expected "):
                yield place, rule


def rule_samples(kind: Kind[Any]) -> Iterator[Sample]:
    """What breaks and what keeps each rule of a kind."""
    for place, rule in rules_of(kind):
        if rule["message"] in RULES:
            yield from _of_rule(place, rule, RULES[rule["message"]])


def with_changes(place: Place, changes: Changes) -> Document:
    """The document with changes in the section at a place."""
    section: dict[str, Any] = place.value | changes
    kept = {name: value for name, value in section.items() if value is not ABSENT}
    document: Document = changed(place.document, place.path, kept)
    return document


def _of_rule(place: Place, rule: Schema, samples: RuleSamples) -> Iterator[Sample]:
    message: str = rule["message"]
    field = (*place.path, *filter(None, rule.get("fieldPath", "").split(".")))
    for what, changes in samples.broken.items():
        yield Sample(
            kind=place.kind,
            field=field,
            what=f"breaks a rule: {what}",
            document=with_changes(place, changes),
            said=message,
            ours=samples.ours.get(what, message),
        )
    for what, changes in samples.kept.items():
        document = with_changes(place, changes)
        yield Sample(kind=place.kind, field=field, what=f"keeps a rule: {what}", document=document)
