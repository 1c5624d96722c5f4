"""What kubectl shows: `kubectl explain` is the manual, `kubectl get` the first look."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from tidegate_samples.places import ITEM, VALUE, fields

from tidegate_operator.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_cluster.controlplane import ControlPlane
    from tidegate_samples.places import Field
    from tidegate_samples.sample import Document

SHOWN = {
    "AIPolicy": {
        "READY": "True",
        "PROGRAMMED": "1",
        "DESIRED": "2",
        "TARGETS": "Deployment/chat, Job/search, Rollout.argoproj.io/agent",
    },
    "ClusterAIPolicy": {
        "READY": "True",
        "PROGRAMMED": "1",
        "DESIRED": "2",
        "NAMESPACES": "ai=on,team in (a,b)",
    },
    "ProviderCredential": {"READY": "True", "SOURCE": "Environment"},
    "ProviderPool": {
        "READY": "True",
        "PROGRAMMED": "1",
        "DESIRED": "2",
        "PROVIDERS": "openai, azure, anthropic",
    },
}
"""Column of `kubectl get` to what it has for the stored object."""

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def dotted(kind: Kind, field: Field) -> str:
    return ".".join([kind.plural, *(part for part in field.path if part not in (ITEM, VALUE))])


def words(text: str) -> str:
    """The text on one line; kubectl breaks and indents it."""
    return " ".join(text.split())


def sections() -> Iterator[tuple[Kind, Field]]:
    """What `kubectl explain` can be asked about; of sections that kinds share, one."""
    seen = set()
    for kind in KINDS.values():
        for field in (*fields(kind, "spec"), *fields(kind, "status")):
            told = json.dumps(field.schema.get("properties"))
            if told not in seen and "properties" in field.schema:
                seen.add(told)
                yield kind, field


SECTIONS = list(sections())


def in_namespace(stored: Mapping[str, Document]) -> str:
    return f"--namespace={stored['AIPolicy']['metadata']['namespace']}"


def table(printed: str) -> dict[str, str]:
    """The one object in what `kubectl get` printed, by column."""
    header, row = printed.splitlines()
    return dict(zip(re.split(r"\s{2,}", header.strip()), re.split(r"\s{2,}", row.strip()), strict=True))


@kinds
@pytest.mark.usefixtures("installation")
def test_explain_tells_what_a_kind_is_for(control_plane: ControlPlane, kind: Kind) -> None:
    shown = words(control_plane.kubectl("explain", kind.singular))
    assert kind.description in shown


@pytest.mark.parametrize(("kind", "field"), SECTIONS, ids=[dotted(*section) for section in SECTIONS])
@pytest.mark.usefixtures("installation")
def test_explain_describes_every_field(control_plane: ControlPlane, kind: Kind, field: Field) -> None:
    shown = words(control_plane.kubectl("explain", dotted(kind, field)))
    assert "<no description>" not in shown
    for name, schema in field.schema["properties"].items():
        assert f" {name} <" in shown
        assert words(schema["description"]) in shown, name


@kinds
def test_get_shows_the_columns(
    control_plane: ControlPlane, stored: Mapping[str, Document], kind: Kind
) -> None:
    row = table(control_plane.kubectl("get", kind.plural, in_namespace(stored)))
    assert row.pop("NAME") == "sample"
    assert row.pop("AGE")
    assert row == SHOWN[kind.name]


@kinds
def test_get_wide_shows_why(control_plane: ControlPlane, stored: Mapping[str, Document], kind: Kind) -> None:
    row = table(control_plane.kubectl("get", kind.plural, "-o=wide", in_namespace(stored)))
    assert row["REASON"] == "Ready"
    assert row["ACCEPTED"] == "True"
    assert list(row) == ["NAME", *(column.name.upper() for column in kind.columns)]


@kinds
def test_get_knows_the_short_name(
    control_plane: ControlPlane, stored: Mapping[str, Document], kind: Kind
) -> None:
    printed = control_plane.kubectl("get", kind.short_name, "-o=name", in_namespace(stored))
    assert printed == f"{kind.singular}.tidegate.dev/sample\n"


def test_get_tidegate_shows_all_kinds(control_plane: ControlPlane, stored: Mapping[str, Document]) -> None:
    printed = control_plane.kubectl("get", "tidegate", "-o=name", in_namespace(stored)).splitlines()
    assert {name.partition(".")[0] for name in printed} == {kind.singular for kind in KINDS.values()}
