"""The pod with its sidecar (PURE).

What does not change is not copied: it is the same object in the result, which the comparison of `patch` passes over. A pod of
a hundred kilobytes costs what is added to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from tidegate_operator.index.pods import INJECTED_LABEL
from tidegate_operator.inject import names
from tidegate_operator.inject.container import container, template_hash, volumes
from tidegate_operator.inject.decide import facts_of, sidecar_of
from tidegate_operator.inject.document import Document, annotations_of, items, labels_of, part
from tidegate_operator.inject.enforcing import compare, compare_volumes
from tidegate_operator.inject.environment import OURS, environment
from tidegate_operator.inject.overrides import Overrides, unknown_annotations
from tidegate_operator.inject.sealing import given_by, seal
from tidegate_operator.inject.status import Status, read_status
from tidegate_operator.inject.template import Startup, Template

SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
"""Names volumes whose loss does no harm: without it, ours alone would keep the autoscaler from removing a node."""


_COMPLETED: Final = (
    "resources",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "imagePullPolicy",
)
"""What others may change of a sidecar, but not leave out."""


class Injected(NamedTuple):
    """The result.

    Attributes:
        pod: the whole object.
        warnings: what its author should know.
        mended: what was wrong with the sidecar that stood there.
    """

    pod: Document
    warnings: tuple[str, ...]
    mended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What injecting needs beside the pod.

    Attributes:
        template: the platform's.
        trust: PEM of the authorities that may have signed the operator's certificate.
        former_trust: authorities of a moment ago: a pod that was given them is about to be stored, perhaps.
        key: that all replicas of the injector have, and nobody else.
    """

    template: Template
    trust: str
    former_trust: str = ""
    key: bytes = field(default=b"", repr=False)


def with_sidecar(pod: Document, platform: Platform, overrides: Overrides) -> Injected:
    """The pod with its sidecar; given an injected pod, the same pod, but for what others have added since.

    A sidecar that is there is moved and not made anew: others may have changed it in between for good reasons, as Istio
    leads its probes through the proxy. What enforces is set right (`enforcing`), and one of another template, as in a copy of
    an older pod, is replaced.
    """
    template, spec = platform.template, dict(part(pod, "spec"))
    before = read_status(pod)
    sidecar, mended = _sidecar(pod, platform, overrides, before)
    held = compare_volumes(items(spec, "volumes"), volumes(template))
    spec["volumes"] = held.value
    if before is not None and before.template == template_hash(template):
        mended += held.problems
    spec["initContainers"], position = _placed(spec, sidecar, template)
    status, warnings = _lead_to_sidecar(spec, position, template, before or Status(), overrides)
    image = overrides.image or template.image
    given = given_by(template)
    sealed = seal(platform.key, image, sidecar, held.value, given)
    status = replace(status, image=image, given=given, seal=sealed)
    secrets = items(spec, "imagePullSecrets")
    if missing := [{"name": it} for it in template.pull_secrets if {"name": it} not in secrets]:
        spec["imagePullSecrets"] = [*secrets, *missing]
    annotations = annotations_of(pod)
    metadata = {
        **part(pod, "metadata"),
        "labels": {**labels_of(pod), INJECTED_LABEL: "true"},
        "annotations": {
            **annotations,
            SAFE_TO_EVICT: _safe_to_evict(annotations.get(SAFE_TO_EVICT, "")),
            names.STATUS: status.to_text(),
        },
    }
    result = {**pod, "metadata": metadata, "spec": spec}
    return Injected(result, (*warnings, *unknown_annotations(annotations)), mended)


def wanted_sidecar(pod: Document, platform: Platform, overrides: Overrides, found: Document) -> Document:
    """The container as it would be made for this pod, with the resources of the one that is there."""
    return container(
        platform.template,
        platform.trust,
        _possible(part(pod, "spec"), platform.template, overrides),
        facts_of(pod),
        part(found, "resources"),
    )


def _sidecar(
    pod: Document, platform: Platform, overrides: Overrides, before: Status | None
) -> tuple[Document, tuple[str, ...]]:
    """The container that the pod is to have, and what was wrong with the one that it has."""
    template, found = platform.template, sidecar_of(pod)
    possible = _possible(part(pod, "spec"), template, overrides)
    fresh = container(template, platform.trust, possible, facts_of(pod))
    if before is None or found is None or before.template != template_hash(template):
        return fresh, ()
    if missing := {name: fresh[name] for name in _COMPLETED if fresh.get(name) and not found.get(name)}:
        found = {**found, **missing}
    return compare(found, wanted_sidecar(pod, platform, overrides, found), template)


def _possible(spec: Document, template: Template, overrides: Overrides) -> Overrides:
    """Beside a mesh's proxy that starts with the application, a platform's `Wait` would wait for ever."""
    if overrides.startup is None and any(
        it.get("name") in template.mesh_proxies for it in items(spec, "containers")
    ):
        return replace(overrides, startup=Startup.START)
    return overrides


def _placed(spec: Document, sidecar: Document, template: Template) -> tuple[list[Document], int]:
    """The init containers, and where among them the sidecar stands.

    It is before whatever may call a provider, and after what a mesh's traffic goes through.
    """
    found = [it for it in items(spec, "initContainers") if it.get("name") != names.CONTAINER]
    proxies = [
        index
        for index, it in enumerate(found)
        if it.get("name") in template.mesh_proxies and it.get("restartPolicy") == "Always"
    ]
    position = proxies[-1] + 1 if proxies else 0
    found.insert(position, sidecar)
    return found, position


def _lead_to_sidecar(
    spec: dict[str, Any], position: int, template: Template, before: Status, overrides: Overrides
) -> tuple[Status, list[str]]:
    """Give every container that starts after the sidecar its variables, and say so in a status."""
    added: dict[str, tuple[str, ...]] = {}
    kept: dict[str, tuple[str, ...]] = {}
    warnings: list[str] = []
    for key in ("initContainers", "containers"):
        results: list[Document] = []
        for index, it in enumerate(spec[key]):
            name = str(it.get("name", ""))
            known = before.environment.get(name, ())
            results.append(it)
            if name == names.CONTAINER or (name in template.mesh_proxies and not known):
                continue
            # What starts before the sidecar has nobody to talk to there.
            is_early = key == "initContainers" and index < position
            found = environment(it, OURS if is_early else overrides.exclude, known, template.sdks)
            if found.is_changed:
                results[-1] = {**it, "env": found.env}
            if found.added:
                added[name] = found.added
            if found.kept:
                kept[name] = found.kept
            warnings += found.warnings
        spec[key] = results
    status = Status(version=template.version, template=template_hash(template), environment=added, kept=kept)
    return status, warnings


def _safe_to_evict(names_before: str) -> str:
    parts = [part.strip() for part in names_before.split(",") if part.strip()]
    return ",".join(parts if names.STATE_VOLUME in parts else [*parts, names.STATE_VOLUME])
