"""The chart's README says of each value what its comment and its schema say, and nothing that they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tidegate_chart_readme import Value, main, readme, values_of

CHART = Path(__file__).parents[2] / "charts" / "tidegate"

SCHEMA: dict[str, Any] = {
    "properties": {
        "replicas": {"type": "integer", "minimum": 0, "maximum": 9},
        "pull": {"properties": {"policy": {"$ref": "#/definitions/policy"}, "secrets": {"type": "array"}}},
        "user": {"oneOf": [{"type": "integer"}, {"const": "platform"}]},
        "resources": {"type": "object", "properties": {"limits": {"type": "object"}}},
        "names": {"type": "array", "items": {"type": "string"}},
    },
    "definitions": {"policy": {"enum": ["", "Always"]}},
}
VALUES = """\
# About the file, which is no value.

# How many of them,
# at most.
replicas: 2
# How they are pulled.
pull:
  # When.
  policy: ""
  secrets: []
user: 65532
resources: {limits: {memory: 1Gi}}
names:
- a|b
"""


def test_each_value_has_its_path_type_default_and_comment() -> None:
    assert values_of(VALUES, SCHEMA) == [
        Value("replicas", "integer, 0 to 9", "2", "How many of them, at most."),
        Value("pull.policy", '"", Always', '""', "When."),
        Value("pull.secrets", "list", "[]", "How they are pulled."),
        Value("user", "integer or platform", "65532", ""),
        Value("resources", "object", '{"limits": {"memory": "1Gi"}}', ""),
        Value("names", "list of string", '["a|b"]', ""),
    ]


def test_what_would_end_a_cell_does_not() -> None:
    assert '`["a\\|b"]`' in readme(VALUES, SCHEMA)


def test_a_value_that_the_schema_does_not_know_is_told() -> None:
    with pytest.raises(ValueError, match=r"values\.schema\.json does not know pull\.always"):
        values_of(VALUES.replace("secrets", "always"), SCHEMA)


def test_the_readme_is_checked_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "values.yaml").write_text(VALUES, encoding="utf-8")
    (tmp_path / "values.schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1
    assert "run `make chart`" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "values.yaml").write_text(VALUES.replace("When.", "Whenever."), encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1


def test_every_value_of_the_chart_is_explained() -> None:
    """By a comment of its own, or of the group that it stands in."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = values_of((CHART / "values.yaml").read_text(encoding="utf-8"), schema)
    assert len(values) > 100
    assert not [value.path for value in values if not value.about]
