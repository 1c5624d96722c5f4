"""What of the sidecar enforces, and what others may change (PURE).

The image, the command, our variables and mounts, the restart policy and the security context are ours, whoever comes after
us. Resources, probes and what others add stay theirs, unless it would change which program runs or what it is told.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tidegate_operator.inject import names
from tidegate_operator.inject.container import FROM_THE_POD, TRUST
from tidegate_operator.inject.document import Document, items, part
from tidegate_operator.inject.sealing import PREFIX
from tidegate_operator.inject.template import Template

_DROPPED: Final = ("args", "envFrom", "lifecycle", "restartPolicyRules", "workingDir")
"""Fields that we never set: each would say something to the program, or run another one in its place."""
_LOADS_CODE: Final = ("LD_", "OPENSSL_", "PYTHON")
"""Beginnings of variables by which other code is loaded: the image itself has its bytecode by `PYTHONPYCACHEPREFIX`."""
_READS_OR_TELLS: Final = frozenset({"GCONV_PATH", "GLIBC_TUNABLES", "PATH", "SSLKEYLOGFILE"})
"""Others that change which code runs, or write keys of connections down."""
_PROGRAM: Final = (
    "/opt/tidegate",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
)
"""Where the image has its program and what that needs: nothing may be mounted over it."""
_TOLD: Final = 8
"""Variables or mounts that a message names; a pod can bring thousands."""
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Compared(NamedTuple):
    """A part of a pod, looked at.

    Attributes:
        value: as it may stay: the same object when nothing is wrong with it.
        problems: what was wrong, in words that go on after "the sidecar".
    """

    value: Any
    problems: tuple[str, ...] = ()


def compare(found: Document, wanted: Document, template: Template) -> Compared:
    """The container that is there, held against the one that would be made now."""
    problems: list[str] = []
    result: dict[str, Any] = dict(found)
    if not is_image(str(found.get("image", "")), str(wanted["image"]), template):
        result["image"] = wanted["image"]
        problems.append(
            f"has the image {found.get('image', '')!r} in place of {wanted['image']!r}; a mirror has to be allowed by "
            "TIDEGATE_SIDECAR_IMAGES (sidecar.images) and to name the same digest"
        )
    for field in ("command", "restartPolicy"):
        if found.get(field) != wanted[field]:
            result[field] = wanted[field]
            problems.append(f"has {field} {found.get(field)!r} in place of {wanted[field]!r}")
    for field in _DROPPED:
        if found.get(field):
            del result[field]
            problems.append(f"has {field}, which Tidegate never sets")
    if lost := [
        it for it in items(wanted, "ports") if not any(_covers(one, it) for one in items(found, "ports"))
    ]:
        taken = {it["name"] for it in lost}
        result["ports"] = [*lost, *(it for it in items(found, "ports") if it.get("name") not in taken)]
        problems.append(f"has lost its ports {', '.join(sorted(taken))}")
    for field, compared in (
        ("env", _environment(items(found, "env"), items(wanted, "env"))),
        ("volumeMounts", _mounts(items(found, "volumeMounts"), items(wanted, "volumeMounts"))),
        ("securityContext", _security(part(found, "securityContext"), wanted["securityContext"])),
    ):
        if compared.value is not None:
            result[field] = compared.value
        problems += compared.problems
    return Compared(found if result == found else result, tuple(problems))


def compare_volumes(found: Collection[Document], wanted: Collection[Document]) -> Compared:
    """A pod's volumes: ours as they have to be, and those of others as they are."""
    by_name = {str(it.get("name")): it for it in found}
    wrong = [it["name"] for it in wanted if not _covers(by_name.get(it["name"]), it)]
    too_many = {*names.VOLUMES} & by_name.keys() - {it["name"] for it in wanted}
    if not wrong and not too_many:
        return Compared(list(found))
    kept = [it for it in found if it.get("name") not in names.VOLUMES]
    return Compared(
        [*kept, *wanted], tuple(f"has another volume {name} than Tidegate gave it" for name in wrong)
    )


def tolerated(wanted: Document, found: Document) -> Document:
    """What would be made now, with those values of `found` that another replica may well have written.

    Sizes and times follow from what others may change afterwards, and while authorities change replicas do not know the
    same ones.
    """
    present = {it.get("name"): it.get("value") for it in items(found, "env")}

    def taken(entry: Document) -> Document:
        value = str(present.get(entry["name"]) or "")
        is_fine = (entry["name"] in FROM_THE_POD and value.isdecimal()) or (
            entry["name"] == TRUST and shares_authority(value, str(entry.get("value", "")))
        )
        return {**entry, "value": value} if is_fine else entry

    return {**wanted, "env": [taken(it) for it in items(wanted, "env")]}


def shares_authority(one: str, other: str) -> bool:
    """Whether two lists of authorities (PEM) have one in common."""
    return one == other or bool({*_CERTIFICATE.findall(one)} & {*_CERTIFICATE.findall(other)})


def is_image(found: str, wanted: str, template: Template) -> bool:
    """Whether an image is the one that is wanted, or the same from an allowed mirror: its digest is the same."""
    digest = wanted.partition("@")[2]
    return found == wanted or (
        bool(digest) and found.partition("@")[2] == digest and template.allows_image(found)
    )


def _environment(found: Collection[Document], wanted: Collection[Document]) -> Compared:
    by_name: Mapping[str, Document] = {str(it["name"]): it for it in wanted}
    last = {str(it.get("name")): it for it in found}  # of several with one name the last one counts
    changed = [name for name, entry in by_name.items() if not _is_same_entry(last.get(name, {}), entry)]
    added = [name for name in last if name not in by_name and _is_to_be_ours(name)]
    if not changed and not added:
        return Compared(None)
    ours = {*by_name, *added}
    kept = [it for it in found if str(it.get("name")) not in ours]
    told_of = sorted({*changed} - {*FROM_THE_POD})
    return Compared(
        [*wanted, *kept],
        (
            *((f"has lost or changed {_first(told_of)}",) if told_of else ()),
            *((f"has got {_first(sorted(added))}, which would change what it does",) if added else ()),
        ),
    )


def _mounts(found: Collection[Document], wanted: Collection[Document]) -> Compared:
    by_path = {_path(it): it for it in wanted}
    present = {_path(it): it for it in found}
    changed = [path for path, entry in by_path.items() if not _is_same_mount(present.get(path, {}), entry)]
    guarded = (*by_path, *_PROGRAM)
    over = [
        path
        for path in present
        if path not in by_path and any(_is_within(path, it) or _is_within(it, path) for it in guarded)
    ]
    if not changed and not over:
        return Compared(None)
    ours = {*by_path, *over}
    kept = [it for it in found if _path(it) not in ours]
    return Compared(
        [*wanted, *kept],
        (
            *((f"has another mount at {_first(changed)}",) if changed else ()),
            *((f"has a mount at {_first(over)}, over what is Tidegate's",) if over else ()),
        ),
    )


def _first(told_of: Sequence[str]) -> str:
    """As many as somebody reads."""
    more = len(told_of) - _TOLD
    return ", ".join(told_of[:_TOLD]) + (f" and {more} more" if more > 0 else "")


def _security(found: Document, wanted: Document) -> Compared:
    weaker = tuple(sorted(_weaker(found, wanted)))
    if not weaker:
        return Compared(None)
    kept = {name: value for name, value in found.items() if name not in weaker}
    return Compared({**kept, **wanted}, (f"has a weaker securityContext: {', '.join(weaker)}",))


def _weaker(found: Document, wanted: Document) -> Iterator[str]:
    for field in ("allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsNonRoot"):
        if found.get(field) is not wanted[field]:
            yield field
    for field in ("runAsUser", "runAsGroup"):
        if field in wanted and found.get(field) != wanted[field]:
            yield field
    capabilities = part(found, "capabilities")
    selinux = str(part(found, "seLinuxOptions").get("type") or "container_t")
    is_weak = {
        "privileged": bool(found.get("privileged")),
        "capabilities": "ALL" not in (capabilities.get("drop") or ()) or bool(capabilities.get("add")),
        "seccompProfile": part(found, "seccompProfile").get("type") not in ("RuntimeDefault", "Localhost"),
        "appArmorProfile": part(found, "appArmorProfile").get("type") == "Unconfined",
        "procMount": found.get("procMount") not in (None, "Default"),
        "seLinuxOptions": not selinux.startswith("container_"),
    }
    yield from (field for field, it in is_weak.items() if it)


def _covers(found: Any, wanted: Any) -> bool:
    """Whether a value says all that is wanted; the API server adds defaults to objects, and nothing to lists."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            _covers(found.get(name), value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_covers(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


def _is_same_entry(found: Document, wanted: Document) -> bool:
    if "valueFrom" in wanted:
        return _covers(found, wanted)
    return (
        found.get("name") == wanted["name"]
        and str(found.get("value") or "") == str(wanted.get("value") or "")
        and not found.get("valueFrom")
    )


def _is_to_be_ours(name: str) -> bool:
    if name.startswith(PREFIX):
        return name not in FROM_THE_POD
    return name.startswith(_LOADS_CODE) or name in _READS_OR_TELLS


def _is_same_mount(found: Document, wanted: Document) -> bool:
    fields = ("name", "readOnly", "subPath", "subPathExpr", "mountPropagation")
    return all((found.get(it) or None) == wanted.get(it) for it in fields)


def _path(mount: Document) -> str:
    """The place of a mount; `/var/run` is a name of `/run` in nearly every image."""
    path = posixpath.normpath(f"/{str(mount.get('mountPath', '')).lstrip('/')}")
    return path.removeprefix("/var") if _is_within(path, "/var/run") else path


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
