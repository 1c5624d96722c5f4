"""Whether a pod gets a sidecar (PURE): inject, skip for a reason, or refuse with what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tidegate_operator.inject import names
from tidegate_operator.inject.container import PodFacts
from tidegate_operator.inject.document import Document, annotations_of, items, part
from tidegate_operator.inject.environment import OURS
from tidegate_operator.inject.optin import Choice, WrongChoice, choice_of
from tidegate_operator.inject.overrides import Overrides, read_overrides
from tidegate_operator.inject.quantity import parse_quantity
from tidegate_operator.inject.status import read_status
from tidegate_operator.inject.template import Startup, Template


class SkipReason(StrEnum):
    """Why a pod stays as it is: a label of the metric, and the reason of the operator's event."""

    NOT_ASKED = "NotAsked"
    OPTED_OUT = "OptedOut"
    ALREADY_INJECTED = "AlreadyInjected"
    HOST_NETWORK = "HostNetwork"
    WINDOWS = "Windows"
    MIRROR_POD = "MirrorPod"
    NO_CONTAINERS = "NoContainers"

    @property
    def message(self) -> str:
        """The reason in words."""
        return _MESSAGES[self]


UNPROTECTED: Final = (
    SkipReason.HOST_NETWORK,
    SkipReason.WINDOWS,
    SkipReason.MIRROR_POD,
    SkipReason.NO_CONTAINERS,
)
"""Somebody asked for a sidecar and does not get one: worth an event."""

_MESSAGES: Final = MappingProxyType(
    {
        SkipReason.NOT_ASKED: "neither the pod nor its namespace asks for a sidecar",
        SkipReason.OPTED_OUT: f"{names.INJECT} is {Choice.DISABLED}",
        SkipReason.ALREADY_INJECTED: "the pod has its sidecar",
        SkipReason.HOST_NETWORK: "with hostNetwork the sidecar's ports would be taken on the node, for all pods at once",
        SkipReason.WINDOWS: "there is no sidecar for Windows",
        SkipReason.MIRROR_POD: "the kubelet made this pod from a file and would not take the change",
        SkipReason.NO_CONTAINERS: "the pod has no containers",
    }
)


class DenyReason(StrEnum):
    """Why something is refused: a label of the metric."""

    WRONG_INJECT = "WrongInject"
    WRONG_OVERRIDE = "WrongOverride"
    NAME_TAKEN = "NameTaken"
    PORT_TAKEN = "PortTaken"
    VOLUME_TAKEN = "VolumeTaken"
    MESH_BLOCKS_START = "MeshBlocksStart"
    TOO_MANY_CONTAINERS = "TooManyContainers"
    SIDECAR_MISSING = "SidecarMissing"
    SIDECAR_CHANGED = "SidecarChanged"


MAX_CONTAINERS: Final = 256
"""Containers of a pod, init containers among them. A node would hardly run as many, and a review that changes thousands of
containers keeps those of other pods waiting."""


@dataclass(frozen=True, slots=True)
class Inject:
    """The pod gets a sidecar, or keeps the one it has."""

    overrides: Overrides


@dataclass(frozen=True, slots=True)
class Skip:
    """The pod stays as it is."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Deny:
    """The pod is refused; `message` says what is wrong and what is allowed."""

    reason: DenyReason
    message: str


Decision = Inject | Skip | Deny


def decide(pod: Document, template: Template, *, by_namespace: bool) -> Decision:
    """What becomes of a pod, or of the pods of a template.

    Args:
        pod: anything with metadata and a pod's spec.
        template: the platform's.
        by_namespace: whether its namespace asks for sidecars; what the pod says itself goes before.
    """
    choice = choice_of(pod)
    if isinstance(choice, WrongChoice):
        return Deny(DenyReason.WRONG_INJECT, choice.message)
    if choice is Choice.DISABLED:
        return Skip(SkipReason.OPTED_OUT)
    if choice is None and not by_namespace:
        return Skip(SkipReason.NOT_ASKED)
    reason = _impossible(pod)
    if reason is not None:
        return Skip(reason)
    overrides = read_overrides(annotations_of(pod), template, OURS)
    if not isinstance(overrides, Overrides):
        return Deny(DenyReason.WRONG_OVERRIDE, "; ".join(wrong.message for wrong in overrides))
    return next(_collisions(pod, template, overrides), Inject(overrides))


def is_injected(pod: Document) -> bool:
    """Whether a pod says that it has a sidecar, and has one: enough for telling nothing twice, and for nothing else."""
    return read_status(pod) is not None and sidecar_of(pod) is not None


def sidecar_of(pod: Document) -> Document | None:
    """The container of our name where a sidecar stands; it may be anybody's."""
    found = items(part(pod, "spec"), "initContainers")
    return next((it for it in found if it.get("name") == names.CONTAINER), None)


def facts_of(pod: Document) -> PodFacts:
    """What its sidecar depends on."""
    spec = part(pod, "spec")
    grace_s = spec.get("terminationGracePeriodSeconds")
    shared = part(spec, "resources")
    return PodFacts(
        guaranteed=_is_guaranteed(spec),
        shared=frozenset(part(shared, "requests")) | frozenset(part(shared, "limits")),
        grace_s=30 if grace_s is None else int(grace_s),
    )


def _impossible(pod: Document) -> SkipReason | None:
    spec = part(pod, "spec")
    if "kubernetes.io/config.mirror" in annotations_of(pod):
        return SkipReason.MIRROR_POD
    system = part(spec, "os").get("name") or part(spec, "nodeSelector").get("kubernetes.io/os")
    if system == "windows":
        return SkipReason.WINDOWS
    if spec.get("hostNetwork"):
        return SkipReason.HOST_NETWORK
    return None if items(spec, "containers") else SkipReason.NO_CONTAINERS


def _collisions(pod: Document, template: Template, overrides: Overrides) -> Iterator[Decision]:
    spec = part(pod, "spec")
    count = sum(1 for it in _all_containers(spec) if it.get("name") != names.CONTAINER)
    if count > MAX_CONTAINERS:
        yield Deny(
            DenyReason.TOO_MANY_CONTAINERS,
            f"the pod has {count} containers; with a sidecar it may have {MAX_CONTAINERS}, init containers among them",
        )
    # What comes with a status is put right, whoever has written it; without one somebody means something else by our names.
    is_ours = is_injected(pod)
    for container in _all_containers(spec):
        name = container.get("name")
        if name == names.CONTAINER:
            if not is_ours:
                yield Deny(DenyReason.NAME_TAKEN, _name_taken(pod))
            continue
        yield from _foreign_mounts(container)
        taken = [
            port["containerPort"]
            for port in items(container, "ports")
            if port.get("containerPort") in names.PORTS
        ]
        if taken:
            yield Deny(
                DenyReason.PORT_TAKEN,
                f"container {name} has port {taken[0]}; the sidecar needs {' and '.join(map(str, names.PORTS))} in the "
                "pod's network; choose another port",
            )
    taken_volumes = [
        volume["name"] for volume in items(spec, "volumes") if volume.get("name") in names.VOLUMES
    ]
    if taken_volumes and read_status(pod) is None:
        yield Deny(
            DenyReason.VOLUME_TAKEN,
            f"a volume is named {taken_volumes[0]}; {', '.join(names.VOLUMES)} are the sidecar's; give it another name",
        )
    proxy = next(
        (it["name"] for it in items(spec, "containers") if it.get("name") in template.mesh_proxies), None
    )
    if proxy and overrides.startup is Startup.WAIT:
        yield Deny(
            DenyReason.MESH_BLOCKS_START,
            f"annotation {names.STARTUP} is {Startup.WAIT}, but {proxy} is an ordinary container: it lets nothing "
            "through before the sidecar has started, which would wait for ever; let the mesh use native sidecars, or "
            f"choose {Startup.START}",
        )


def _name_taken(pod: Document) -> str:
    name = names.CONTAINER
    if read_status(pod) is None:
        return f"a container is named {name}, which is the sidecar's name; give it another name"
    return (
        f"container {name} stands among `containers`, and not among `initContainers` where it was injected: another webhook has "
        "moved it, or the pod is a copy that was changed; let that webhook leave it where it is"
    )


def _foreign_mounts(container: Document) -> Iterator[Decision]:
    for mount in items(container, "volumeMounts"):
        if mount.get("name") in names.VOLUMES:
            yield Deny(
                DenyReason.VOLUME_TAKEN,
                f"container {container.get('name')} mounts volume {mount['name']}, which is the sidecar's alone",
            )


def _is_guaranteed(spec: Document) -> bool:
    """Whether requests are limits for CPU and memory in every container: Kubernetes' class Guaranteed."""
    containers = [it for it in _all_containers(spec) if it.get("name") != names.CONTAINER]
    return bool(containers) and all(_has_equal_bounds(container) for container in containers)


def _has_equal_bounds(container: Document) -> bool:
    limits, requests = part(container, "resources", "limits"), part(container, "resources", "requests")
    for what in ("cpu", "memory"):
        limit = parse_quantity(limits.get(what))
        if not limit or parse_quantity(requests.get(what, limits[what])) != limit:
            return False
    return True


def _all_containers(spec: Document) -> Iterator[Document]:
    yield from items(spec, "initContainers")
    yield from items(spec, "containers")
