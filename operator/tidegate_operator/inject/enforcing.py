"""What of a sidecar's container makes it enforce anything (PURE): told from what others may change, and put right.

A pod comes with whatever its author and the webhooks of others have written: a status copied from another pod, a container
of our name with an image of somebody else, our own container with its `restartPolicy` taken away. What it says about itself
buys nothing. Image, command, arguments, our variables and mounts, ports, `restartPolicy` and the security context are ours;
resources, probes, and what others add beside that (variables, mounts) are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tidegate_operator.inject.document import Document, items, part
from tidegate_operator.inject.template import Template

OUR_VARIABLES: Final = "TIDEGATE_"
"""A beginning of names that only the sidecar reads: one that is not ours to set would change what it does."""

_EXACT: Final = ("command", "args", "restartPolicy")
_FORBIDDEN: Final = ("envFrom", "lifecycle", "workingDir")
"""Settings out of a ConfigMap, commands within the sidecar, another folder to start in."""


def faults(found: Document, wanted: Document, template: Template) -> tuple[str, ...]:
    """The fields of the container `found` that keep it from doing what `wanted` does, as their names."""
    return tuple(dict.fromkeys(_faults(found, wanted, template)))


def mended(found: Document, wanted: Document, template: Template) -> Document:
    """The container with everything that enforces as it is wanted; the same object where nothing has to be put right."""
    if not faults(found, wanted, template):
        return found
    result = {key: value for key, value in found.items() if key not in (*_EXACT, *_FORBIDDEN)}
    result |= {key: wanted[key] for key in _EXACT if key in wanted}
    if not _is_our_image(str(found.get("image", "")), str(wanted["image"]), template):
        result["image"] = wanted["image"]
    result["env"] = [*items(wanted, "env"), *_of_others(found, wanted)]
    result["volumeMounts"] = [*items(wanted, "volumeMounts"), *_mounts_of_others(found, wanted)]
    result["ports"] = [
        *items(wanted, "ports"),
        *(it for it in items(found, "ports") if not _is_in(it, wanted, "ports")),
    ]
    result["securityContext"] = {**part(found, "securityContext"), **part(wanted, "securityContext")}
    return result


def _faults(found: Document, wanted: Document, template: Template) -> Iterator[str]:
    if not _is_our_image(str(found.get("image", "")), str(wanted["image"]), template):
        yield "image"
    yield from (key for key in _EXACT if (found.get(key) or None) != wanted.get(key))
    yield from (key for key in _FORBIDDEN if found.get(key))
    if not _has_variables(found, wanted):
        yield "env"
    yield from (
        key
        for key in ("volumeMounts", "ports")
        if not all(_is_in(it, found, key) for it in items(wanted, key))
    )
    hidden = len(items(found, "volumeMounts")) - len(_mounts_of_others(found, wanted))
    if hidden != len(items(wanted, "volumeMounts")):
        yield "volumeMounts"
    context = part(found, "securityContext")
    if any(context.get(key) != value for key, value in part(wanted, "securityContext").items()):
        yield "securityContext"


def _has_variables(found: Document, wanted: Document) -> bool:
    """Whether ours are there, each once and as they are wanted, and no other that only a sidecar reads."""
    ours = {str(it["name"]): it for it in items(wanted, "env")}
    own = [it for it in items(found, "env") if it.get("name") in ours or _is_setting(it)]
    return len(own) == len(ours) and {str(it.get("name")): it for it in own} == ours


def _is_our_image(found: str, wanted: str, template: Template) -> bool:
    """Whether it is the image that the pod is to have, or the same one from a mirror that the platform allows."""
    digest = wanted.partition("@")[2]
    return found == wanted or bool(digest and found.endswith(f"@{digest}") and template.allows_image(found))


def _is_setting(entry: Document) -> bool:
    return str(entry.get("name", "")).startswith(OUR_VARIABLES)


def _of_others(found: Document, wanted: Document) -> list[Document]:
    ours = {it["name"] for it in items(wanted, "env")}
    return [it for it in items(found, "env") if it.get("name") not in ours and not _is_setting(it)]


def _mounts_of_others(found: Document, wanted: Document) -> list[Document]:
    """Mounts that are not ours, and do not hide ours."""
    paths = {str(it["mountPath"]) for it in items(wanted, "volumeMounts")}
    return [
        it for it in items(found, "volumeMounts") if str(it.get("mountPath", "")).rstrip("/") not in paths
    ]


def _is_in(item: Any, container: Document, key: str) -> bool:
    """Whether a list of the container has the item, what the API server has filled in since left aside."""
    return any(all(it.get(name) == value for name, value in item.items()) for it in items(container, key))
