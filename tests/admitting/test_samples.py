"""What is accepted and what is rejected: by the API server, by us, at the same field, in words that help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tidegate_samples.derived import spec_samples
from tidegate_samples.places import changed, places, valid_documents
from tidegate_samples.spellings import SPELLINGS

from tidegate_operator.api.kinds import KINDS, Kind
from tidegate_operator.api.parse import Parsed, parse_object
from tidegate_operator.api.problems import format_path

if TYPE_CHECKING:
    from tidegate_samples.sample import Sample
    from tidegate_samples.server import Server

    from tidegate_operator.api.problems import FieldPath

ACCEPTED = [sample for sample in spec_samples() if not sample.said and not sample.ours]
REJECTED = [sample for sample in spec_samples() if sample.said and not sample.ours]
RULES = [sample for sample in spec_samples() if sample.said and sample.ours]
STRICTER = [sample for sample in spec_samples() if sample.stricter]


def name_of(sample: Sample) -> str:
    return sample.name


def our_problems(sample: Sample) -> list[str]:
    """What we say, once it is certain that all of it is about the field of the sample."""
    problems = parse_object(sample.document).problems
    assert [it for it in problems if it.path[: len(sample.field)] != sample.field] == []
    return [problem.message for problem in problems]


def spec_of(parsed: Parsed) -> object:
    assert parsed.stored is not None
    return parsed.stored.spec


@pytest.mark.parametrize("sample", ACCEPTED, ids=name_of)
def test_accepted_by_both(server: Server, sample: Sample) -> None:
    """And what the server makes of it, with its defaults, means the same to us."""
    assert our_problems(sample) == []
    reply = server.try_out(sample.kind, sample.document)
    assert reply.complaints == []
    assert reply.warnings == []
    assert spec_of(parse_object(reply.document)) == spec_of(parse_object(sample.document))


@pytest.mark.parametrize("sample", REJECTED, ids=name_of)
def test_rejected_by_both_at_the_same_field(server: Server, sample: Sample) -> None:
    assert our_problems(sample) != []
    complaints = server.try_out(sample.kind, sample.document).complaints
    assert any(sample.said in complaint.message for complaint in complaints), complaints
    assert [complaint for complaint in complaints if not complaint.is_at(sample.field)] == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_wrong_spelling_is_told_in_words(server: Server, kind: Kind) -> None:
    """At each text of the spec whose spelling matters: what was expected, and never an expression."""
    told = 0
    for place in (it for it in places(kind, "spec") if it.field.check.pattern):
        check = place.field.check
        misfits = SPELLINGS[check.pattern].misfits
        for what, word in misfits.items():
            (complaint,) = server.try_out(kind, changed(place.document, place.path, word)).complaints
            assert check.said in complaint.message, (place.path, what)
            assert check.pattern not in complaint.message, (place.path, what)
            assert "should match" not in complaint.message, (place.path, what)
            told += 1
    assert told > 0


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("ProviderPool", ("spec", "providers", 0, "headers", "x-key"), "sk-live-ä"),
        ("ProviderPool", ("spec", "providers", 0, "baseURL"), "https://user:sk-live@api.example"),
        ("ProviderCredential", ("spec", "source", "environment", "variable"), "sk-live"),
        ("ProviderCredential", ("spec", "source", "secret", "key"), "sk-live/"),
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(
    server: Server, name: str, path: FieldPath, value: str
) -> None:
    kind = KINDS[name]
    document = next(it for it in reversed(valid_documents(kind)) if has(it, path[:-1]))
    reply = server.try_out(kind, changed(document, path, value))
    assert [it.message for it in reply.complaints if "expected " in it.message] != []
    assert "sk-live" not in reply.document["message"]


def has(document: Any, path: FieldPath) -> bool:
    """Whether a document has something at a path."""
    for part in path:
        if isinstance(document, dict) and part not in document:
            return False
        document = document[part]
    return True


@pytest.mark.parametrize("sample", RULES, ids=name_of)
def test_a_broken_rule_is_told_in_our_words(server: Server, sample: Sample) -> None:
    """The server says one thing, at the field that the rule points at: what is wrong and what would be right."""
    (problem,) = our_problems(sample)
    assert sample.ours in problem
    (complaint,) = server.try_out(sample.kind, sample.document).complaints
    assert complaint.field == format_path(sample.field)
    assert complaint.message == f"Invalid value: {sample.said}"


@pytest.mark.parametrize("sample", STRICTER, ids=name_of)
def test_refused_by_us_alone(server: Server, sample: Sample) -> None:
    """The reasons stand in `Stricter`; whatever else the server accepts, so do we."""
    (problem,) = our_problems(sample)
    assert sample.ours in problem
    assert server.try_out(sample.kind, sample.document).complaints == []
