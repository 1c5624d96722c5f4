"""pydantic's errors in our words: what was expected, what was found, what to do.

Our own checks bring their sentences along (`section.PROBLEMS_ERROR`); what is translated here is what pydantic finds
by itself: unknown and missing fields, wrong types, words that no enumeration has.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel

from tidegate_operator.api.problems import FieldPath, Problem, describe
from tidegate_operator.api.section import PROBLEMS_ERROR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

_TYPES: Final = {
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_QUOTED: Final = re.compile(r"'([^']*)'")


def translate(error: ErrorDetails, model: type[BaseModel]) -> Iterator[Problem]:
    """The problems in one pydantic error of `model`, with paths from the root of what was validated."""
    # pydantic marks an error in the key of a map with "[key]" after the key
    path: FieldPath = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    found = error.get("input")
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == PROBLEMS_ERROR:
        for problem in context["problems"]:
            yield Problem((*path, *problem.path), problem.message)
    elif kind == "extra_forbidden":
        yield Problem(path, unknown_field(path[-1], fields_of(section_at(model, path[:-1]))))
    elif kind == "missing":
        yield Problem(path, "missing; this field is required")
    elif kind == "enum":
        yield Problem(path, _unknown_word(found, _QUOTED.findall(context["expected"])))
    elif kind in _TYPES:
        yield Problem(path, _wrong_type(_TYPES[kind], found))
    else:
        yield Problem(path, f"{error['msg']}, found {describe(found)}")


def unknown_field(name: object, known: list[str]) -> str:
    """What to say about a field that does not exist, with the nearest that does."""
    nearest = nearest_word(str(name), known)
    if nearest is not None:
        return f"unknown field; did you mean {nearest}?"
    return f"unknown field; the fields here are {', '.join(known)}" if known else "unknown field"


def nearest_word(word: str, known: list[str]) -> str | None:
    """The known word that was probably meant, whatever its case."""
    folded = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.7)
    return folded[matches[0]] if matches else None


def fields_of(model: type[BaseModel] | None) -> list[str]:
    """Fields of a model as documents spell them, sorted."""
    if model is None:
        return []
    return sorted(info.alias or name for name, info in model.model_fields.items())


def section_at(model: type[BaseModel], path: FieldPath) -> type[BaseModel] | None:
    """The model that stands at a path below `model`; None where there is none, as inside a map."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or current is None:
            continue
        info = next((info for name, info in current.model_fields.items() if part in (name, info.alias)), None)
        current = None if info is None else _model_in(info.annotation)
    return current


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for argument in get_args(annotation) if (model := _model_in(argument))), None)


def _unknown_word(found: object, words: list[str]) -> str:
    expected = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    nearest = nearest_word(found, words) if isinstance(found, str) else None
    suggestion = f"; did you mean {nearest}?" if nearest and len(words) > 1 else ""
    return f"expected {expected}, found {describe(found)}{suggestion}"


def _wrong_type(expected: str, found: object) -> str:
    message = f"expected {expected}, found {describe(found)}"
    if expected == "a string" and isinstance(found, bool):
        # YAML 1.1 reads on, off, yes and no as booleans, so we cannot know which of them was written
        return f"{message}; put the word in quotes"
    if expected == "a string" and isinstance(found, int | float):
        return f'{message}; put it in quotes: "{found}"'
    if expected == "a whole number" and isinstance(found, str) and found.strip().isdigit():
        return f"{message}; remove the quotes"
    if expected == "true or false" and isinstance(found, str) and found.lower() in ("true", "false"):
        return f"{message}; remove the quotes"
    if expected == "a list" and isinstance(found, str | dict):
        return f"{message}; begin each item with '- '"
    return message
