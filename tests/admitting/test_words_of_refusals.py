"""Whatever somebody writes into whichever field: the server's refusal says in words what was expected, and shows no expression."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from tidegate_samples.containers import KEYS_OF_MAPS
from tidegate_samples.places import changed, places
from tidegate_samples.server import collection

from tidegate_operator.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_samples.places import Place
    from tidegate_samples.sample import Document
    from tidegate_samples.server import Complaint, Server

BAD: Final = ("", " ", "a b", "Ä", "-a", "a..b", "^a$", "a\n", "a" * 40_000)
"""Texts of which each is wrong in most fields."""

_EXPRESSION: Final = re.compile(
    r"should match|regex|\^|\$[\"'/)]|\[\^?[A-Za-z0-9]-|\\[A-Za-z.]|\(\?|[*+]\)|\.\*"
)
_WORD: Final = re.compile(r"[A-Za-z]{2,}")


def spoiled(place: Place) -> Iterator[tuple[str, Document]]:
    """Documents with a bad text as the field, and as a key where the field is a map."""
    for text in BAD:
        yield text, changed(place.document, place.path, text)
        if place.path[-1] in KEYS_OF_MAPS:
            yield text, changed(place.document, (*place.path, text), "a")


def refused(
    server: Server, stored: Mapping[str, Document], kind: Kind, part: str, document: Any
) -> list[Complaint]:
    """What the server has against the part of a document."""
    if part == "spec":
        return server.try_out(kind, document).complaints
    there = stored[kind.name]
    path = f"{collection(kind, there['metadata'].get('namespace'))}/sample/status"
    body = there | {"status": document["status"]}
    return server.send("PUT", path, body, dryRun="All", fieldValidation="Strict").complaints


@pytest.mark.parametrize("part", ["spec", "status"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_bad_text_in_any_field_is_told_in_words(
    server: Server, stored: Mapping[str, Document], kind: Kind, part: str
) -> None:
    for place in places(kind, part):
        told = 0
        for text, document in spoiled(place):
            for complaint in refused(server, stored, kind, part, document):
                words = complaint.message.replace(json.dumps(text, ensure_ascii=False), "what was written")
                assert not _EXPRESSION.search(words), (place.path, complaint)
                assert len(_WORD.findall(words)) >= 3, (place.path, complaint)
                told += 1
        assert told > 0, f"{place.path}: no text is too bad for it"
