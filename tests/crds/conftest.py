"""Documents as people write them, in YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from tidegate_operator.api.kinds import API_VERSION
from tidegate_operator.api.parse import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.api.parse import Parsed


@pytest.fixture
def parse() -> Callable[[str, str], Parsed]:
    """Parse an object, given its kind and the YAML of its spec."""

    def parse_spec(kind: str, spec: str) -> Parsed:
        document = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": "sample"},
            "spec": YAML(typ="safe").load(spec),
        }
        return parse_object(document)

    return parse_spec


@pytest.fixture
def problems(parse: Callable[[str, str], Parsed]) -> Callable[[str, str], list[str]]:
    """What is wrong with an object, one line each."""

    def problems_of(kind: str, spec: str) -> list[str]:
        return [str(problem) for problem in parse(kind, spec).problems]

    return problems_of


@pytest.fixture
def document() -> dict[str, Any]:
    """A valid AIPolicy, to be spoiled."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AIPolicy",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": {"targetRefs": [{"kind": "Deployment", "name": "chat"}]},
    }
