"""Label selectors choose as everywhere in Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.api.selectors import LabelSelector


def selector(**fields: Any) -> LabelSelector:
    return LabelSelector.model_validate(fields, strict=False)


def expression(operator: str, *values: str) -> LabelSelector:
    return selector(matchExpressions=[{"key": "tier", "operator": operator, "values": list(values)}])


@pytest.mark.parametrize(
    ("chosen_by", "labels", "expected"),
    [
        (selector(), {}, True),
        (selector(), {"app": "chat"}, True),
        (selector(matchLabels={"app": "chat"}), {"app": "chat", "x": "y"}, True),
        (selector(matchLabels={"app": "chat"}), {"app": "Chat"}, False),
        (selector(matchLabels={"app": "chat"}), {}, False),
        (selector(matchLabels={"app": ""}), {}, False),
        (selector(matchLabels={"app": ""}), {"app": ""}, True),
        (expression("In", "a", "b"), {"tier": "b"}, True),
        (expression("In", "a", "b"), {"tier": "c"}, False),
        (expression("In", "a"), {}, False),
        (expression("NotIn", "a"), {"tier": "b"}, True),
        (expression("NotIn", "a"), {"tier": "a"}, False),
        (expression("NotIn", "a"), {}, True),
        (expression("Exists"), {"tier": ""}, True),
        (expression("Exists"), {}, False),
        (expression("DoesNotExist"), {}, True),
        (expression("DoesNotExist"), {"tier": ""}, False),
    ],
)
def test_matches(chosen_by: LabelSelector, labels: dict[str, str], *, expected: bool) -> None:
    assert chosen_by.matches(labels) is expected


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")), st.sampled_from("xyz"))
def test_not_in_is_the_opposite_of_in(labels: dict[str, str], value: str) -> None:
    chosen = selector(matchExpressions=[{"key": "a", "operator": "In", "values": [value]}])
    others = selector(matchExpressions=[{"key": "a", "operator": "NotIn", "values": [value]}])
    assert chosen.matches(labels) is not others.matches(labels)


def test_all_conditions_must_hold() -> None:
    both = selector(matchLabels={"app": "chat"}, matchExpressions=[{"key": "tier", "operator": "Exists"}])
    assert both.matches({"app": "chat", "tier": "x"})
    assert not both.matches({"app": "chat"})
    assert not both.matches({"tier": "x"})
