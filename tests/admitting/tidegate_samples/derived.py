"""All samples."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tidegate_operator.api.kinds import KINDS
from tidegate_samples.containers import absence_samples, container_samples
from tidegate_samples.envelope import envelope_samples
from tidegate_samples.places import Place, places, valid_documents
from tidegate_samples.rules import rule_samples
from tidegate_samples.sample import Sample
from tidegate_samples.scalars import scalar_samples, type_samples, word_samples
from tidegate_samples.stricter import stricter_samples

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def spec_samples() -> tuple[Sample, ...]:
    """Whole objects, as people write them."""
    return tuple(_spec_samples())


@cache
def status_samples() -> tuple[Sample, ...]:
    """Objects with a status, as the operator writes it."""
    return tuple(_of_fields("status"))


def _spec_samples() -> Iterator[Sample]:
    for kind in KINDS.values():
        for number, document in enumerate(valid_documents(kind), start=1):
            yield Sample(kind=kind, field=(), what=f"valid document {number}", document=document)
        yield from rule_samples(kind)
    for kind in (KINDS["AIPolicy"], KINDS["ClusterAIPolicy"]):  # one of each scope
        yield from envelope_samples(kind)
    yield from _of_fields("spec")
    yield from stricter_samples()


def _of_fields(part: str) -> Iterator[Sample]:
    patterns = set()
    for kind in KINDS.values():
        for place in places(kind, part):
            yield from _of(place)
            # All that is remarkable about a pattern need not be tried at each of its fields.
            pattern = place.field.check.pattern
            if pattern not in patterns:
                patterns.add(pattern)
                yield from word_samples(place)


def _of(place: Place) -> Iterator[Sample]:
    is_container = place.field.schema["type"] in ("array", "object")
    yield from container_samples(place) if is_container else scalar_samples(place)
    if place.path != (
        "status",
    ):  # without it, or with nothing in it, an object has none, which is no mistake
        yield from type_samples(place)
        yield from absence_samples(place)
