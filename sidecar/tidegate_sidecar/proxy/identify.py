"""The head and body of a request as facts: dialect, operation, model, streaming, consumer.

The body is parsed here and nowhere else. What cannot be understood is a `Refusal`, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from tidegate_policy.model import ConsumerIdentity, Dialect, OnMissing
from tidegate_sidecar.providers.base import Operation
from tidegate_sidecar.routing.refusal import Case, Refusal

ANONYMOUS: Final = "anonymous"
"""The one consumer that all calls without a name share."""

MAX_CONSUMER_LENGTH: Final = 256
MAX_MODEL_LENGTH: Final = 256
KEPT_BYTES: Final = 64 * 2**10
"""Bodies up to this size are kept as parsed, too."""

_PATHS: Final = {
    "/openai/v1/chat/completions": (Dialect.OPENAI, Operation.CHAT),
    "/v1/chat/completions": (Dialect.OPENAI, Operation.CHAT),
    "/anthropic/v1/messages": (Dialect.ANTHROPIC, Operation.CHAT),
    # Some SDKs put the version segment into the base URL and some do not.
    "/anthropic/messages": (Dialect.ANTHROPIC, Operation.CHAT),
    "/v1/messages": (Dialect.ANTHROPIC, Operation.CHAT),
}
_PREFIXES: Final = (
    ("/openai/", Dialect.OPENAI),
    ("/anthropic/", Dialect.ANTHROPIC),
    ("/v1/chat/", Dialect.OPENAI),
    ("/v1/messages", Dialect.ANTHROPIC),
)
_MOUNTS: Final = (
    ("/openai/v1/", Dialect.OPENAI),
    ("/anthropic/v1/", Dialect.ANTHROPIC),
    ("/anthropic/", Dialect.ANTHROPIC),
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

_DECIDING: Final = frozenset({"model", "stream"})
"""Members of a body that are decided on."""

# Half of a surrogate pair is what a header that is not UTF-8 is read as.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What a path asks for."""

    dialect: Dialect
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a call goes that is let through as it is: `rest` follows the base URL of the dialect's provider."""

    dialect: Dialect
    path: str
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a body asks for.

    Attributes:
        model: as the application wrote it, alias or name.
        stream: an event stream is wanted.
        document: the parsed body, for a try that changes it; None for a large one, which is parsed anew then: objects
            take several times the memory of their text, and a call may wait for minutes.
        ambiguous: another reader could understand these bytes differently (a member given twice, or an escaped
            name), so the provider must be sent what was understood here.
    """

    model: str
    stream: bool
    document: dict[str, object] | None
    ambiguous: bool


def dialect_of(path: str, headers: Mapping[str, str]) -> Dialect:
    """The dialect in which an error on `path` is understood; headers have lower-case names."""
    for prefix, dialect in _PREFIXES:
        if path.startswith(prefix):
            return dialect
    return Dialect.ANTHROPIC if "anthropic-version" in headers else Dialect.OPENAI


def place_of(method: str, raw_path: str, headers: Mapping[str, str]) -> Place | Refusal:
    """Where any call goes; `raw_path` as the application wrote it, since it is sent on so."""
    if method not in _METHODS:
        served = ", ".join(sorted(_METHODS))
        return Refusal(
            case=Case.UNKNOWN_PATH, message=f"{method[:20]!r} is not let through; these are: {served}."
        )
    for prefix, dialect in _MOUNTS:
        if raw_path.startswith(prefix):
            return Place(dialect=dialect, path=raw_path, rest=raw_path[len(prefix) - 1 :])
    if raw_path.startswith("/v1/"):
        return Place(dialect=dialect_of(raw_path, headers), path=raw_path, rest=raw_path[len("/v1") :])
    return nothing_served(raw_path)


def nothing_served(path: str) -> Refusal:
    """The refusal of a path below which no provider is, where calls are let through."""
    below = ", ".join((*(prefix for prefix, _ in _MOUNTS), "/v1/"))
    return Refusal(
        case=Case.UNKNOWN_PATH,
        message=f"Nothing is served at {path[:200]!r}. Calls are let through below {below}.",
    )


def endpoint_of(method: str, path: str) -> Endpoint | Refusal:
    """What `method` on `path` asks for."""
    known = _PATHS.get(path)
    if known is None:
        return Refusal(
            case=Case.UNKNOWN_PATH,
            message=f"Nothing is served at {path[:200]!r}. Served are: POST {', POST '.join(_PATHS)}.",
        )
    if method != "POST":
        return Refusal(case=Case.UNKNOWN_PATH, message=f"{path} is served for POST, not for {method[:20]}.")
    return Endpoint(dialect=known[0], operation=known[1])


def read_body(body: bytes) -> Asked | Refusal:
    """What `body` asks for, as far as every dialect has it in common."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _invalid(f"The body is not JSON: {error}.")
    if not isinstance(document, dict):
        return _invalid("The body must be a JSON object.")
    problem, param = _problem(document)
    if problem:
        return _invalid(problem, param)
    model, stream = document["model"], document.get("stream")
    # A name such as "model" can be written with escapes, all of which start like this for ASCII letters.
    ambiguous = body.count(b'"model"') != 1 or body.count(b'"stream"') > 1 or b"\\u00" in body
    kept = document if len(body) <= KEPT_BYTES else None
    return Asked(model=model, stream=bool(stream), document=kept, ambiguous=ambiguous)


def with_model(asked: Asked, body: bytes, model: str) -> bytes:
    """The body with another model: what was understood, written anew."""
    document = asked.document if asked.document is not None else orjson.loads(body)
    return orjson.dumps({**document, "model": model})


def _problem(document: dict[str, object]) -> tuple[str, str]:
    """What is wrong with a body, and with which member of it; empty when nothing is."""
    for name in document:
        if name not in _DECIDING and name.casefold() in _DECIDING:
            # Some servers (all that use Go's encoding/json) would take this one for the one that was decided on.
            return f"The body has {name!r}; write {name.casefold()!r}.", name.casefold()
    model = document.get("model")
    if not isinstance(model, str) or not model:
        return "The body has no `model`; it must be the name of a model, a string.", "model"
    if len(model) > MAX_MODEL_LENGTH or _UNPRINTABLE.search(model):
        return f"`model` must be at most {MAX_MODEL_LENGTH} printable characters.", "model"
    if not isinstance(document.get("stream"), bool | None):
        return "`stream` must be true or false.", "stream"
    return "", ""


def consumer_of(identity: ConsumerIdentity | None, headers: Mapping[str, str]) -> tuple[str, Refusal | None]:
    """The consumer of a call, and the refusal for a call that does not say it.

    A refusal beside a `Shadow` identity is only what would have happened: the caller looks at the mode.
    """
    if identity is None:
        return ANONYMOUS, None
    value = headers.get(identity.header, "").strip()
    if value and len(value) <= MAX_CONSUMER_LENGTH and not _UNPRINTABLE.search(value):
        return value, None
    if not value and identity.on_missing is OnMissing.ANONYMOUS:
        return ANONYMOUS, None
    problem = f"is longer than {MAX_CONSUMER_LENGTH} characters or not printable" if value else "is missing"
    return ANONYMOUS, Refusal(
        case=Case.INVALID,
        message=f"The header {identity.header}, which says on whose behalf a call is made, {problem}; "
        f"{identity.source} demands it.",
        source=identity.source,
        rule="identity",
        details={"param": identity.header},
    )


def _invalid(message: str, param: str = "") -> Refusal:
    return Refusal(case=Case.INVALID, message=message, details={"param": param} if param else {})
