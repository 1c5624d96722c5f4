"""What `kubectl get` shows of lists and selectors: of a list a column has the first item alone, of a selector nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidegate_operator.api.selectors import LabelRequirement, LabelSelector, Operator

MAX_SHOWN: Final = 256
"""Characters of a column."""

_NAMED: Final = 3
_OPERATORS: Final = {Operator.IN: "in", Operator.NOT_IN: "notin"}


def joined(names: Sequence[str]) -> str:
    """The first few by name, the others by their number."""
    shown = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return _bounded(f"{shown} and {more} more" if more > 0 else shown)


def selected(selector: LabelSelector, everything: str) -> str:
    """A selector as kubectl writes it: `app=chat,tier in (a,b)`; an empty one is `everything`."""
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    parts += [_requirement(it) for it in selector.match_expressions]
    return _bounded(",".join(parts) or everything)


def _requirement(requirement: LabelRequirement) -> str:
    if requirement.operator is Operator.EXISTS:
        return requirement.key
    if requirement.operator is Operator.DOES_NOT_EXIST:
        return f"!{requirement.key}"
    return f"{requirement.key} {_OPERATORS[requirement.operator]} ({','.join(requirement.values)})"


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
