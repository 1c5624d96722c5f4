"""Earlier spellings of fields: their names stay in the schema, so that whoever still writes one is told the new word.

The API server drops in silence what a schema does not know, and a list that was meant to be long would be empty. What
stands under an earlier name is never read; only the last valid form of an object is put into new words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from tidegate_operator.api.problems import FieldPath, Problem

ITEM: Final = "[]"
"""In a path: any item of a list."""

_OBJECTS: Final[Mapping[str, object]] = {
    "type": "array",
    "maxItems": 64,
    "items": {
        "type": "object",
        "properties": {
            "name": {"description": "Name of what is meant.", "type": "string", "maxLength": 253},
            "namespace": {"description": "Namespace of what is meant.", "type": "string", "maxLength": 63},
        },
    },
    "x-kubernetes-list-type": "atomic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A field that has another name now.

    Attributes:
        path: below the spec.
        now: what to write in its place.
        schema: enough for the API server to keep the field.
        silent: a value that says nothing, since an earlier release stored it by itself.
    """

    path: tuple[str, ...]
    now: str
    schema: Mapping[str, object]
    silent: object = None

    @property
    def description(self) -> str:
        """For `kubectl explain`."""
        return f"Refused: an earlier spelling, {self.now}."


_POOLS: Final = Earlier(path=("providerPools",), now="it is poolRefs now", schema=_OBJECTS)

EARLIER: Final[Mapping[str, tuple[Earlier, ...]]] = {
    "AIPolicy": (_POOLS,),
    "ClusterAIPolicy": (_POOLS,),
    "ProviderPool": (
        Earlier(
            path=("providers", ITEM, "credentialRefs"),
            now="it is authentication: {type: Credentials, credentialRefs: [...]} now",
            schema=_OBJECTS,
        ),
        Earlier(
            path=("providers", ITEM, "callerCredential"),
            now="it is authentication: {type: Caller} now",
            schema={"type": "boolean"},
            silent=False,
        ),
    ),
}
"""By kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredWord:
    """A word that a former release took in a field with a closed set of words.

    Attributes:
        path: of the field, below the spec.
        word: what stood there.
        now: what it is read as in forms that were valid then.
    """

    path: tuple[str, ...]
    word: str
    now: str


RETIRED_WORDS: Final[Mapping[str, tuple[RetiredWord, ...]]] = {}
"""By kind. A word that is taken out of the API gets a row, or objects that use it would be refused after an upgrade."""


def take_out(kind: str, spec: object) -> list[Problem]:
    """Remove the earlier spellings from a spec, and say what each of them is called now."""
    problems = []
    for earlier in EARLIER.get(kind, ()):
        *above, name = earlier.path
        for path, section in _sections(spec, tuple(above), ("spec",)):
            if name in section and section.pop(name) != earlier.silent:
                problems.append(
                    Problem((*path, name), f"an earlier spelling, which is not read; {earlier.now}")
                )
    return problems


def in_new_words(
    kind: str, spec: object, retired: Mapping[str, tuple[RetiredWord, ...]] = RETIRED_WORDS
) -> None:
    """Put a spec that was valid in its time into the words of today; `retired` has the words that are gone, by kind."""
    _rename_fields(kind, spec)
    for word in retired.get(kind, ()):
        _replace(spec, word.path, word)


def _replace(value: object, path: tuple[str, ...], retired: RetiredWord) -> object:
    """The value with the word of today in place of the retired one."""
    if not path:
        return retired.now if value == retired.word else value
    first, rest = path[0], path[1:]
    if first == ITEM and isinstance(value, list):
        items = cast("list[object]", value)
        items[:] = [_replace(item, rest, retired) for item in items]
    elif first != ITEM and isinstance(value, dict) and first in value:
        section = cast("dict[str, object]", value)
        section[first] = _replace(section[first], rest, retired)
    return value


def _rename_fields(kind: str, spec: object) -> None:
    if kind != "ProviderPool":
        for _, policy in _sections(spec, (), ()):
            if "providerPools" in policy:
                policy.setdefault("poolRefs", policy.pop("providerPools"))
        return
    for _, provider in _sections(spec, ("providers", ITEM), ()):
        references, caller = provider.pop("credentialRefs", None), provider.pop("callerCredential", None)
        if references:
            provider.setdefault("authentication", {"type": "Credentials", "credentialRefs": references})
        elif caller:
            provider.setdefault("authentication", {"type": "Caller"})


def _sections(value: object, path: tuple[str, ...], at: FieldPath) -> list[tuple[FieldPath, dict[str, Any]]]:
    """The objects at a path, each with its place; none where something else stands on the way."""
    if not path:
        return [(at, cast("dict[str, Any]", value))] if isinstance(value, dict) else []
    first, *rest = path
    if first == ITEM:
        items = cast("list[object]", value) if isinstance(value, list) else []
        return [
            found for index, item in enumerate(items) for found in _sections(item, tuple(rest), (*at, index))
        ]
    if not isinstance(value, dict):
        return []
    return _sections(cast("dict[str, Any]", value).get(first), tuple(rest), (*at, first))
