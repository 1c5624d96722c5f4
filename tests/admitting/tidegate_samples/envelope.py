"""Samples of what surrounds a spec: the top level and the metadata, which have the API server's own schema.

What the server alone writes (creationTimestamp, generation, status) is not judged by us and has no samples here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tidegate_operator.api.kinds import Kind, Scope
from tidegate_samples.places import ABSENT, changed, valid_documents
from tidegate_samples.sample import Sample, Stricter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_operator.api.problems import FieldPath

_NAME: Final = ("metadata", "name")
_NAMESPACE: Final = ("metadata", "namespace")
_LABELS: Final = ("metadata", "labels")
_ANNOTATIONS: Final = ("metadata", "annotations")

_ACCEPTED: Final[tuple[tuple[FieldPath, str, Any], ...]] = (
    (_NAME, "253 characters", "a" * 253),
    (_NAME, "dots and hyphens inside", "a-0.b-1"),
    (_LABELS, "a prefix, a capital and no value", {"example.com/Team": "A", "b": ""}),
    (_LABELS, "a value of 63 characters", {"a": "b" * 63}),
    (_LABELS, "no labels", {}),
    (_LABELS, "nothing", None),
    (_ANNOTATIONS, "a text of several lines", {"example.com/note": "a\nb"}),
    (_ANNOTATIONS, "a capital in a prefix", {"Example.com/note": "a"}),
    (("metadata", "finalizers"), "a finalizer", ["example.com/keep"]),
)
"""Field, what is there, value."""

_REJECTED: Final[tuple[tuple[FieldPath, str, Any, str], ...]] = (
    (("specs",), "an unknown field beside spec", {}, "unknown field"),
    (("metadata", "label"), "an unknown field", {}, "unknown field"),
    (_NAME, "254 characters", "a" * 254, "must be no more than 253"),
    (_NAME, "a capital", "Chat", "a lowercase RFC 1123 subdomain"),
    (_NAME, "two dots", "a..b", "a lowercase RFC 1123 subdomain"),
    (_NAME, "a number", 5, "cannot unmarshal number"),
    (_NAME, "left out", ABSENT, "name or generateName is required"),
    (_LABELS, "a list", [], "cannot unmarshal array"),
    (_LABELS, "a boolean as a value", {"a": True}, "cannot unmarshal bool"),
    (_LABELS, "a space in a key", {"a b": "c"}, "name part must consist of"),
    (_LABELS, "a key of 64 characters", {"a" * 64: "c"}, "name part must be no more than 63"),
    (_LABELS, "a capital in a prefix", {"Example.com/a": "c"}, "prefix part"),
    (_LABELS, "a prefix of 254 characters", {f"{'a' * 254}/a": "c"}, "prefix part"),
    (_LABELS, "a prefix with two dots", {"a..b/a": "c"}, "prefix part"),
    (_LABELS, "nothing before the slash", {"/a": "c"}, "prefix part"),
    (_LABELS, "a space in a value", {"a": "b c"}, "a valid label must be"),
    (_LABELS, "a value of 64 characters", {"a": "b" * 64}, "must be no more than 63"),
    (_ANNOTATIONS, "a number as a value", {"a": 1}, "cannot unmarshal number"),
    (_ANNOTATIONS, "a space in a key", {"a b": "c"}, "name part must consist of"),
)
"""Field, what is wrong, value, words of the server."""


def envelope_samples(kind: Kind[Any]) -> Iterator[Sample]:
    """The same for each kind, but for namespaces."""
    document = valid_documents(kind)[0]
    for field, what, value in _ACCEPTED:
        yield Sample(kind=kind, field=field, what=what, document=changed(document, field, value))
    for field, what, value, said in _REJECTED:
        yield Sample(kind=kind, field=field, what=what, document=changed(document, field, value), said=said)
    if kind.scope is Scope.NAMESPACED:
        without = changed(document, _NAMESPACE, ABSENT)
        yield Sample(kind=kind, field=_NAMESPACE, what="left out", document=without)
    yield from _refused(kind)


def _refused(kind: Kind[Any]) -> Iterator[Sample]:
    document = valid_documents(kind)[0]
    nameless = changed(document, _NAME, ABSENT)
    yield Sample(
        kind=kind,
        field=_NAME,
        what="a generateName instead",
        document=changed(nameless, ("metadata", "generateName"), "chat-"),
        ours="missing; this field is required",
        stricter=Stricter.GENERATED_NAME,
    )
    yield Sample(
        kind=kind,
        field=_LABELS,
        what="nothing as a value",
        document=changed(document, _LABELS, {"a": None}),
        ours="expected a string, found nothing",
        stricter=Stricter.NULL,
    )
    if kind.scope is Scope.CLUSTER:
        yield Sample(
            kind=kind,
            field=_NAMESPACE,
            what="a namespace",
            document=changed(document, _NAMESPACE, "team-a"),
            ours="the kind is cluster-scoped; remove the namespace",
            stricter=Stricter.CLUSTER_NAMESPACE,
        )
