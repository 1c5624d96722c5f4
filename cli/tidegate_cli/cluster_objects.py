"""Kubernetes' own objects, as far as policies look at them: Namespaces, and workloads with the labels of their pods.

They are read leniently: whatever else is wrong with them is for the API server to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.api.metadata import DEFAULT_NAMESPACE
from tidegate_operator.api.workloads import TARGETS
from tidegate_operator.compile.diagnostics import FieldPath
from tidegate_operator.index.snapshot import Namespace, Workload
from tidegate_policy.model import ObjectRef

_TEMPLATES: Final[Mapping[tuple[str, str], FieldPath]] = {
    ("", "Pod"): (),
    **{(kind.group, kind.name): kind.template for kind in TARGETS.values()},
}
"""Where a workload, by group and kind, describes its pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObject:
    """A Namespace or a workload.

    Attributes:
        wrong_labels: fields of labels that are no strings, and which are left out.
    """

    ref: ObjectRef
    value: Namespace | Workload
    wrong_labels: tuple[FieldPath, ...]


def is_cluster_object(document: Mapping[str, object]) -> bool:
    """Whether a document is one of those kinds, right or wrong."""
    kind = _group_and_kind(document)
    return kind in _TEMPLATES or kind == ("", "Namespace")


def read_cluster_object(document: Mapping[str, object]) -> ClusterObject | None:
    """The object; None where it has no name, as a Job that is to be given one."""
    kind = _group_and_kind(document)
    name = text_at(document, ("metadata", "name"))
    if not name:
        return None
    template = _TEMPLATES.get(kind, ())
    labels, wrong = _labels(document, (*template, "metadata", "labels"))
    if kind == ("", "Namespace"):
        ref = ObjectRef(kind="Namespace", namespace="", name=name)
        return ClusterObject(ref=ref, value=Namespace(name=name, labels=labels), wrong_labels=wrong)
    workload = Workload(
        namespace=text_at(document, ("metadata", "namespace")) or DEFAULT_NAMESPACE,
        kind=kind[1],
        name=name,
        labels=labels,
        service_account=text_at(document, (*template, "spec", "serviceAccountName")) or "default",
    )
    ref = ObjectRef(kind=workload.kind, namespace=workload.namespace, name=name)
    return ClusterObject(ref=ref, value=workload, wrong_labels=wrong)


def text_at(document: object, path: FieldPath) -> str:
    """The string at `path`; empty where there is none."""
    found = _at(document, path)
    return found if isinstance(found, str) else ""


def _group_and_kind(document: Mapping[str, object]) -> tuple[str, str]:
    return str(document.get("apiVersion", "")).rpartition("/")[0], str(document.get("kind", ""))


def _labels(document: object, path: FieldPath) -> tuple[dict[str, str], tuple[FieldPath, ...]]:
    found = _at(document, path)
    items = found.items() if isinstance(found, dict) else ()
    labels = {key: value for key, value in items if isinstance(value, str)}
    return labels, tuple((*path, key) for key, value in items if not isinstance(value, str))


def _at(value: Any, path: FieldPath) -> object:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value
