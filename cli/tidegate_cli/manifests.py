"""Files to one `Snapshot`: the same view that the operator has of a cluster, with a line for every field.

Our own kinds are parsed with the operator's models, Namespaces and workloads are read as far as policies look at
them, and every other kind is left alone. Nothing is raised for what a person wrote: all problems are collected, so
that one run shows them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate_cli import files
from tidegate_cli.cluster_objects import is_cluster_object, read_cluster_object, text_at
from tidegate_cli.documents import Document, read_documents
from tidegate_cli.positions import Flaw, Node
from tidegate_cli.problems import Problem, in_order
from tidegate_operator.api.parse import is_ours, parse_object
from tidegate_operator.compile.diagnostics import Diagnostic, FieldPath, Severity, format_path
from tidegate_operator.index.snapshot import Namespace, Snapshot, Stored, Workload, by_kind
from tidegate_policy.model import ObjectRef


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is defined."""

    file: str
    root: Node

    def line(self, path: FieldPath = ()) -> int:
        """The line of a field; of a field that is not there, of the nearest object around it."""
        return self.root.line_of(path)

    def __str__(self) -> str:
        return f"{self.file}:{self.root.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What a set of files says.

    Attributes:
        snapshot: what the compiler gets; objects with problems are in it without their spec.
        places: where each object of ours, Namespace and workload is defined.
        problems: all that is wrong so far, in order; the compiler has more to say.
        objects: how many objects of ours there are, right or wrong.
        invalid: objects of ours that have problems and are not in force.
        left_out: documents of other kinds, a line for each.
    """

    snapshot: Snapshot
    places: Mapping[ObjectRef, Place]
    problems: tuple[Problem, ...]
    objects: int
    invalid: frozenset[ObjectRef]
    left_out: tuple[str, ...]


def load(paths: Sequence[Path]) -> Manifests:
    """Read everything at and below `paths`."""
    listing = files.find(paths)
    reader = _Reader(problems=listing.problems)
    for file in listing.files:
        text = files.read(file)
        if isinstance(text, Problem):
            reader.problems.append(text)
            continue
        for document in read_documents(text):
            reader.document(str(file), document)
    if not reader.problems and not reader.objects:
        message = (
            "no object of the group tidegate.dev in these files: an AIPolicy and a ProviderPool are the least"
        )
        reader.problems.append(Problem(file=str(paths[0]), message=message))
    return reader.finish()


def located(manifests: Manifests, diagnostics: Iterable[Diagnostic]) -> tuple[Problem, ...]:
    """What the compiler says, with files and lines."""
    return tuple(_locate(manifests, diagnostic) for diagnostic in diagnostics)


def _locate(manifests: Manifests, diagnostic: Diagnostic) -> Problem:
    source = diagnostic.source
    place = manifests.places.get(source)
    return Problem(
        file=place.file if place else "(no file)",
        line=place.line(diagnostic.path) if place else 0,
        object=f"{source.kind}/{source.name}",
        path=format_path(diagnostic.path),
        message=diagnostic.message,
        severity=diagnostic.severity,
    )


@dataclass(slots=True)
class _Reader:
    """Collects while documents pass by."""

    problems: list[Problem]
    places: dict[ObjectRef, Place] = field(default_factory=dict)
    stored: list[Stored[Any]] = field(default_factory=list)
    namespaces: list[Namespace] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    objects: int = 0

    def document(self, file: str, document: Document) -> None:
        """Read one document, or each item of a List."""
        if document.root is None:
            self.problems += [_flaw_problem(file, flaw) for flaw in document.flaws]
            return
        if not isinstance(document.root.value, dict):
            message = "a manifest is an object with apiVersion, kind, metadata and spec; this document is not"
            self.problems.append(Problem(file=file, line=document.root.line, message=message))
            return
        for prefix, root in _items(document.root):
            flaws = [
                flaw._replace(path=flaw.path[len(prefix) :])
                for flaw in document.flaws
                if flaw.path[: len(prefix)] == prefix
            ]
            self._object(file, root, flaws)

    def finish(self) -> Manifests:
        """All that was read."""
        snapshot = Snapshot(
            stored=by_kind(self.stored),
            namespaces=tuple(self.namespaces),
            workloads=tuple(self.workloads),
        )
        return Manifests(
            snapshot=snapshot,
            places=self.places,
            problems=in_order(self.problems),
            objects=self.objects,
            invalid=frozenset(it.ref for it in self.stored if it.problem),
            left_out=tuple(self.left_out),
        )

    def _object(self, file: str, root: Node, flaws: list[Flaw]) -> None:
        value = root.value
        kind = str(value.get("kind", ""))
        label = f"{kind}/{text_at(value, ('metadata', 'name'))}".rstrip("/")
        # In a file the kind may be anything, even a list, and here it is looked up as a word.
        if is_ours({**value, "kind": kind}):
            self._ours(Place(file, root), label, flaws)
        elif is_cluster_object(value):
            self.problems += [_flaw_problem(file, flaw, label) for flaw in flaws]
            self._cluster_object(Place(file, root))
        elif not kind or not value.get("apiVersion"):
            message = "no apiVersion and kind, so this is no Kubernetes object; it is left out"
            self.problems.append(
                Problem(file=file, line=root.line, message=message, severity=Severity.WARNING)
            )
        else:
            self.left_out.append(f"{file}:{root.line}: {label}: not a kind that policies look at, left out")

    def _ours(self, place: Place, label: str, flaws: list[Flaw]) -> None:
        self.objects += 1
        parsed = parse_object(place.root.value)
        self.problems += [_flaw_problem(place.file, flaw, label) for flaw in flaws]
        self.problems += [
            Problem(
                file=place.file,
                line=place.line(problem.path),
                object=label,
                path=format_path(problem.path),
                message=problem.message,
            )
            for problem in parsed.problems
        ]
        if parsed.stored is not None and self._is_new(parsed.stored.ref, place):
            self.stored.append(parsed.stored)

    def _cluster_object(self, place: Place) -> None:
        found = read_cluster_object(place.root.value)
        if found is None:
            self.left_out.append(f"{place}: {place.root.value['kind']}: without metadata.name, left out")
            return
        if not self._is_new(found.ref, place):
            return
        for path in found.wrong_labels:
            self.problems.append(
                Problem(
                    file=place.file,
                    line=place.line(path),
                    object=f"{found.ref.kind}/{found.ref.name}",
                    path=format_path(path),
                    message="a label is a string; put the value in quotes",
                )
            )
        if isinstance(found.value, Namespace):
            self.namespaces.append(found.value)
        else:
            self.workloads.append(found.value)

    def _is_new(self, ref: ObjectRef, place: Place) -> bool:
        first = self.places.setdefault(ref, place)
        if first is place:
            return True
        self.problems.append(
            Problem(
                file=place.file,
                line=place.line(("metadata", "name")),
                object=f"{ref.kind}/{ref.name}",
                path="metadata.name",
                message=f"{ref} is defined at {first} already; keep one of them, or give this one another name",
            )
        )
        return False


def _items(root: Node, prefix: FieldPath = ()) -> Iterator[tuple[FieldPath, Node]]:
    """The object itself, or the objects in it when it is what `kubectl get -o yaml` prints for several."""
    items = root.members.get("items", (0, None))[1]
    if (
        not str(root.value.get("kind", "")).endswith("List")
        or items is None
        or not isinstance(items.value, list)
    ):
        yield prefix, root
        return
    for index, (_, item) in items.members.items():
        if isinstance(item.value, dict):
            yield from _items(item, (*prefix, "items", index))


def _flaw_problem(file: str, flaw: Flaw, label: str = "") -> Problem:
    return Problem(
        file=file,
        line=flaw.line,
        column=flaw.column,
        object=label,
        path=format_path(flaw.path),
        message=flaw.message,
    )
