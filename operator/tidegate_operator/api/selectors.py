"""Label selectors, as everywhere in Kubernetes, with the decision whether labels match."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from tidegate_operator.api.fields import Entries, Items, Text, keys_cel
from tidegate_operator.api.section import Rule, Section

if TYPE_CHECKING:
    from collections.abc import Mapping

LabelKey = Annotated[
    str,
    Text(
        expected="a label key such as app or example.com/team",
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        max_length=317,
    ),
]

LabelValue = Annotated[
    str,
    Text(
        expected="a label value: letters, digits, '-', '_' and '.', at most 63 characters",
        pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        max_length=63,
        min_length=0,
    ),
]


class Operator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


_WITH_VALUES = (Operator.IN, Operator.NOT_IN)


class LabelRequirement(Section):
    """One condition on the labels."""

    key: LabelKey
    """The label that the condition is about."""
    operator: Operator
    """In and NotIn compare with `values`; Exists and DoesNotExist ask for the label alone. NotIn also matches where the label is absent."""
    values: Annotated[tuple[LabelValue, ...], Items(max_items=64, unique=True)] = ()
    """Values to compare with; required for In and NotIn, forbidden for the others."""

    rules: ClassVar[tuple[Rule[LabelRequirement], ...]] = (
        Rule(
            holds=lambda self: bool(self.values) == (self.operator in _WITH_VALUES),
            cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            message="operators In and NotIn need values; Exists and DoesNotExist must not have any",
            field="values",
        ),
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet the condition."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


class LabelSelector(Section):
    """Chooses by labels: all of `matchLabels` and all of `matchExpressions`. An empty selector chooses everything."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Entries(64)] = Field(default_factory=dict)
    """Labels that must have exactly these values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Items(max_items=64)] = ()
    """Conditions that must all hold."""

    rules: ClassVar[tuple[Rule[LabelSelector], ...]] = (
        Rule(
            holds=None,
            cel=keys_cel("matchLabels", LabelKey),
            message="the keys of matchLabels are label keys such as app or example.com/team",
            field="matchLabels",
        ),
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are chosen."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
