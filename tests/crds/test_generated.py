"""The CRDs are made from the models, and are what an API server accepts: structural, bounded, described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from tidegate_operator.api.crd import SchemaError, custom_resource_definition, structural_schema
from tidegate_operator.api.fields import Text
from tidegate_operator.api.generate import crd_files, main
from tidegate_operator.api.generated import differences
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.section import Section
from tidegate_operator.api.yamltext import to_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "crds"
BUILT_IN_SHORT_NAMES = {
    "cm",
    "deploy",
    "ds",
    "ep",
    "ev",
    "ing",
    "ns",
    "po",
    "pv",
    "pvc",
    "rs",
    "sa",
    "sts",
    "svc",
}

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def version(crd: dict[str, Any]) -> dict[str, Any]:
    (only,) = crd["spec"]["versions"]
    assert isinstance(only, dict)
    return only


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and all inside it, with paths."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from schemas(inner, f"{path}.{name}")
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from schemas(schema["additionalProperties"], f"{path}{{}}")


def own_schemas(kind: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those of spec and status; the API server has its own for the rest."""
    root = version(custom_resource_definition(kind))["schema"]["openAPIV3Schema"]
    yield from schemas(root["properties"]["spec"], ".spec")
    yield from schemas(root["properties"]["status"], ".status")


def test_the_files_are_those_that_would_be_written() -> None:
    """When this fails: `make crds`."""
    assert differences(FOLDER, crd_files()) == []


def test_check_tells_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    first, second, *_ = sorted(crd_files())
    (tmp_path / first).write_text("changed", encoding="utf-8")
    (tmp_path / second).unlink()
    (tmp_path / "tidegate.dev_gone.yaml").write_text("", encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    for line in (f"{first} differs", f"{second} is missing", "tidegate.dev_gone.yaml is made from nothing"):
        assert line in said
    assert main([str(tmp_path)]) == 0
    assert differences(tmp_path, crd_files()) == []


@kinds
def test_the_text_says_what_was_generated(kind: Any) -> None:
    crd = custom_resource_definition(kind)
    assert YAML(typ="safe").load(to_yaml(crd)) == crd


@kinds
def test_every_property_has_a_description(kind: Any) -> None:
    missing = [
        f"{path}.{name}"
        for path, schema in own_schemas(kind)
        for name, inner in schema.get("properties", {}).items()
        if not inner.get("description")
    ]
    assert missing == []


@kinds
def test_everything_has_a_bound(kind: Any) -> None:
    """The API server prices CEL by the largest value that the schema lets through."""
    needed = {
        "string": ["maxLength"],
        "array": ["maxItems"],
        "integer": ["minimum", "maximum"],
        "boolean": [],
    }
    for path, schema in own_schemas(kind):
        if schema["type"] == "object":
            bounds = ["maxProperties"] if "additionalProperties" in schema else ["properties"]
        else:
            bounds = [] if "enum" in schema else needed[schema["type"]]
        assert [bound for bound in bounds if bound not in schema] == [], path


@kinds
def test_schemas_are_structural(kind: Any) -> None:
    for path, schema in own_schemas(kind):
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}, path
        forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "title", "const", "nullable"}
        assert not forbidden & schema.keys(), path
        assert not {"properties", "additionalProperties"} <= schema.keys(), path
        assert set(schema.get("required", ())) <= schema.get("properties", {}).keys(), path


@kinds
def test_keys_of_lists_are_always_there(kind: Any) -> None:
    for path, schema in own_schemas(kind):
        if schema["type"] == "array":
            assert schema["x-kubernetes-list-type"] in {"map", "set", "atomic"}, path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            items = schema["items"]
            assert key in items.get("required", ()) or "default" in items["properties"][key], path


@kinds
def test_rules_say_what_is_wrong_and_where(kind: Any) -> None:
    for path, schema in own_schemas(kind):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert schema["type"] == "object" or rule["message"].startswith("expected "), path
            assert "\n" not in rule["message"]
            if "fieldPath" in rule:
                assert rule["fieldPath"].removeprefix(".") in schema["properties"], path


@kinds
def test_no_text_has_a_pattern_that_a_refusal_would_show(kind: Any) -> None:
    """The server says `should match '^[a-z]…'`; a rule says in words what it expected, and so does a format."""
    assert [path for path, schema in own_schemas(kind) if "pattern" in schema] == []


@kinds
def test_a_text_that_may_be_a_key_is_checked_where_the_server_does_not_repeat_it(kind: Any) -> None:
    """It repeats a text that breaks a rule of its own, but no object."""
    spelled = {
        f"expected {text.expected}"
        for model in sections(kind.spec)
        for text in texts(model)
        if text.secret and text.pattern
    }
    rules = [
        (schema["type"], rule["message"])
        for _, schema in own_schemas(kind)
        for rule in schema.get("x-kubernetes-validations", ())
    ]
    assert {message for type_, message in rules if message in spelled and type_ == "object"} == spelled
    assert {message for type_, message in rules if message in spelled and type_ != "object"} == set()


def texts(model: type[Section]) -> Iterator[Text]:
    """The types of texts in the fields of one section."""
    for info in model.model_fields.values():
        pending = [*info.metadata, info.annotation]
        while pending:
            found = pending.pop()
            if isinstance(found, Text):
                yield found
            pending += getattr(found, "__metadata__", ()) + getattr(found, "__args__", ())


@kinds
def test_rules_stand_in_the_schema_of_their_section(kind: Any) -> None:
    """What the API server refuses, `tidegate validate` refuses with the same words."""

    def rules(model: type[Section]) -> set[str]:
        return {rule.message for rule in model.rules}

    written = {
        rule["message"]
        for _, schema in own_schemas(kind)
        for rule in schema.get("x-kubernetes-validations", ())
        if not rule["message"].startswith("expected ")
    }
    declared = set().union(*(rules(model) for model in sections(kind.spec)))
    assert written == declared


def sections(model: type[Section]) -> Iterator[type[Section]]:
    """A model and all models in its fields."""
    yield model
    for info in model.model_fields.values():
        pending = [info.annotation]
        while pending:
            found = pending.pop()
            if isinstance(found, type) and issubclass(found, Section):
                yield from sections(found)
            else:
                pending += getattr(found, "__args__", ())


def test_names_of_kinds_do_not_collide() -> None:
    names = [name for kind in KINDS.values() for name in (kind.plural, kind.singular, kind.short_name)]
    assert len(names) == len(set(names))
    assert not BUILT_IN_SHORT_NAMES & set(names)


@kinds
def test_the_status_is_a_subresource_with_conditions(kind: Any) -> None:
    only = version(custom_resource_definition(kind))
    assert only["subresources"] == {"status": {}}
    status = only["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert status["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert "observedGeneration" in status
    assert only["additionalPrinterColumns"][0]["name"] == "Ready"


def test_metadata_has_no_word_of_ours() -> None:
    """The API server refuses a CRD that describes metadata."""
    for kind in KINDS.values():
        root = version(custom_resource_definition(kind))["schema"]["openAPIV3Schema"]
        assert root["properties"]["metadata"] == {"type": "object"}


class WithoutDescription(Section):
    """A section whose field nobody explains."""

    wanted: bool = False


class WithoutBound(Section):
    """A section with an unbounded string."""

    wanted: str
    """What is wanted."""


class WithAlternatives(Section):
    """A section that is not structural."""

    wanted: bool | str
    """What is wanted."""


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (WithoutDescription, "spec.wanted: no description; write a docstring under the field"),
        (WithoutBound, "spec.wanted: maxLength missing"),
        (WithAlternatives, "spec.wanted: no type, or alternatives, which a structural schema cannot have"),
    ],
)
def test_a_model_that_makes_no_proper_schema_is_refused(model: type[Section], said: str) -> None:
    with pytest.raises(SchemaError) as refused:
        structural_schema(model, "spec")
    assert str(refused.value) == said
