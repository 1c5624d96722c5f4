"""What is accepted and what is rejected: by the API server, by us, at the same field, in words that help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tidegate_samples.derived import spec_samples

from tidegate_operator.api.parse import Parsed, parse_object
from tidegate_operator.api.problems import format_path

if TYPE_CHECKING:
    from tidegate_samples.sample import Sample
    from tidegate_samples.server import Server

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
