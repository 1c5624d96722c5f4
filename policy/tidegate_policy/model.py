"""The compiled configuration: everything a sidecar needs to decide, and nothing about how it decides.

One `CompiledConfig` serves a class of workloads, those to which the same objects apply. It is resolved: no
references are left, defaults are filled in, every rule says which object it comes from. Tuples are ordered and the
order means something: pools in the order in which they serve a model, everything else sorted, so that the same
objects always give the same bytes.

Durations are milliseconds, counts are integers. A key never stands here: a `CredentialRef` says where the sidecar
finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

T = TypeVar("T")

SCHEMA_VERSION: Final = 1
"""Version of this schema that is written where nothing in the document asks for a later one (see `added`)."""

SUPPORTED_SCHEMA_VERSIONS: Final = (1,)
"""Versions that are read."""

ADDED: Final = "added"
"""Metadata of fields that `added` makes."""

SINCE: Final = "since"
"""Metadata of fields that came with a later schema version, which is the value."""


def added(default: T, *, since: int = SCHEMA_VERSION) -> T:
    """A field that came after others: it is not written while it has its default.

    So a reader without the field goes on reading whatever does not need it, and no digest changes when the writer is
    upgraded. A document that does need it is of schema version `since`: who reads no such version is told which object
    asks for it, and keeps what it has. A field that comes with a release after the first has a `since` of its own.
    """
    later = {SINCE: since} if since > SCHEMA_VERSION else {}
    found: T = field(default=default, metadata={ADDED: True, **later})
    return found


class Mode(StrEnum):
    """Whether a rule changes traffic, or only counts and logs what it would have done."""

    ENFORCE = "Enforce"
    SHADOW = "Shadow"


class Dialect(StrEnum):
    """The shape of requests, responses and errors; a call fails over among providers of one dialect."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"


class ProviderType(StrEnum):
    """What kind of endpoint a provider is: decides dialect, paths and how the key is sent (`provider_types.py`)."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"
    OPENAI_COMPATIBLE = "OpenAICompatible"


class KeyType(StrEnum):
    """What a rate limit counts apart. The pod's own facts come from its identity, the others from the call."""

    NAMESPACE = "Namespace"
    WORKLOAD = "Workload"
    POD = "Pod"
    SERVICE_ACCOUNT = "ServiceAccount"
    CONSUMER = "Consumer"
    MODEL = "Model"
    PROVIDER = "Provider"
    HEADER = "Header"


class OnMissing(StrEnum):
    """What happens to a call that does not say who its consumer is."""

    DENY = "Deny"
    ANONYMOUS = "Anonymous"


class RetryOn(StrEnum):
    """Ways in which an attempt can fail that are worth another attempt."""

    RATE_LIMITED = "RateLimited"
    OVERLOADED = "Overloaded"
    SERVER_ERROR = "ServerError"
    TIMEOUT = "Timeout"
    CONNECT_FAILURE = "ConnectFailure"


class DenialCode(StrEnum):
    """Why every call of a workload is refused."""

    NO_POLICY = "no_policy"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectRef:
    """The object that a part of the configuration comes from, as refusals name it."""

    kind: str
    namespace: str
    """Empty for a cluster-scoped kind."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A constant request header; carries no credentials."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRef:
    """Where the sidecar finds a key, never the key itself: one of the two places."""

    source: ObjectRef
    environment_variable: str = ""
    secret_key: str = added("")
    """Key of the Secret `keys.KEYS_SECRET` of the pod's own namespace."""
    suspended: bool = False
    """The kill switch of the ProviderCredential: its key is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a provider serves."""

    name: str
    """The name that applications, limits, metrics and allow-lists use."""
    upstream_name: str
    """The name that the provider is asked for."""
    aliases: tuple[str, ...] = ()
    """Other names that applications may use for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One endpoint of a pool."""

    name: str
    type: ProviderType
    base_url: str
    """Without a trailing slash, with the version segment that the provider's own documentation has in it."""
    headers: tuple[Header, ...] = ()
    credentials: tuple[CredentialRef, ...] = ()
    """In order of preference; empty for endpoints that want no key."""
    caller_credential: bool = False
    """The key that the application sent is passed on."""
    priority: int = 0
    """Lower first."""
    weight: int = 1
    """Share among the providers of one priority."""
    models: tuple[Model, ...] = ()
    """Empty: whatever is asked for."""
    public_only: bool = added(default=False)
    """Its host's name is connected to where it leads to public addresses, and nowhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a provider is left alone, and for how long."""

    consecutive_failures: int
    failure_rate_percent: int
    slow_call_percent: int
    slow_first_token_ms: int
    """A stream whose first event of any kind takes longer counts as slow."""
    minimum_requests: int
    """The percentages count only from so many calls within the window."""
    window_ms: int
    open_for_ms: int
    max_open_for_ms: int
    """Each failed probe doubles the time, up to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """After which failures a call asks again, how often and when."""

    max_attempts: int
    """All attempts of a call, the first included."""
    retry_on: tuple[RetryOn, ...]
    backoff_base_ms: int
    backoff_max_ms: int
    budget_percent: int
    """Attempts that ask a provider again may be at most this share of calls; moving on to another is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Deadlines of a call. `first_token_ms`, `stream_idle_ms` and `stream_ms` hold for streams alone."""

    connect_ms: int
    """Until a connection stands, for each attempt."""
    first_token_ms: int
    """From the start of an attempt to the first event that carries content."""
    stream_idle_ms: int
    """The longest silence after that; every event and every comment ends one."""
    request_ms: int
    """From the start of the call to the end of a whole answer, or to the first content of a stream; all attempts and the
    pauses between them lie within it."""
    stream_ms: int = added(3_600_000)
    """From the start of the call to the end of its stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Providers that can stand in for each other."""

    source: ObjectRef
    suspended: bool = False
    providers: tuple[Provider, ...]
    breaker: Breaker
    retry: Retry
    timeouts: Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """One part of what a limit counts apart; `header` is set for `KeyType.HEADER` alone (lower case)."""

    type: KeyType
    header: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`requests` per `per_ms`, of which `burst` at once, for each value of `key`."""

    name: str
    source: ObjectRef
    mode: Mode
    requests: int
    per_ms: int
    burst: int
    key: tuple[KeyPart, ...]
    models: tuple[str, ...] = ("*",)
    """Patterns of model names that the limit counts (`*` is any run of characters)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAllowList:
    """Models that one object allows; a call must be allowed by every one of them."""

    source: ObjectRef
    mode: Mode
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerIdentity:
    """How a call says on whose behalf it is made."""

    source: ObjectRef
    mode: Mode
    header: str
    """Lower case."""
    on_missing: OnMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Every call is refused, and this is the object that says so."""

    code: DenialCode
    reason: str
    source: ObjectRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledConfig:
    """Everything that applies to one class of workloads."""

    schema_version: int = SCHEMA_VERSION
    sources: tuple[ObjectRef, ...] = ()
    """The policies that apply: the class. Sorted."""
    denials: tuple[Denial, ...] = ()
    """Not empty: each call is answered with the first one."""
    pools: tuple[Pool, ...] = ()
    """The first pool that has a model serves it."""
    allow_models: tuple[ModelAllowList, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    consumer: ConsumerIdentity | None = None
    """None: calls have no consumer, and rules by consumer see the one shared `anonymous`."""
    pass_through: bool = added(default=False)
    """No policy applies and the platform lets such calls go: they go out as they are, with the application's own key,
    to the provider of `pools` that speaks their dialect. No rule and no retry applies to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadIdentity:
    """Who the sidecar speaks for; comes from the control plane, never from the pod's own word."""

    namespace: str = ""
    workload_kind: str = ""
    workload_name: str = ""
    service_account: str = ""
    pod: str = ""
    labels: tuple[tuple[str, str], ...] = field(default=())
