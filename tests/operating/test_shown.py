"""The text of a column, whatever is in the list or the selector: it begins with what comes first, and has a bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.api.selectors import LabelRequirement, LabelSelector, Operator
from tidegate_operator.status.shown import MAX_SHOWN, joined, selected

names = st.text(alphabet="abc-0", min_size=1, max_size=300)
requirements = st.builds(
    LabelRequirement,
    key=st.sampled_from(["tier", "example.com/team"]),
    operator=st.just(Operator.IN),
    values=st.lists(st.sampled_from(["a", "b" * 63]), min_size=1, max_size=20, unique=True).map(tuple),
) | st.builds(
    LabelRequirement,
    key=st.sampled_from(["old", "new"]),
    operator=st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST]),
)
selectors = st.builds(
    LabelSelector,
    matchLabels=st.dictionaries(
        st.sampled_from(["app", "team", "z"]), st.sampled_from(["", "chat", "x" * 63])
    ),
    matchExpressions=st.lists(requirements, max_size=8).map(tuple),
)


@given(st.lists(names, max_size=40))
def test_a_list_is_told_by_its_first_names_and_the_number_of_the_others(found: list[str]) -> None:
    text = joined(found)
    assert len(text) <= MAX_SHOWN
    assert text.startswith("".join(found[:1])[: MAX_SHOWN - 1])
    if len(text) < MAX_SHOWN and len(found) > 3:
        assert text == f"{found[0]}, {found[1]}, {found[2]} and {len(found) - 3} more"


@given(selectors)
def test_a_selector_is_told_in_one_line_and_never_as_nothing(selector: LabelSelector) -> None:
    text = selected(selector, "all pods")
    assert 0 < len(text) <= MAX_SHOWN
    assert "\n" not in text
    if not selector.match_labels and not selector.match_expressions:
        assert text == "all pods"
    elif len(text) < MAX_SHOWN:
        assert all(f"{key}={value}" in text for key, value in selector.match_labels.items())
        assert all(it.key in text for it in selector.match_expressions)
