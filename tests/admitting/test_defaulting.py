"""What is not written: the server writes the same default into the object that we read out of its absence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tidegate_samples.derived import spec_samples
from tidegate_samples.places import fields, values_at

from tidegate_operator.api.kinds import KINDS, Kind
from tidegate_operator.api.parse import parse_object

if TYPE_CHECKING:
    from tidegate_samples.sample import Sample
    from tidegate_samples.server import Server


def leaves_something_out(sample: Sample) -> bool:
    """Whether it is there for what it does not say; others may spell a duration in another way than we write it."""
    if sample.said or sample.stricter or sample.field[:1] == ("metadata",):
        return False
    return sample.what.startswith(("valid document", "left out", "an object without", "keeps a rule"))


LACKING = [sample for sample in spec_samples() if leaves_something_out(sample)]


def without_empty(value: Any) -> Any:
    """A value less the empty objects and lists in it: the schema gives no empty defaults, our models have them."""
    if isinstance(value, dict):
        inner = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    return value


@pytest.mark.parametrize("sample", LACKING, ids=lambda sample: sample.name)
def test_the_server_writes_the_defaults_that_we_read(server: Server, sample: Sample) -> None:
    stored = parse_object(sample.document).stored
    assert stored is not None
    assert stored.spec is not None
    ours = stored.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    theirs = server.try_out(sample.kind, sample.document).document["spec"]
    assert without_empty(theirs) == without_empty(ours)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_default_is_left_to_the_server_once(kind: Kind) -> None:
    """So the test above has seen each of them."""
    documents = [sample.document for sample in LACKING if sample.kind is kind]
    unseen = [
        ".".join(it.path)
        for it in fields(kind, "spec")
        if "default" in it.schema
        and not any(it.path[-1] not in parent for doc in documents for parent in values_at(doc, it.path[:-1]))
    ]
    assert unseen == []
