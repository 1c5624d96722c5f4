"""Which provider, dialect and operation a request is for. PURE."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from tidegate_cli.simulator import anthropic, openai
from tidegate_cli.simulator.behaviour import PROVIDER_NAME_PATTERN
from tidegate_cli.simulator.prompt import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_cli.simulator.dialect import Dialect

DEFAULT_PROVIDER: Final = "default"
"""Name of the provider that paths without `/providers/NAME` reach."""

_PATH: Final = re.compile(rf"(?:/providers/({PROVIDER_NAME_PATTERN}))?(/.*)", re.DOTALL)


class Operation(enum.StrEnum):
    """What a path is for; `UNKNOWN` is any path that no provider has."""

    COMPLETE = "complete"
    LIST_MODELS = "list models"
    UNKNOWN = "unknown"


class Route(NamedTuple):
    """Where a request goes.

    Attributes:
        provider: the name that the path gives the provider.
        path: what follows the name, as a provider of its own would see it.
        dialect: of the answer, and of errors about the path itself.
        operation: what is asked for.
    """

    provider: str
    path: str
    dialect: Dialect
    operation: Operation


def route(path: str, headers: Mapping[str, str]) -> Route:
    """The route of a request; headers by name in any case.

    The models have the same path in both dialects, so there the header that all calls to Anthropic have decides.
    """
    match = _PATH.fullmatch(path)
    provider, own_path = (match[1] or DEFAULT_PROVIDER, match[2]) if match else (DEFAULT_PROVIDER, path)
    named: Dialect = anthropic if "anthropic-version" in headers else openai
    match own_path:
        case "/v1/chat/completions":
            return Route(provider, own_path, openai, Operation.COMPLETE)
        case "/v1/messages":
            return Route(provider, own_path, anthropic, Operation.COMPLETE)
        case "/v1/models":
            return Route(provider, own_path, named, Operation.LIST_MODELS)
    return Route(provider, own_path, named, Operation.UNKNOWN)


def check(place: Route, method: str) -> None:
    """Raise `RequestError` where no provider would serve this method on this path."""
    if place.operation is Operation.UNKNOWN:
        raise RequestError(f"There is no {place.path} here.", status=404)
    expected = "POST" if place.operation is Operation.COMPLETE else "GET"
    if method != expected:
        raise RequestError(f"{place.path} takes {expected}, not {method}.", status=405)
