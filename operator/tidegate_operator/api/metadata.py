"""The part of metadata that we read: which object it is, and how old."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tidegate_operator.api.messages import unknown_field
from tidegate_operator.api.problems import FieldPath, Problem, describe

DEFAULT_NAMESPACE: Final = "default"
"""Where a manifest without namespace belongs, as with kubectl."""

_MAX_NAMESPACE: Final = 63
_MAX_NAME: Final = 253
_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAMESPACE: Final = re.compile(_LABEL)
_WORD: Final = re.compile("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_FIELDS: Final = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What metadata says.

    Attributes:
        name: empty when it is missing or no name.
        namespace: empty for cluster-scoped kinds, None when it is no namespace.
        created: RFC 3339 in UTC, empty when there is none.
        generation: 0 when there is none.
        problems: what is wrong, with paths from the root of the document.
    """

    name: str = ""
    namespace: str | None = None
    created: str = ""
    generation: int = 0
    problems: tuple[Problem, ...] = ()


def read_metadata(raw: object, *, namespaced: bool) -> Metadata:
    """Read the metadata of an object of a namespaced or cluster-scoped kind."""
    if not isinstance(raw, Mapping):
        found = (
            "missing; metadata.name is required"
            if raw is None
            else f"expected an object, found {describe(raw)}"
        )
        return Metadata(problems=(Problem(("metadata",), found),))
    problems = [
        Problem(("metadata", str(key)), unknown_field(key, _FIELDS)) for key in raw if key not in _FIELDS
    ]
    name = _read_name(raw.get("name"), problems)
    namespace = _read_namespace(raw.get("namespace"), problems, namespaced=namespaced)
    for field in ("labels", "annotations"):
        problems += _words_problems(raw.get(field), ("metadata", field))
    generation = raw.get("generation")
    return Metadata(
        name=name,
        namespace=namespace,
        created=_read_time(raw.get("creationTimestamp")),
        generation=generation if isinstance(generation, int) else 0,
        problems=tuple(problems),
    )


def _read_name(value: object, problems: list[Problem]) -> str:
    if isinstance(value, str) and len(value) <= _MAX_NAME and _NAME.fullmatch(value):
        return value
    expected = "expected lower-case letters, digits, '-' and '.', at most 253 characters"
    message = "missing; this field is required" if value is None else f"{expected}, found {describe(value)}"
    problems.append(Problem(("metadata", "name"), message))
    return ""


def _read_namespace(value: object, problems: list[Problem], *, namespaced: bool) -> str | None:
    path: FieldPath = ("metadata", "namespace")
    if not namespaced:
        if value:
            problems.append(Problem(path, "the kind is cluster-scoped; remove the namespace"))
        return ""
    if not value:
        return DEFAULT_NAMESPACE
    if isinstance(value, str) and len(value) <= _MAX_NAMESPACE and _NAMESPACE.fullmatch(value):
        return value
    expected = "expected lower-case letters, digits and '-', at most 63 characters"
    problems.append(Problem(path, f"{expected}, found {describe(value)}"))
    return None


def _words_problems(value: object, path: FieldPath) -> list[Problem]:
    """Labels and annotations are strings by strings; YAML makes booleans and numbers of bare words."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [Problem(path, f"expected an object, found {describe(value)}")]
    problems = []
    for key, item in value.items():
        at = (*path, str(key))
        if not _is_key(str(key), path):
            found = f"expected a key such as app or example.com/team, found {describe(str(key))}"
            problems.append(Problem(at, found))
        if not isinstance(item, str):
            problems.append(Problem(at, f"expected a string, found {describe(item)}; put it in quotes"))
        elif path[-1] == "labels" and item and not _WORD.fullmatch(item):
            expected = "expected letters, digits, '-', '_' and '.', at most 63 characters"
            problems.append(Problem(at, f"{expected}, found {describe(item)}"))
    return problems


def _is_key(key: str, path: FieldPath) -> bool:
    """Whether the API server takes it for a key: a word, maybe behind a DNS name and a slash."""
    prefix, slash, word = key.rpartition("/")
    if path[-1] == "annotations":
        prefix = prefix.lower()
    if slash and not (len(prefix) <= _MAX_NAME and _NAME.fullmatch(prefix)):
        return False
    return _WORD.fullmatch(word) is not None


def _read_time(value: object) -> str:
    """The time in UTC, so that times compare as text; empty for what is no time, as kubectl's null."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return ""
    if not isinstance(value, datetime):
        return ""
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
