"""How a text is spelled, as the API server checks it: CEL with words, since its refusal of a `pattern` shows an expression.

CEL's `matches` reads expressions as `pattern` does. Of a text that may be a key in the wrong place the rule stands
in the object around it: the server repeats a text that it refuses, but never an object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

EXPECTED: Final = "x-tidegate-expected"
"""Beside a pattern, until the schema is written out: the noun phrase of messages."""
UNREPEATED: Final = "x-tidegate-unrepeated"
"""Beside a pattern, until the schema is written out: whether the text is never repeated."""


def spelling(pattern: str, expected: str, *, secret: bool) -> Schema:
    """What a text's schema says of its spelling until `rules_of_value` and `rules_of_members` write it out."""
    return {"pattern": pattern, EXPECTED: expected, UNREPEATED: secret}


def rules_of_value(schema: Mapping[str, Any]) -> list[Schema]:
    """The rule of a text that may be repeated, over `self`."""
    return [] if schema.get(UNREPEATED, True) else [_rule("self", schema)]


def rules_of_members(properties: Mapping[str, Mapping[str, Any]]) -> Iterator[Schema]:
    """The rules of the texts in an object that are not to be repeated."""
    for name, schema in properties.items():
        if schema.get(UNREPEATED, False):
            rule = _rule(f"self.{name}", schema)
            yield {**rule, "rule": f"!has(self.{name}) || {rule['rule']}", "fieldPath": f".{name}"}


def rules_of_entries(values: Mapping[str, Any]) -> Iterator[Schema]:
    """The rule of the values in a map that are not to be repeated."""
    if values.get(UNREPEATED, False):
        rule = _rule("self[key]", values)
        yield {**rule, "rule": f"self.all(key, {rule['rule']})"}


def literal(pattern: str) -> str:
    """A pattern as a raw string of CEL.

    Raises:
        ValueError: the pattern has both kinds of quotes.
    """
    for quote in ('"', "'"):
        if quote not in pattern:
            return f"r{quote}{pattern}{quote}"
    raise ValueError(f"{pattern} has both kinds of quotes, so that CEL cannot take it as it is")


def _rule(what: str, schema: Mapping[str, Any]) -> Schema:
    return {
        "rule": f"{what}.matches({literal(schema['pattern'])})",
        "message": f"expected {schema[EXPECTED]}",
    }
