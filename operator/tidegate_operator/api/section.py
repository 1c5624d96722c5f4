"""Section: the base of every object inside a spec, and the rules between its fields.

A section refuses unknown fields and converts nothing: the word "3" is no number. Fields are written in camelCase, as
everywhere in Kubernetes; a field's docstring is its description in the CRD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

from tidegate_operator.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic.json_schema import JsonSchemaValue

SectionT = TypeVar("SectionT")

PROBLEMS_ERROR = "tidegate_problems"
"""Type of the pydantic errors that carry our own problems; their context has them, relative to the error's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[SectionT]):
    """A rule between the fields of one section, checked by the API server and by us with the same words.

    Attributes:
        holds: whether a section keeps the rule; None where `Section.problems` or the type of a field tells it, and
            more precisely than CEL can.
        cel: the same in CEL, over `self`; cheap, since the server multiplies its cost by the lists around it.
        message: what is wrong and what would be right.
        field: the field to point at, as written in documents; empty for the section itself.
    """

    holds: Callable[[SectionT], bool] | None
    cel: str
    message: str
    field: str = ""


class Section(BaseModel):
    """An object inside a spec."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule[Any], ...]] = ()
    """What must hold between the fields."""

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond `rules`: checks that CEL cannot do, or not cheaply. Paths are relative."""
        yield from ()

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if is_settled(info):
            return self
        found = [
            Problem((rule.field,) if rule.field else (), rule.message)
            for rule in self.rules
            if rule.holds is not None and not rule.holds(self)
        ]
        refuse([*found, *self.problems()])
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """Add `rules` as CEL."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.rules:
            schema["x-kubernetes-validations"] = [
                {"rule": rule.cel, "message": rule.message}
                | ({"fieldPath": f".{rule.field}"} if rule.field else {})
                for rule in cls.rules
            ]
        return schema


SETTLED: Final = {"settled": True}
"""Context of a validation that reads what a release has accepted before."""


def is_settled(info: ValidationInfo) -> bool:
    """Whether the value was valid for the release that accepted it, so that bounds and rules of this one do not count."""
    return info.context == SETTLED


def refuse(problems: list[Problem]) -> None:
    """Raise the problems, if there are any, as one pydantic error; for validators alone."""
    if problems:
        raise PydanticCustomError(PROBLEMS_ERROR, "{problems}", {"problems": problems})
