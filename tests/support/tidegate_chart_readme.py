"""Writes the chart's README from its values and their schema: ``python -m tidegate_chart_readme [--check] charts/tidegate``.

A value has one place where it is explained, the comment above it in `values.yaml`, and one where its type stands,
`values.schema.json`. With ``--check`` nothing is written; the exit code is 1 when the README would change.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

Schema = Mapping[str, Any]

_INTRODUCTION: Final = """\
<!-- Made by `make chart` from values.yaml and values.schema.json: changes belong there. -->
# The chart `tidegate`

Tidegate is traffic policy for AI calls on Kubernetes. This chart installs its operator and its injector; sidecars come into the
pods of workloads that ask for one.

```sh
helm install tidegate charts/tidegate --namespace tidegate-system --create-namespace
```

`docs/operations/install.md` says what a cluster needs, which values are worth knowing, and how an upgrade, a rollback and an uninstall go. A value that
is misspelled or of the wrong type is refused before anything is installed.

## Values
"""


class Value(NamedTuple):
    """One value that a person may set.

    Attributes:
        path: as it is given to `--set`.
        type: in words.
        default: as YAML on one line.
        about: what it is for, in the words that stand above it or above the nearest group that it belongs to.
    """

    path: str
    type: str
    default: str
    about: str


def values_of(text: str, schema: Schema) -> list[Value]:
    """The values in `text`, a `values.yaml`, in its order.

    Raises:
        ValueError: a value has no place in the schema.
    """
    reader = YAML(typ="safe", pure=True)
    root = reader.compose(text)
    assert isinstance(root, MappingNode), "helm takes nothing else"
    lines = text.splitlines()

    def values_below(
        node: MappingNode, data: Mapping[str, Any], below: Schema, above: str, about_all: str
    ) -> Iterator[Value]:
        properties = below.get("properties", {})
        for key, value in node.value:
            path = f"{above}{key.value}"
            if key.value not in properties:
                raise ValueError(f"values.schema.json does not know {path}")
            of_value, default = _resolved(properties[key.value], schema), data[key.value]
            about = _comment_above(key.start_mark.line, lines) or about_all
            if _is_section(value, of_value):
                yield from values_below(value, default, of_value, f"{path}.", about)
            else:
                yield Value(path, _type(of_value, schema), json.dumps(default), about)

    return list(values_below(root, reader.load(text), schema, "", ""))


def readme(text: str, schema: Schema) -> str:
    """The README for a `values.yaml` and its schema."""
    rows = [
        f"| `{value.path}` | {_cell(value.type)} | `{_cell(value.default)}` | {_cell(value.about)} |\n"
        for value in values_of(text, schema)
    ]
    return f"{_INTRODUCTION}\n| value | type | default | |\n|---|---|---|---|\n{''.join(rows)}"


def _is_section(node: Node, schema: Schema) -> bool:
    """Whether a value is a group of others, each with a line of its own, and not one that is given as a whole."""
    return isinstance(node, MappingNode) and not node.flow_style and "properties" in schema


def _comment_above(line: int, lines: Sequence[str]) -> str:
    """The comment that ends right above a line, as one paragraph."""
    comment: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        comment.insert(0, lines[line].lstrip().lstrip("#").strip())
    return " ".join(comment)


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    resolved: Schema = root["definitions"][reference.rpartition("/")[2]]
    return resolved


def _type(schema: Schema, root: Schema) -> str:
    """The type of a value in words."""
    if "enum" in schema or "const" in schema:
        words = schema.get("enum", [schema.get("const")])
        return ", ".join(json.dumps(word) if word == "" else str(word) for word in words)
    if "oneOf" in schema:
        return " or ".join(_type(_resolved(each, root), root) for each in schema["oneOf"])
    types = schema.get("type", "any")
    if isinstance(types, list):
        return " or ".join(types)
    if types == "array":
        items = _resolved(schema.get("items", {}), root)
        return f"list of {_type(items, root)}" if "type" in items or "enum" in items else "list"
    if types == "integer" and "minimum" in schema and "maximum" in schema:
        return f"integer, {schema['minimum']} to {schema['maximum']}"
    return str(types)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the result is the exit code."""
    parser = argparse.ArgumentParser(description="Write the chart's README from its values.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the README would change"
    )
    parser.add_argument("chart", type=Path, metavar="CHART", help="the chart's folder")
    options = parser.parse_args(arguments)
    schema = json.loads((options.chart / "values.schema.json").read_text(encoding="utf-8"))
    text = readme((options.chart / "values.yaml").read_text(encoding="utf-8"), schema)
    file: Path = options.chart / "README.md"
    if not options.check:
        file.write_text(text, encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{file} is not what its values say; run `make chart`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
