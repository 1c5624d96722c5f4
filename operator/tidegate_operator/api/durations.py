"""Durations in documents: strict to read, helpful about what was probably meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic_core import CoreSchema, core_schema

from tidegate_operator.api.problems import Problem, describe
from tidegate_operator.api.section import refuse
from tidegate_operator.api.spellings import spelling
from tidegate_policy.errors import UnitError
from tidegate_policy.units import DURATION_PATTERN, MAX_DURATION_LENGTH, format_duration, parse_duration

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

_EXPECTED: Final = "a duration: positive numbers with their units, the largest first: 250ms, 30s, 1h30m, 90d"
_UNIT_WORDS: Final = {
    "ms": "ms", "msec": "ms", "millisecond": "ms", "milliseconds": "ms",
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "h": "h", "hr": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d",
}  # fmt: skip
_LOOSE_PART: Final = re.compile(r"\s*([0-9]{1,9})?\s*([a-zA-Z]+)\s*")


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A positive time, written as ``30s`` or ``1h30m``."""

    ms: int

    @classmethod
    def of(cls, text: str) -> Self:
        """The duration in ``"30s"``.

        Raises:
            UnitError: `text` is no duration; the message says how one is written.
        """
        return cls(parse_duration(text))

    def __str__(self) -> str:
        return format_duration(self.ms)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read the spelling, write it back in its shortest form."""
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The spelling."""
        return {
            "type": "string",
            "minLength": 2,
            "maxLength": MAX_DURATION_LENGTH,
            **spelling(DURATION_PATTERN, _EXPECTED, secret=False),
        }

    @classmethod
    def _read(cls, value: object) -> Self:
        if isinstance(value, str):
            try:
                return cls.of(value)
            except UnitError as error:
                message = str(error)
        else:
            message = f"expected a duration such as 30s, found {describe(value)}"
        suggestion = _nearest_duration(value)
        refuse([Problem((), f"{message}; did you mean {suggestion}?" if suggestion else message)])
        raise AssertionError  # refuse() has raised


def _nearest_duration(value: object) -> str | None:
    """What was probably meant by ``30``, ``"30 seconds"``, ``"minute"`` or ``"30s1m"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value}s"
    if not isinstance(value, str):
        return None
    text = f"{value}s" if value.isascii() and value.isdigit() else value
    total_ms = position = 0
    while position < len(text):
        part = _LOOSE_PART.match(text, position)
        unit = _UNIT_WORDS.get(part[2].lower()) if part else None
        if part is None or unit is None:
            return None
        try:
            total_ms += parse_duration(f"{int(part[1] or 1)}{unit}")
        except UnitError:
            return None
        position = part.end()
    return format_duration(total_ms) if total_ms else None
