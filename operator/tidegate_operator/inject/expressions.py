"""CEL for `matchConditions` (PURE): which requests reach the injector at all.

A condition that fails to evaluate refuses the request, so every field is looked for with has() before it is read; no
variables, no optional types: the first Kubernetes with matchConditions has neither. A list of one and `exists` give a
value a name. What is not there reads as `~`, which no label and hardly an annotation can be.
"""

from __future__ import annotations

from typing import Final

from tidegate_operator.api.workloads import TARGETS
from tidegate_operator.inject.names import COPIED, INJECT
from tidegate_operator.inject.optin import Choice
from tidegate_operator.inject.workloads import TEMPLATES

_ABSENT: Final = "'~'"
_CHOICES: Final = f"[{', '.join(repr(choice.value) for choice in Choice)}]"
_METADATA: Final = ("metadata",)

IS_NOT_BEING_DELETED: Final = "!has(object.metadata.deletionTimestamp)"
"""The removal of a finalizer is an UPDATE: no deletion waits for the injector."""


def speaks_for_itself() -> str:
    """Pods with a word of their own, but for the plain `disabled`: a word that is wrong has to be refused."""
    return " || ".join(
        f"!({_value('object', _METADATA, field, INJECT)} in ['{Choice.DISABLED}', {_ABSENT}])"
        for field in ("labels", "annotations")
    )


def says_nothing() -> str:
    """Pods without a word of their own."""
    return " && ".join(
        f"{_value('object', _METADATA, field, INJECT)} == {_ABSENT}" for field in ("labels", "annotations")
    )


def is_to_be_followed(kind: str) -> str:
    """Workloads whose word is wrong, or not what their pod template says: the same as `workloads.follow` finds.

    Args:
        kind: one of `workloads.TEMPLATES`.
    """
    template = TEMPLATES[kind]
    metadata = (*template, "metadata")
    own = f"{_value('object', metadata, 'labels', INJECT)} != {_ABSENT} || (a != {_ABSENT} && a != m)"
    differs = _let(
        "a",
        _value("object", metadata, "annotations", INJECT),
        _let(
            "m",
            _value("object", metadata, "annotations", COPIED),
            f"({own}) ? m != {_ABSENT} : (m != w || a != w)",
        ),
    )
    if TARGETS[kind].maker:
        differs = f"w != {_ABSENT} && {differs}"
    return _with_words("object", f"{_is_wrong()} || {_let('w', _chosen(), differs)}")


def has_changed_its_mind() -> str:
    """Objects whose word is another one than before."""
    now = _with_words("object", _let("w", _chosen(), f"w != {_old_word()}"))
    return f"oldObject != null && {now}"


def is_mislabelled() -> str:
    """Namespaces that have just got a label that is wrong, or an annotation, which nobody sees."""
    label = _value("object", _METADATA, "labels", INJECT)
    annotation = _value("object", _METADATA, "annotations", INJECT)
    return (
        f"(!({label} in {_CHOICES} + [{_ABSENT}]) && (oldObject == null || {_old('labels')} != {label})) || "
        f"({annotation} != {_ABSENT} && (oldObject == null || {_old('annotations')} == {_ABSENT}))"
    )


def _with_words(root: str, body: str) -> str:
    """`body` with the object's annotation as `wa` and its label as `wl`."""
    inner = _let("wl", _value(root, _METADATA, "labels", INJECT), body)
    return _let("wa", _value(root, _METADATA, "annotations", INJECT), inner)


def _is_wrong() -> str:
    unknown = " || ".join(f"({word} != {_ABSENT} && !({word} in {_CHOICES}))" for word in ("wa", "wl"))
    return f"{unknown} || (wa != {_ABSENT} && wl != {_ABSENT} && wa != wl)"


def _chosen() -> str:
    return f"wa != {_ABSENT} ? wa : wl"


def _old_word() -> str:
    return f"({_old('annotations')} != {_ABSENT} ? {_old('annotations')} : {_old('labels')})"


def _old(field: str) -> str:
    return _value("oldObject", _METADATA, field, INJECT)


def _value(root: str, path: tuple[str, ...], field: str, key: str) -> str:
    """The label or annotation `key`, or `~`."""
    steps = [".".join((root, *(*path, field)[: depth + 1])) for depth in range(len(path) + 1)]
    # Every object has metadata; of a template's parts the API server says itself that they are optional.
    guards = " && ".join(f"has({step})" for step in steps if step.count(".") > 1 or step.endswith(".spec"))
    return f"({guards} && '{key}' in {steps[-1]} ? {steps[-1]}['{key}'] : {_ABSENT})"


def _let(name: str, value: str, body: str) -> str:
    return f"[{value}].exists({name}, {body})"
