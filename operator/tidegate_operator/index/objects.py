"""The newest form of every object that a compile sees, whatever order news about it comes in.

News comes from two sides: a watch that tells one change at a time, perhaps twice or out of order between objects, and
a list that tells all there is at one moment. Both are held against resourceVersions, so an older form never replaces
a newer one, and what a watch missed a list repairs. Pure: who asks and when is decided elsewhere.

resourceVersions are compared as integers, per kind: Kubernetes guarantees their order since 1.35, and etcd's revision
has always been behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, cast

from tidegate_operator.api.kinds import API_VERSION, NAMESPACE, POD, WATCHED, Watched
from tidegate_operator.api.parse import parse_object
from tidegate_operator.api.stored import Stored
from tidegate_operator.index.last_good import LastGood
from tidegate_operator.index.snapshot import Namespace, Snapshot, Workload
from tidegate_policy.model import ObjectRef


class Change(IntEnum):
    """What a piece of news changed; the larger includes the smaller."""

    NOTHING = 0
    STATUS = 1
    """Something that no compile looks at: the status, labels of ours, somebody's annotation."""
    CONTENT = 2
    """Something that a compile looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One object of ours.

    Attributes:
        ref: kind, namespace and name.
        uid: tells an object from an earlier one of the same name.
        version: resourceVersion of this form.
        generation: counts changes of the spec.
        stored: the form as parsed; its spec is None when the form is not valid.
        status: as the API server has it.
    """

    ref: ObjectRef
    uid: str
    version: int
    generation: int
    stored: Stored[Any]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relisted:
    """What a list changed; `missed` names what the watch had not told, `gone` what was there no more."""

    change: Change
    missed: tuple[ObjectRef, ...] = ()
    gone: tuple[ObjectRef, ...] = ()


@dataclass(slots=True)
class _Kind:
    """All objects of one kind, and what is known to be gone."""

    traits: Watched
    held: dict[ObjectRef, Held] = field(default_factory=dict)
    namespaces: dict[ObjectRef, tuple[int, str, Namespace]] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    """uid to the version of the deletion: a list made before it still has the object."""
    version: int = 0
    is_listed: bool = False

    @property
    def change(self) -> Change:
        """What a change of the content of such an object is to a compile."""
        return Change.CONTENT if self.traits.is_compiled else Change.STATUS


class Objects:
    """Objects of the watched kinds; of pods, see `pods.py`."""

    def __init__(self, watched: Mapping[str, Watched] = WATCHED) -> None:
        """Nothing is known yet."""
        self._kinds = {name: _Kind(traits) for name, traits in watched.items() if name != POD}
        self._last_good = LastGood()

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{kind}: {len(known.held) + len(known.namespaces)}@{known.version}"
            for kind, known in self._kinds.items()
        )
        return f"<Objects {counts}>"

    @property
    def versions(self) -> Mapping[str, int]:
        """Newest resourceVersion of each kind that is compiled: everything up to it is known, once the kind has been listed."""
        return {kind: known.version for kind, known in self._kinds.items() if known.traits.is_compiled}

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Kinds of which not all objects are known yet."""
        return tuple(kind for kind, known in self._kinds.items() if not known.is_listed)

    @property
    def last_good(self) -> LastGood:
        """The last valid form of each object, as far as it was seen or read."""
        return self._last_good

    @property
    def held(self) -> Mapping[ObjectRef, Held]:
        """All objects of ours, by reference."""
        return {ref: held for known in self._kinds.values() for ref, held in known.held.items()}

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        """All namespaces."""
        return tuple(namespace for _, _, namespace in self._kinds[NAMESPACE].namespaces.values())

    def get(self, ref: ObjectRef) -> Held | None:
        """One object of ours."""
        return self._kinds[ref.kind].held.get(ref)

    def seen(self, kind: str, document: Mapping[str, Any]) -> Change:
        """Take in a form of an object that exists."""
        known = self._kinds[kind]
        version = _version(document)
        known.version = max(known.version, version)
        uid = str(document["metadata"]["uid"])
        if known.gone.get(uid, 0) >= version:
            return Change.NOTHING
        if kind == NAMESPACE:
            return _take_namespace(known, uid, version, document)
        return self._take(known, kind, uid, version, document)

    def gone(self, kind: str, document: Mapping[str, Any]) -> Change:
        """Take in that an object was deleted; the document has the version of the deletion."""
        known = self._kinds[kind]
        version = _version(document)
        known.version = max(known.version, version)
        uid = str(document["metadata"]["uid"])
        known.gone[uid] = version
        return self._forget(known, _ref(kind, document), uid)

    def lacks(self, kind: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a list has a newer form of an object than is known."""
        known, uid, version = self._kinds[kind], str(metadata["uid"]), int(metadata["resourceVersion"])
        held = known.held.get(_ref(kind, {"metadata": metadata}))
        return known.gone.get(uid, 0) < version and (held is None or held.version < version)

    def relisted(
        self, kind: str, documents: Iterable[Mapping[str, Any]], version: int, unchanged: Iterable[str] = ()
    ) -> Relisted:
        """Take in all objects of a kind as they were at `version`: forms, and the uids of those that are known as they are."""
        known = self._kinds[kind]
        was_listed = known.is_listed
        change, missed = Change.NOTHING, []
        present = set(unchanged)
        for document in documents:
            present.add(str(document["metadata"]["uid"]))
            news = self.seen(kind, document)
            change = max(change, news)
            if news is not Change.NOTHING and was_listed:
                missed.append(_ref(kind, document))
        gone = [(ref, uid) for ref, uid, at in _members(known) if uid not in present and at <= version]
        for ref, uid in gone:
            known.gone[uid] = version
            change = max(change, self._forget(known, ref, uid))
        # a list at this version cannot bring back what went before it
        known.gone = {uid: at for uid, at in known.gone.items() if at > version}
        known.version = max(known.version, version)
        known.is_listed = True
        return Relisted(change=change, missed=tuple(missed), gone=tuple(ref for ref, _ in gone))

    def become(self, others: Objects) -> None:
        """Hold what `others` holds, and nothing that was known before: of another history, it compares with nothing."""
        self._kinds, self._last_good = others._kinds, others._last_good

    def snapshot(self, workloads: Iterable[Workload]) -> Snapshot:
        """Everything a compile needs; an object that is not valid has its last good form."""
        stored = {
            kind: tuple(self._in_force(held) for held in known.held.values())
            for kind, known in self._kinds.items()
            if known.traits.is_ours and known.traits.is_compiled
        }
        return Snapshot(stored=stored, namespaces=self.namespaces, workloads=tuple(workloads))

    def _in_force(self, held: Held) -> Stored[Any]:
        if held.stored.spec is not None:
            return held.stored
        good = self._last_good.form(held.ref, held.uid)
        if good is None:
            return held.stored
        return replace(held.stored, spec=good.spec, generation=good.generation, targets={})

    def _take(self, known: _Kind, kind: str, uid: str, version: int, document: Mapping[str, Any]) -> Change:
        ref = _ref(kind, document)
        before = known.held.get(ref)
        if before is not None and before.version >= version:
            return Change.NOTHING
        status = cast("Mapping[str, Any]", document.get("status") or {})
        generation = int(document["metadata"].get("generation") or 0)
        if before is not None and before.uid == uid and before.generation == generation:
            # the spec is the same, so the costly part, parsing it, has been done
            known.held[ref] = replace(before, version=version, status=status)
            return Change.STATUS
        stored = _parse(kind, document)
        if stored is None:
            return Change.NOTHING
        held = Held(
            ref=ref,
            uid=uid,
            version=version,
            generation=generation,
            stored=stored,
            status=status,
        )
        if before is not None and before.uid != uid:
            self._last_good.forget(before.uid)
        if stored.spec is not None and known.traits.is_compiled:
            spec = cast("Mapping[str, Any]", document.get("spec") or {})
            self._last_good.remember(ref, uid, generation, spec, stored)
        known.held[ref] = held
        return known.change

    def _forget(self, known: _Kind, ref: ObjectRef, uid: str) -> Change:
        held, namespace = known.held.get(ref), known.namespaces.get(ref)
        if held is not None and held.uid == uid:
            del known.held[ref]
            self._last_good.forget(uid)
            return known.change
        if namespace is not None and namespace[1] == uid:
            del known.namespaces[ref]
            return Change.CONTENT
        return Change.NOTHING


def _take_namespace(known: _Kind, uid: str, version: int, document: Mapping[str, Any]) -> Change:
    ref = _ref(NAMESPACE, document)
    before = known.namespaces.get(ref)
    if before is not None and before[0] >= version:
        return Change.NOTHING
    labels = {str(key): str(value) for key, value in (document["metadata"].get("labels") or {}).items()}
    namespace = Namespace(name=ref.name, labels=labels)
    known.namespaces[ref] = (version, uid, namespace)
    return Change.STATUS if before is not None and before[2] == namespace else Change.CONTENT


def _members(known: _Kind) -> list[tuple[ObjectRef, str, int]]:
    return [(ref, held.uid, held.version) for ref, held in known.held.items()] + [
        (ref, uid, version) for ref, (version, uid, _) in known.namespaces.items()
    ]


def _parse(kind: str, document: Mapping[str, Any]) -> Stored[Any] | None:
    """The object; lists leave out its kind and apiVersion, and what we keep of metadata is what parsing reads."""
    whole = {"apiVersion": API_VERSION, **document, "kind": kind}
    return parse_object(whole).stored


def _ref(kind: str, document: Mapping[str, Any]) -> ObjectRef:
    metadata = document["metadata"]
    return ObjectRef(kind=kind, namespace=str(metadata.get("namespace") or ""), name=str(metadata["name"]))


def _version(document: Mapping[str, Any]) -> int:
    return int(document["metadata"]["resourceVersion"])
