"""Opting in and out (PURE): what the label or annotation `tidegate.dev/inject` of one object says."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from tidegate_operator.api.problems import describe
from tidegate_operator.inject.document import Document, annotations_of, labels_of
from tidegate_operator.inject.names import INJECT


class Choice(StrEnum):
    """The words that are understood."""

    ENABLED = "enabled"
    DISABLED = "disabled"


ALLOWED = " or ".join(Choice)


class WrongChoice(NamedTuple):
    """Nobody can tell what was meant; `message` says what is allowed."""

    message: str


def choice_of(document: Document) -> Choice | WrongChoice | None:
    """What an object says for itself; None: nothing."""
    by_annotation, by_label = annotations_of(document).get(INJECT), labels_of(document).get(INJECT)
    for what, value in (("annotation", by_annotation), ("label", by_label)):
        if value is not None and value not in tuple(Choice):
            return WrongChoice(f"{what} {INJECT} is {describe(value)}; allowed are {ALLOWED}")
    if by_annotation is not None and by_label is not None and by_annotation != by_label:
        return WrongChoice(
            f"annotation {INJECT} is {describe(by_annotation)} and the label of the same name is "
            f"{describe(by_label)}; take one of them away"
        )
    value = by_annotation if by_annotation is not None else by_label
    return None if value is None else Choice(value)
