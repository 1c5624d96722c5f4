"""The difference of two documents, as RFC 6902: applied to the first it makes the second, and it is no more than that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injecting_shapes.platform import patched

from tidegate_operator.inject.patch import difference

LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab~/", max_size=3)
NAMED = st.fixed_dictionaries({"name": st.sampled_from("abc")}, optional={"value": LEAVES, "~/": LEAVES})
DOCUMENTS = st.recursive(
    LEAVES | NAMED,
    lambda inner: (
        st.lists(inner | NAMED, max_size=5) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=4)
    ),
    max_leaves=20,
)


def is_same(one: Any, other: Any) -> bool:
    """Equality of JSON, in which true is not 1."""
    return repr(_sorted(one)) == repr(_sorted(other))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_the_difference_makes_the_second_of_the_first(before: Any, after: Any) -> None:
    assert is_same(patched({"root": before}, difference({"root": before}, {"root": after}))["root"], after)


@settings(deadline=None)
@given(DOCUMENTS)
def test_equal_documents_have_no_difference(document: Any) -> None:
    assert difference(document, document) == []


@settings(deadline=None)
@given(st.lists(NAMED, max_size=6), st.randoms(use_true_random=False))
def test_what_only_moves_is_moved_and_not_written_again(before: list[Any], random: Any) -> None:
    after = before[:]
    random.shuffle(after)
    operations = difference(before, after)
    assert is_same(patched({"root": before}, [_below(it) for it in operations])["root"], after)
    if len({item["name"] for item in before}) == len(before):
        assert {it["op"] for it in operations} <= {"move"}


def _below(operation: dict[str, Any]) -> dict[str, Any]:
    return operation | {key: f"/root{operation[key]}" for key in ("path", "from") if key in operation}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(
            {},
            {"metadata": {"labels": {"a/b": "c"}}},
            [{"op": "add", "path": "/metadata", "value": {"labels": {"a/b": "c"}}}],
            id="an absent parent is added whole",
        ),
        pytest.param(
            {"labels": {"x": "y"}},
            {"labels": {"x": "y", "a/b~c": "d"}},
            [{"op": "add", "path": "/labels/a~1b~0c", "value": "d"}],
            id="a key with a slash",
        ),
        pytest.param(
            [{"name": "app", "env": [1]}],
            [{"name": "new"}, {"name": "app", "env": [1, 2]}],
            [
                {"op": "add", "path": "/0", "value": {"name": "new"}},
                {"op": "add", "path": "/1/env/1", "value": 2},
            ],
            id="an item in front leaves the others alone",
        ),
        pytest.param(
            [{"name": "a"}, {"name": "b"}],
            [{"name": "b"}],
            [{"op": "remove", "path": "/0"}],
            id="an item that goes",
        ),
        pytest.param(
            [{"name": "x", "value": "1"}, {"name": "x", "value": "2"}],
            [{"name": "x", "value": "1"}, {"name": "x", "value": "3"}],
            [{"op": "replace", "path": "/1/value", "value": "3"}],
            id="two of one name",
        ),
        pytest.param(
            {"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}], id="1 is not true"
        ),
    ],
)
def test_the_difference_is_the_least(before: Any, after: Any, expected: list[Any]) -> None:
    assert difference(before, after) == expected
