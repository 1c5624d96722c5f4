"""What is not written is not stored: a default of ours in an object would stay there, whatever a later release thinks better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tidegate_samples.derived import spec_samples
from tidegate_samples.places import fields

from tidegate_operator.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from tidegate_samples.sample import Sample
    from tidegate_samples.server import Server


def leaves_something_out(sample: Sample) -> bool:
    """Whether it is there for what it does not say; others may spell a duration in another way than we write it."""
    if sample.said or sample.stricter or sample.field[:1] == ("metadata",):
        return False
    return sample.what.startswith(("valid document", "an object without"))


LACKING = [sample for sample in spec_samples() if leaves_something_out(sample)]

STORED = {
    "AIPolicy": {"spec.targetRefs.[].group", "spec.poolRefs.[].namespace"},
    "ClusterAIPolicy": set[str](),
    "ProviderCredential": set[str](),
    "ProviderPool": set[str](),
}
"""The defaults that are part of what the API promises: without these keys a list's items could not be told apart."""


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_only_the_keys_of_lists_have_defaults(kind: Kind) -> None:
    assert {".".join(it.path) for it in fields(kind, "spec") if "default" in it.schema} == STORED[kind.name]


@pytest.mark.parametrize("sample", LACKING, ids=lambda sample: sample.name)
def test_the_server_stores_what_was_written(server: Server, sample: Sample) -> None:
    written, stored = sample.document["spec"], server.try_out(sample.kind, sample.document).document["spec"]
    for name in ("targetRefs", "poolRefs"):
        for item, there in zip(written.get(name, ()), stored.get(name, ()), strict=True):
            assert there | item == there
    others = {name for name in written if name not in ("targetRefs", "poolRefs")}
    assert {name: stored[name] for name in others} == {name: written[name] for name in others}
    assert stored.keys() == written.keys()
