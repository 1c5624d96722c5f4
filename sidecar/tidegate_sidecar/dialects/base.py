"""What every dialect offers, and the words in which all of them judge an answer.

A dialect is the shape of requests, answers, streams and errors of one family of providers. Everything that is true of one
family alone stands in its own package; the rest of the sidecar knows this protocol and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Header lines as they came or are to be sent: name and value, names in any case, values with obs-text bytes."""

Event = tuple[bytes, bytes, bytes]
"""One server-sent event: (its bytes as they came, its name, its joined data). A block of comments alone has no data."""

MAX_WORD: Final = 80
"""Characters of a provider's own word for an error that are kept."""


class Operation(StrEnum):
    """What a call asks for."""

    CHAT = "Chat"
    COMPLETIONS = "Completions"
    """The older endpoint, which continues a text."""
    RESPONSES = "Responses"
    EMBEDDINGS = "Embeddings"
    MODERATIONS = "Moderations"
    COUNT_TOKENS = "CountTokens"
    MODELS = "Models"
    """Which models there are. It is answered from the configuration, and no provider is asked."""


UNMETERED: Final = frozenset({Operation.MODERATIONS, Operation.COUNT_TOKENS})
"""Operations that providers charge nothing for: their answers report no usage, and none is missing."""


class Usage(NamedTuple):
    """Tokens that a provider reported, in its own way of counting. None: it did not say.

    Attributes:
        input_tokens: OpenAI's include cached ones, Anthropic's do not.
        output_tokens: with those of reasoning.
        cached_input_tokens: input that was read from the provider's cache.
        cache_write_tokens: input that was written to it.
        reasoning_tokens: the part of the output that was thought and not said.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def plus(self, other: Usage) -> Usage:
        """The sum, of what either says."""
        return Usage(
            *(b if a is None else a if b is None else a + b for a, b in zip(self, other, strict=True))
        )


NO_USAGE: Final = Usage()


class Asked(NamedTuple):
    """What a request asks for, as far as decisions need it.

    Attributes:
        model: as the application wrote it, or the one that the provider takes where the body names none.
        stream: an event stream is asked for.
        state: the member that names something which only one account of the provider knows; empty where there is none.
    """

    model: str
    stream: bool
    state: str = ""


class Problem(NamedTuple):
    """Why a request cannot be understood: words for a person, and the member that is wrong (empty: the body as a whole)."""

    message: str
    member: str = ""


class Verdict(Enum):
    """What a provider's answer says, by the dialect's table over status and body."""

    SERVED = "Served"
    CALLER_ERROR = "CallerError"
    """The call itself is wrong: relayed at once in the provider's words, asked for once, no news of the provider's health."""
    RATE_LIMITED = "RateLimited"
    """The provider is well and has had enough for now from this key (and model)."""
    ACCOUNT_EXHAUSTED = "AccountExhausted"
    """The account of this key has no credit or quota left; waiting for seconds does not help, another account may."""
    OVERLOADED = "Overloaded"
    SERVER_ERROR = "ServerError"
    TIMEOUT = "Timeout"
    KEY_REFUSED = "KeyRefused"
    """The key is wrong, revoked, or may not do this here: no call with this key is worth sending to this provider."""
    MODEL_UNAVAILABLE = "ModelUnavailable"
    """This provider does not have the model (for this key), whatever the configuration says: another one may."""


class Judged(NamedTuple):
    """A verdict with the provider's own word for it, and how far a wait that it asks for reaches."""

    verdict: Verdict
    word: str = ""
    """Code or type as the provider wrote it, at most `MAX_WORD` characters; empty where it said none."""
    whole_account: bool = False
    """For RATE_LIMITED and ACCOUNT_EXHAUSTED: all models of the credential are meant, not only the one asked for."""


SERVED: Final = Judged(Verdict.SERVED)


class UnreadableError(ValueError):
    """Data that is none of the dialect. The message says what came (kind, encoding), never quotes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What an error of ours says to the application, before a dialect gives it a shape."""

    status: int
    code: str
    message: str
    details: dict[str, object]
    """Object, rule, limit and what is left: shown under `tidegate`."""
    request_id: str


class StreamReader(Protocol):
    """Reads one stream as it passes. Only the dialect judges data; the relay passes bytes on.

    Attributes:
        usage: what was reported so far.
        has_content: an event that carries content (text, reasoning, refusal, a tool call, audio) has been seen; openings,
            pings and events without content do not count.
        is_complete: the dialect's terminal event was seen: nothing of the answer can follow.
        may_end: a body that ends properly here is whole.
        failure: what an error event says; None while there was none.
    """

    usage: Usage
    has_content: bool
    is_complete: bool
    failure: Judged | None

    @property
    def may_end(self) -> bool: ...

    def read(self, event: Event) -> None:
        """Take one event.

        Raises:
            UnreadableError: its data is none of the dialect.
        """
        ...


class Endpoint(NamedTuple):
    """Where one operation is asked for, and how its bodies are read.

    Attributes:
        operation: that is asked for.
        path: what follows a provider's base URL, which already ends in the version segment.
        asked: what a request's body asks for.
        stream_reader: makes a reader for one stream; None: no answer is ever a stream.
    """

    operation: Operation
    path: str
    asked: Callable[[Mapping[str, object]], Asked | Problem]
    stream_reader: Callable[[], StreamReader] | None = None


class Dialect(Protocol):
    """One family's facts. All methods are pure.

    Attributes:
        name: unique; the word of the contract's `Dialect` where there is one.
        mounts: prefixes of paths below which its calls come, the version segment included, longest first.
        endpoints: by operation.
        paths: full path to endpoint, for POST.
        marker_header: lower case; a call on a path without the dialect's prefix is of this dialect if it has this header.
            Empty: the dialect has none.
        credential_headers: lower-case names of headers that carry a key of this dialect.
        ping: bytes of a sign of life within a stream that this dialect's SDKs pass over.
    """

    name: str
    mounts: Sequence[str]
    endpoints: Mapping[Operation, Endpoint]
    paths: Mapping[str, Endpoint]
    marker_header: bytes
    credential_headers: frozenset[bytes]
    ping: bytes

    def credential(self, key: str) -> RawHeaders:
        """Headers that carry `key`."""
        ...

    def usage(self, document: object) -> Usage:
        """Usage in a whole answer."""
        ...

    def judge(self, status: int, document: object) -> Judged:
        """What a whole answer says; `document` is its parsed body, None where that is no JSON."""
        ...

    def model_list(self, names: Sequence[str]) -> bytes:
        """The answer to a request for all models: these."""
        ...

    def model(self, name: str) -> bytes:
        """The answer to a request for one model."""
        ...

    def error(self, body: ErrorBody) -> bytes:
        """An error of ours as this dialect's SDKs expect it."""
        ...

    def stream_error(self, body: ErrorBody) -> bytes:
        """The same as an event within a stream that has begun."""
        ...


def paths_of(endpoints: Mapping[Operation, Endpoint], mounts: Sequence[str]) -> Mapping[str, Endpoint]:
    """The full path of each endpoint below each of `mounts`, which end in "/"."""
    return MappingProxyType(
        {mount.rstrip("/") + endpoint.path: endpoint for mount in mounts for endpoint in endpoints.values()}
    )


def by_operation(*endpoints: Endpoint) -> Mapping[Operation, Endpoint]:
    """`endpoints`, each under what it is asked for."""
    return MappingProxyType({endpoint.operation: endpoint for endpoint in endpoints})
