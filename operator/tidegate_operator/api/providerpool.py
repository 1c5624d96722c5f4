"""ProviderPool: where models live, and how calls reach them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from tidegate_operator.api.baseurl import BaseURL, host_problem, is_private
from tidegate_operator.api.conditions import ENFORCED, ConditionType
from tidegate_operator.api.fields import (
    Entries,
    HeaderName,
    HeaderValue,
    Items,
    ModelAlias,
    ModelName,
    Name,
    ObjectName,
    Whole,
    keys_cel,
)
from tidegate_operator.api.headers import NO_RESERVED_HEADERS_CEL, ONE_SPELLING_CEL, constant_header_problem
from tidegate_operator.api.kind import (
    ACCEPTED,
    AGE,
    DESIRED,
    PROGRAMMED,
    READY,
    REASON,
    RESOLVED,
    SUSPENDED,
    Column,
    Kind,
    Scope,
    condition_column,
)
from tidegate_operator.api.problems import Problem
from tidegate_operator.api.section import Rule, Section
from tidegate_operator.api.selectors import LabelSelector
from tidegate_operator.api.status import ProviderPoolStatus
from tidegate_operator.api.traffic import CircuitBreaker, PolicyMaximum, Retry, Timeouts
from tidegate_policy.model import ProviderType
from tidegate_policy.provider_types import PROVIDER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

_WITHOUT_ADDRESS: Final = tuple(
    type_.value for type_, traits in PROVIDER_TYPES.items() if not traits.base_url
)
_VERSION_SEGMENT: Final = re.compile("/v[0-9][a-z0-9]*$")


class NamespacesFrom(StrEnum):
    """Which namespaces may use an object."""

    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"


class AllowedNamespaces(Section):
    """Which namespaces' workloads may use the pool."""

    from_: Annotated[NamespacesFrom, Field(alias="from")] = NamespacesFrom.SAME
    """Same: the pool's own namespace alone. All: every namespace. Selector: those that `selector` chooses. Default Same."""
    selector: LabelSelector | None = None
    """Labels of the namespaces that may use the pool; exactly when `from` is Selector."""

    rules: ClassVar[tuple[Rule[AllowedNamespaces], ...]] = (
        Rule(
            holds=lambda self: (self.from_ is NamespacesFrom.SELECTOR) == (self.selector is not None),
            cel="(has(self.from) && self.from == 'Selector') == has(self.selector)",
            message="selector is required when from is Selector, and forbidden otherwise",
            field="selector",
        ),
    )


class CredentialReference(Section):
    """A ProviderCredential in the pool's namespace."""

    name: ObjectName
    """Name of the ProviderCredential."""


class AuthenticationType(StrEnum):
    """Whose key a request carries."""

    CREDENTIALS = "Credentials"
    CALLER = "Caller"
    NONE = "None"


class Authentication(Section):
    """Whose key a request carries: `type` names it, and says which other field belongs to it."""

    type: AuthenticationType
    """Credentials: one of `credentialRefs`. Caller: the key that the application sent is passed on. None: no key, and the application's is taken away."""
    credential_refs: Annotated[tuple[CredentialReference, ...], Items(max_items=8, keys=("name",))] = ()
    """Keys to use, in order of preference; exactly when `type` is Credentials."""

    rules: ClassVar[tuple[Rule[Authentication], ...]] = (
        Rule(
            holds=lambda self: (self.type is AuthenticationType.CREDENTIALS) == bool(self.credential_refs),
            cel="(self.type == 'Credentials') == (has(self.credentialRefs) && size(self.credentialRefs) > 0)",
            message="credentialRefs is required when type is Credentials, and forbidden otherwise",
            field="credentialRefs",
        ),
    )


class ProviderModel(Section):
    """A model that a provider serves."""

    name: ModelName
    """The name that applications, allow-lists, limits and metrics use."""
    upstream_name: ModelName | None = None
    """The name that the provider is asked for. Default: the same name."""
    aliases: Annotated[tuple[ModelAlias, ...], Items(max_items=16, unique=True)] = ()
    """Other names that applications may use for it."""


class Provider(Section):
    """One endpoint of a pool."""

    name: Name
    """Name of the provider, unique in the pool; metrics and response headers show it."""
    type: ProviderType
    """What kind of endpoint it is: decides paths, dialect and how the key is sent."""
    base_url: Annotated[BaseURL | None, Field(alias="baseURL")] = None
    """Where it is: https://api.openai.com/v1. OpenAI and Anthropic have a default and need no version segment; for OpenAICompatible it is part of the address."""
    allow_insecure: bool = False
    """Allows a baseURL with http: keys and prompts cross the network in clear text. Default false."""
    allow_private: bool = False
    """Allows a baseURL on a private, loopback or link-local address or a name inside the cluster. Default false."""
    headers: Annotated[dict[HeaderName, HeaderValue], Entries(16)] = Field(default_factory=dict)
    """Constant headers that every request to the provider gets. No credentials: those are for authentication."""
    authentication: Authentication = Authentication(type=AuthenticationType.NONE)
    """Whose key a request carries. Default None: no key, for endpoints that want none."""
    priority: Annotated[int, Whole(0, 100)] = 0
    """Providers with the lowest number are used; the next number when all of them are out. Default 0."""
    weight: Annotated[int, Whole(1, 1000)] = 1
    """Share of the calls among the providers of one priority. Default 1."""
    models: Annotated[tuple[ProviderModel, ...], Items(min_items=1, max_items=64, keys=("name",))] | None = (
        None
    )
    """Models that the provider serves. Omitted: whatever is asked for."""

    rules: ClassVar[tuple[Rule[Provider], ...]] = (
        Rule(
            holds=lambda self: self.type not in _WITHOUT_ADDRESS or self.base_url is not None,
            cel=" && ".join(f"self.type != '{type_}'" for type_ in _WITHOUT_ADDRESS)
            + " || has(self.baseURL)",
            message=f"type {' or '.join(_WITHOUT_ADDRESS)} has no default address: baseURL is required",
            field="baseURL",
        ),
        Rule(
            holds=lambda self: (
                self.base_url is None or self.allow_insecure or self.base_url.startswith("https://")
            ),
            cel=(
                "!has(self.baseURL) || has(self.allowInsecure) && self.allowInsecure "
                "|| self.baseURL.startsWith('https://')"
            ),
            message="baseURL must begin with https://, unless allowInsecure is true",
            field="baseURL",
        ),
        Rule(
            holds=None,
            cel=NO_RESERVED_HEADERS_CEL,
            message=(
                "headers that carry credentials, belong to the connection or begin with x-tidegate- "
                "cannot be constant; keys belong in authentication"
            ),
            field="headers",
        ),
        Rule(
            holds=None,
            cel=keys_cel("headers", HeaderName),
            message="the keys of headers are names of HTTP headers such as x-user-id",
            field="headers",
        ),
        Rule(
            holds=None,
            cel=ONE_SPELLING_CEL,
            message="no header may stand there twice; header names ignore case",
            field="headers",
        ),
    )

    @property
    def address(self) -> str:
        """The base URL in force, with the version segment and without a trailing slash."""
        traits = PROVIDER_TYPES[self.type]
        url = (self.base_url or traits.base_url).rstrip("/")
        segment = traits.version_segment
        return url if not segment or _VERSION_SEGMENT.search(url) else f"{url}/{segment}"

    def problems(self) -> Iterator[Problem]:
        """Checks of the host, of header names and of model names, which CEL cannot do within its cost."""
        if self.base_url is not None:
            problem = host_problem(self.base_url)
            if problem is not None:
                yield Problem(("baseURL",), problem)
            elif is_private(self.base_url) and not self.allow_private:
                yield Problem(
                    ("baseURL",),
                    "the host is private or inside the cluster; providers are on the public internet unless "
                    "allowPrivate is true",
                )
        yield from self._header_problems()
        yield from self._model_problems()

    def _header_problems(self) -> Iterator[Problem]:
        spellings: dict[str, str] = {}
        for name in self.headers:
            if problem := constant_header_problem(name):
                yield Problem(("headers", name), problem)
            first = spellings.setdefault(name.lower(), name)
            if first != name:
                yield Problem(("headers", name), f"is the same header as {first!r}; header names ignore case")

    def _model_problems(self) -> Iterator[Problem]:
        owners = {model.name: model.name for model in self.models or ()}
        for index, model in enumerate(self.models or ()):
            for position, alias in enumerate(model.aliases):
                owner = owners.setdefault(alias, f"alias of {model.name}")
                if owner != f"alias of {model.name}":
                    what = "the name of a model" if owner == alias else f"an {owner}"
                    yield Problem(
                        ("models", index, "aliases", position),
                        f"{alias!r} is {what} of this provider already; a name stands for one model",
                    )


class ProviderPoolSpec(Section):
    """Providers that can stand in for each other, and how calls reach them."""

    suspend: bool = False
    """The kill switch: every call through the pool is refused with 403 suspended. Default false."""
    allowed_namespaces: AllowedNamespaces = AllowedNamespaces()
    """Which namespaces' workloads may use the pool. Default: its own."""
    providers: Annotated[tuple[Provider, ...], Items(min_items=1, max_items=32, keys=("name",))]
    """The endpoints of the pool."""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """When a provider is left alone, and for how long."""
    retry: Retry = Retry()
    """After which failures a call asks again, how often and when."""
    timeouts: Timeouts = Timeouts()
    """Deadlines of a call."""
    policy_maximum: PolicyMaximum = PolicyMaximum()
    """How far policies may raise the pool's timeouts and attempts. Default: not at all."""

    def problems(self) -> Iterator[Problem]:
        """A maximum below the pool's own value would say nothing: policies may lower anyway."""
        for field in ("connect", "first_token", "stream_idle", "request", "stream"):
            maximum = getattr(self.policy_maximum.timeouts, field)
            own = getattr(self.timeouts, field)
            if maximum is not None and maximum < own:
                alias = type(self.timeouts).model_fields[field].alias or field
                yield Problem(
                    ("policyMaximum", "timeouts", alias),
                    f"{maximum} is below the pool's own {own}; a maximum is as long or longer",
                )
        most = self.policy_maximum.retry.max_attempts
        if most is not None and most < self.retry.max_attempts:
            yield Problem(
                ("policyMaximum", "retry", "maxAttempts"),
                f"{most} is below the pool's own {self.retry.max_attempts}; a maximum is as high or higher",
            )


_PROVIDERS_COLUMN: Final = Column(
    name="Providers", path=".status.providerNames", description="The providers of the pool."
)
_DEGRADED_COLUMN: Final = condition_column(
    ConditionType.DEGRADED, "Whether providers are out of order.", priority=1
)
PROVIDER_POOL: Final = Kind(
    name="ProviderPool",
    plural="providerpools",
    short_name="pp",
    scope=Scope.NAMESPACED,
    description="Providers of models that can stand in for each other, and how calls reach them.",
    spec=ProviderPoolSpec,
    status=ProviderPoolStatus,
    conditions=ENFORCED,
    columns=(
        READY,
        PROGRAMMED,
        DESIRED,
        _PROVIDERS_COLUMN,
        AGE,
        REASON,
        _DEGRADED_COLUMN,
        SUSPENDED,
        ACCEPTED,
        RESOLVED,
    ),
)
