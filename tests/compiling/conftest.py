"""Manifests as people write them, compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from tidegate_operator.api.kinds import API_VERSION, KINDS
from tidegate_operator.api.parse import parse_object
from tidegate_operator.compile.compiler import compile_snapshot, implied_workloads
from tidegate_operator.compile.diagnostics import format_path
from tidegate_operator.index.snapshot import Namespace, Snapshot, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.compile.compilation import Compilation


@pytest.fixture
def read() -> Callable[[str], Snapshot]:
    """YAML documents to a snapshot.

    Our objects may leave out apiVersion. Namespaces are `{kind: Namespace, name, labels}`, workloads are
    `{kind: Workload, id: NAMESPACE/KIND/NAME, labels, account}`.
    """

    def read_documents(text: str) -> Snapshot:
        found: dict[str, list[Any]] = {}
        for document in YAML(typ="safe").load_all(text):
            if document is None:  # after the last separator
                continue
            kind = document["kind"]
            if kind == "Namespace":
                item: Any = Namespace(name=document["name"], labels=document.get("labels", {}))
            elif kind == "Workload":
                namespace, workload_kind, name = document["id"].split("/")
                item = Workload(
                    namespace=namespace,
                    kind=workload_kind,
                    name=name,
                    labels=document.get("labels", {}),
                    service_account=document.get("account", "default"),
                )
            else:
                item = parse_object({"apiVersion": API_VERSION, **document}).stored
                assert item is not None
            found.setdefault(kind, []).append(item)
        return Snapshot(
            stored={kind: tuple(found[kind]) for kind in KINDS if kind in found},
            namespaces=tuple(found.get("Namespace", ())),
            workloads=tuple(found.get("Workload", ())),
        )

    return read_documents


@pytest.fixture
def compiled(read: Callable[[str], Snapshot]) -> Callable[[str], Compilation]:
    """YAML documents to what becomes of them, with stand-ins for workloads."""

    def compile_documents(text: str) -> Compilation:
        snapshot = read(text)
        workloads = snapshot.workloads + implied_workloads(snapshot)
        return compile_snapshot(replace(snapshot, workloads=workloads))

    return compile_documents


@pytest.fixture
def said() -> Callable[[Compilation], list[str]]:
    """All diagnostics, one line each."""

    def lines(compilation: Compilation) -> list[str]:
        return [
            f"{it.severity} {it.reason}: {it.source}: {format_path(it.path)}: {it.message}"
            for it in compilation.diagnostics
        ]

    return lines
