"""Kinds of Argo and OpenKruise, as far as Tidegate has to do with them: their objects have a pod template and own pods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.waiting import wait_until

from tidegate_testing.objects import Objects

_WITHIN_S = 120


class ForeignKind(NamedTuple):
    """A kind of another API group."""

    group: str
    version: str
    kind: str
    plural: str

    def definition(self) -> dict[str, Any]:
        """A definition that takes whatever is in its objects."""
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        names = {
            "kind": self.kind,
            "plural": self.plural,
            "singular": self.kind.lower(),
            "listKind": f"{self.kind}List",
        }
        version = {
            "name": self.version,
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": anything},
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{self.group}"},
            "spec": {"group": self.group, "names": names, "scope": "Namespaced", "versions": [version]},
        }

    def document(
        self, namespace: str, template: dict[str, Any] | None = None, **metadata: Any
    ) -> dict[str, Any]:
        """An object `chat`."""
        return {
            "apiVersion": f"{self.group}/{self.version}",
            "kind": self.kind,
            "metadata": {"name": "chat", "namespace": namespace, **metadata},
            "spec": {"replicas": 1, "template": template or {}},
        }


ROLLOUT = ForeignKind("argoproj.io", "v1alpha1", "Rollout", "rollouts")
CLONE_SET = ForeignKind("apps.kruise.io", "v1alpha1", "CloneSet", "clonesets")
ADVANCED_STATEFUL_SET = ForeignKind("apps.kruise.io", "v1beta1", "StatefulSet", "statefulsets")
"""It has the name of one of Kubernetes' own kinds, and is another one."""
FOREIGN_KINDS = (ROLLOUT, CLONE_SET, ADVANCED_STATEFUL_SET)


@contextmanager
def foreign_kinds(control_plane: ControlPlane) -> Iterator[Objects]:
    """A cluster serves these kinds for so long; to other tests a word such as statefulset means nothing else."""
    objects = Objects(control_plane)
    for kind in FOREIGN_KINDS:
        objects.apply(kind.definition())
    try:
        wait_until(
            lambda: all(_is_served(control_plane, kind) for kind in FOREIGN_KINDS),
            within_s=_WITHIN_S,
            what="the kinds of Argo and OpenKruise",
        )
        yield objects
    finally:
        for kind in FOREIGN_KINDS:
            objects.delete("customresourcedefinitions", "", f"{kind.plural}.{kind.group}")


def _is_served(control_plane: ControlPlane, kind: ForeignKind) -> bool:
    return control_plane.request("GET", f"/apis/{kind.group}/{kind.version}/{kind.plural}").status == 200
