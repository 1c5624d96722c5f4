"""Pods of many shapes, as they come in and as they are stored: `golden/NAME.in.yaml` and `golden/NAME.out.yaml`.

`python tests/injecting/test_golden.py` writes the second ones again; look at what `git diff` shows.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parent))

from injecting_shapes.platform import PLATFORM, TEMPLATE, ask, patched

from tidegate_operator.inject.names import CONTAINER
from tidegate_operator.inject.review import Entry
from tidegate_operator.inject.template import Family

FOLDER = Path(__file__).parent / "golden"
SHAPES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))

BY_NAMESPACE = {"opted-in-by-namespace", "opted-out-of-its-namespace"}
TEMPLATES = {
    "platform-chooses-the-user": replace(TEMPLATE, user=None),
    "vault-and-pull-secrets": replace(
        TEMPLATE,
        audiences=("https://vault.example:8200", "sts.amazonaws.com"),
        pull_secrets=("tidegate-registry",),
        pull_policy="Always",
    ),
    "no-keys-dual-stack": replace(TEMPLATE, keys_secret="", families=(Family.IPV4, Family.IPV6)),
}


def render(shape: str) -> str:
    """What the API server gets and stores."""
    document = YAML(typ="safe").load(FOLDER / f"{shape}.in.yaml")
    entry = Entry.PODS_OF_NAMESPACES if shape in BY_NAMESPACE else Entry.PODS
    outcome = ask(document, entry, replace(PLATFORM, template=TEMPLATES.get(shape, TEMPLATE)))
    answer: dict[str, Any] = {"result": outcome.result.value}
    if outcome.reason:
        answer["reason"] = outcome.reason
    if outcome.warnings:
        answer["warnings"] = list(outcome.warnings)
    answer["places"] = [f"{operation['op']} {operation['path']}" for operation in outcome.patch]
    text = StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump_all([answer, patched(document, outcome.patch)], text)
    return text.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pod_is_stored_as_it_was_agreed(shape: str) -> None:
    assert render(shape) == (FOLDER / f"{shape}.out.yaml").read_text(encoding="utf-8")


def test_every_golden_file_has_its_pod() -> None:
    assert sorted(path.name.removesuffix(".out.yaml") for path in FOLDER.glob("*.out.yaml")) == SHAPES
    assert BY_NAMESPACE | set(TEMPLATES) <= set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_of_a_running_pod_is_touched(shape: str) -> None:
    """Ephemeral containers join a pod that runs, by a subresource that we do not match."""
    assert "ephemeralContainers" not in render(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_tokens_and_keys_are_mounted_in_the_sidecar_alone(shape: str) -> None:
    _, pod = YAML(typ="safe").load_all(render(shape))
    others = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    mounts = [it["name"] for one in others if one["name"] != CONTAINER for it in one.get("volumeMounts", [])]
    assert not [name for name in mounts if name.startswith("tidegate")]


if __name__ == "__main__":
    for name in SHAPES:
        (FOLDER / f"{name}.out.yaml").write_text(render(name), encoding="utf-8")
