"""A document to one of our objects, or to the list of what is wrong with it.

Parsing is strict: an unknown field, a null, a word where a number belongs is a problem and never a guess. A document
with any problem yields a `Stored` without spec, as long as it says what it is, so that what it would have applied to
can be denied instead of being left without policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, cast

from pydantic import ValidationError

from tidegate_operator.api.earlier import take_out
from tidegate_operator.api.kinds import API_VERSION, GROUP, KINDS, AnySpec, Kind, Scope
from tidegate_operator.api.messages import nearest_word, translate, unknown_field
from tidegate_operator.api.metadata import Metadata, read_metadata
from tidegate_operator.api.problems import FieldPath, Problem, describe
from tidegate_operator.api.section import SETTLED
from tidegate_operator.api.stored import Stored
from tidegate_policy.model import ObjectRef

MAX_DEPTH: Final = 32
"""Nesting that a spec can have; YAML aliases can make a document that contains itself."""

_TOP_LEVEL: Final = ["apiVersion", "kind", "metadata", "spec", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a document says.

    Attributes:
        stored: the object; its `spec` is None when there are problems. None when the document does not say which
            object it is.
        problems: what is wrong, in an order that depends on the document alone; empty when the object is valid.
    """

    stored: Stored[AnySpec] | None
    problems: tuple[Problem, ...] = ()


def is_ours(document: Mapping[str, object]) -> bool:
    """Whether a document is meant to be one of our objects, right or wrong: by its group or by its kind."""
    group = str(document.get("apiVersion", "")).partition("/")[0]
    kind = document.get("kind")
    return group == GROUP or (isinstance(kind, str) and kind in KINDS)


def parse_object(document: Mapping[str, object], *, is_settled: bool = False) -> Parsed:
    """Read one of our objects.

    Args:
        document: a manifest as YAML or JSON readers give it; `status` is ignored.
        is_settled: a release has accepted the spec and enforced it: bounds and rules that came later do not count, only that
            the spec can still be read.
    """
    problems = [
        Problem((str(name),), unknown_field(name, _TOP_LEVEL)) for name in document if name not in _TOP_LEVEL
    ]
    problems += _version_problems(document)
    kind = KINDS.get(str(document.get("kind")))
    if kind is None:
        return Parsed(stored=None, problems=(*problems, _kind_problem(document)))
    metadata = read_metadata(document.get("metadata"), namespaced=kind.scope is Scope.NAMESPACED)
    problems += metadata.problems
    raw = document.get("spec")
    spec, spec_problems = _read_spec(kind, raw, is_settled=is_settled)
    problems += spec_problems
    return Parsed(stored=_stored(kind, metadata, spec, raw, problems), problems=tuple(problems))


def _stored(
    kind: Kind[Any], metadata: Metadata, spec: AnySpec | None, raw: object, problems: list[Problem]
) -> Stored[AnySpec] | None:
    if not metadata.name or metadata.namespace is None:
        return None
    ref = ObjectRef(kind=kind.name, namespace=metadata.namespace, name=metadata.name)
    problem = None
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        problem = f"{problems[0]}{more}"
    return Stored(
        ref=ref,
        created=metadata.created,
        generation=metadata.generation,
        spec=None if problems else spec,
        problem=problem,
        targets=cast("Mapping[str, object]", raw) if problems and isinstance(raw, Mapping) else {},
    )


def _version_problems(document: Mapping[str, object]) -> list[Problem]:
    version = document.get("apiVersion")
    if version == API_VERSION:
        return []
    if "apiVersion" not in document:
        return [Problem(("apiVersion",), f"missing; write {API_VERSION}")]
    return [Problem(("apiVersion",), f"expected {API_VERSION}, found {describe(version)}")]


def _kind_problem(document: Mapping[str, object]) -> Problem:
    known = sorted(KINDS)
    if "kind" not in document:
        return Problem(("kind",), f"missing; write one of {', '.join(known)}")
    kind = document["kind"]
    nearest = nearest_word(kind, known) if isinstance(kind, str) else None
    suggestion = f"; did you mean {nearest}?" if nearest else ""
    return Problem(("kind",), f"expected one of {', '.join(known)}, found {describe(kind)}{suggestion}")


def _read_spec(kind: Kind[Any], raw: object, *, is_settled: bool) -> tuple[AnySpec | None, list[Problem]]:
    if raw is None:
        return None, [Problem(("spec",), "missing; this field is required")]
    problems: list[Problem] = []
    plain = _plain(raw, ("spec",), problems)
    problems += take_out(kind.name, plain)
    try:
        # JSON mode: a list is a tuple and a word an enum, and nothing else is converted
        spec = kind.spec.model_validate_json(json.dumps(plain), context=SETTLED if is_settled else None)
    except ValidationError as error:
        reported = {problem.path for problem in problems}
        for details in error.errors(include_url=False):
            for problem in translate(details, kind.spec):
                path = ("spec", *problem.path)
                # what has been left out above would be missing here
                if path not in reported:
                    problems.append(Problem(path, problem.message))
        return None, problems
    return None if problems else cast("AnySpec", spec), problems


def _plain(value: object, path: FieldPath, problems: list[Problem]) -> object:
    """The value as JSON has it; what JSON does not have, and null, is a problem."""
    if len(path) > MAX_DEPTH:
        problems.append(Problem(path[:MAX_DEPTH], f"nested deeper than {MAX_DEPTH}; no field is"))
        return None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {
            key: _plain(item, (*path, key), problems)
            for key, item in value.items()
            if _is_written(key, item, path, problems)
        }
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index), problems) for index, item in enumerate(value)]
    if isinstance(value, float):
        if value == value and abs(value) != float("inf"):  # noqa: PLR0124  (NaN differs from itself)
            return value
        problems.append(Problem(path, "expected a number, found one that is not finite"))
    elif value is None:
        problems.append(Problem(path, "found nothing; write a value or remove the item"))
    elif isinstance(value, date):
        problems.append(Problem(path, "found a date, which YAML made of plain text; put the text in quotes"))
    else:
        problems.append(Problem(path, f"expected a value that JSON has, found {describe(value)}"))
    return None


def _is_written(key: object, item: object, path: FieldPath, problems: list[Problem]) -> bool:
    if not isinstance(key, str):
        message = f"the key of an object is a string, found {describe(key)}; put it in quotes"
        problems.append(Problem((*path, str(key)), message))
    elif item is None:
        # the API server would drop the field; here that could silently lift what an empty list was meant to forbid
        problems.append(Problem((*path, key), "found nothing; write a value or remove the field"))
    else:
        return True
    return False
