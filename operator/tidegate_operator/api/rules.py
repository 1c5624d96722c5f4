"""What both kinds of policy can say: rate limits, allow-lists, identity, and changes to timeouts and retry."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from tidegate_operator.api.durations import Duration
from tidegate_operator.api.fields import (
    HeaderName,
    Items,
    ModelPattern,
    Name,
    ObjectName,
    OwnOrNamespace,
    Whole,
)
from tidegate_operator.api.headers import (
    CREDENTIAL_NAME_MESSAGE,
    NO_CREDENTIAL_NAME_CEL,
    carries_credentials,
)
from tidegate_operator.api.section import Rule, Section
from tidegate_operator.api.traffic import RetryOverrides, TimeoutOverrides
from tidegate_policy.model import KeyType, Mode, OnMissing

RequestCount = Annotated[int, Whole(1, 1_000_000_000)]


class PoolReference(Section):
    """A ProviderPool."""

    name: ObjectName
    """Name of the ProviderPool."""
    namespace: OwnOrNamespace = ""
    """Namespace of the ProviderPool; one of another namespace must allow this one. Default: the policy's own."""


class ClusterPoolReference(Section):
    """A ProviderPool, as a cluster-scoped object names it."""

    name: ObjectName
    """Name of the ProviderPool."""
    namespace: Name
    """Namespace of the ProviderPool; it must allow the namespaces that the policy applies to."""


class HeaderKey(Section):
    """A request header that tells calls apart."""

    name: HeaderName
    """Name of the header; case does not matter. Calls without it are counted together."""

    rules: ClassVar[tuple[Rule[HeaderKey], ...]] = (
        Rule(
            holds=lambda self: not carries_credentials(self.name),
            cel=NO_CREDENTIAL_NAME_CEL,
            message=CREDENTIAL_NAME_MESSAGE,
            field="name",
        ),
    )


class RateLimitKey(Section):
    """One part of what a limit counts apart: `type`, and for Header which one."""

    type: KeyType
    """What is counted apart. Namespace, Workload, Pod and ServiceAccount are the pod's own; Consumer, Model, Provider and Header come from the call."""
    header: HeaderKey | None = None
    """Which header; exactly when `type` is Header."""

    rules: ClassVar[tuple[Rule[RateLimitKey], ...]] = (
        Rule(
            holds=lambda self: (self.type is KeyType.HEADER) == (self.header is not None),
            cel="(self.type == 'Header') == has(self.header)",
            message="header is required when type is Header, and forbidden otherwise",
            field="header",
        ),
    )


class RateLimitRule(Section):
    """`requests` per `per`, of which `burst` at once."""

    name: Name
    """Name of the rule, unique in the policy; refusals and metrics show it."""
    mode: Mode | None = None
    """Enforce, or Shadow: decide, count and log, but let calls pass. Default: the mode of the policy."""
    requests: RequestCount
    """Calls that are allowed within `per`."""
    per: Duration
    """The time that `requests` is about."""
    burst: RequestCount | None = None
    """Calls that may come at once after a quiet time. Default: `requests`."""
    key: Annotated[tuple[RateLimitKey, ...], Items(min_items=1, max_items=4, distinct=True)] = (
        RateLimitKey(type=KeyType.WORKLOAD),
    )
    """What is counted apart: each combination of the parts has the whole limit for itself. Default: the workload."""
    models: Annotated[tuple[ModelPattern, ...], Items(min_items=1, max_items=16, unique=True)] = ("*",)
    """Models whose calls count, by name; `*` is any run of characters. Default: all."""

    rules: ClassVar[tuple[Rule[RateLimitRule], ...]] = (
        Rule(
            holds=None,
            cel="!has(self.key) || self.key.all(part, self.key.exists_one(other, other == part))",
            message="no part of key may stand there twice",
            field="key",
        ),
    )


class ConsumerSource(StrEnum):
    """Where a call says on whose behalf it is made."""

    HEADER = "Header"


class ConsumerHeader(Section):
    """The header that names the consumer."""

    name: HeaderName
    """Name of the header; case does not matter."""
    on_missing: OnMissing = OnMissing.DENY
    """What happens to a call without the header. Deny: it is refused. Anonymous: all such calls are one consumer. Default Deny."""

    rules: ClassVar[tuple[Rule[ConsumerHeader], ...]] = (
        Rule(
            holds=lambda self: not carries_credentials(self.name),
            cel=NO_CREDENTIAL_NAME_CEL,
            message=CREDENTIAL_NAME_MESSAGE,
            field="name",
        ),
    )


class Consumer(Section):
    """How a call says on whose behalf it is made: `source` names it, the member of the same name says the details."""

    source: ConsumerSource
    """Header: a request header that the application sets."""
    header: ConsumerHeader | None = None
    """Which header; exactly when `source` is Header."""

    rules: ClassVar[tuple[Rule[Consumer], ...]] = (
        Rule(
            holds=lambda self: (self.source is ConsumerSource.HEADER) == (self.header is not None),
            cel="(self.source == 'Header') == has(self.header)",
            message="header is required when source is Header, and forbidden otherwise",
            field="header",
        ),
    )


class Identity(Section):
    """Whom a call is counted for."""

    consumer: Consumer
    """The consumer: a user or tenant of the application."""


class PolicyRules(Section):
    """The fields that AIPolicy and ClusterAIPolicy share."""

    suspend: bool = False
    """The kill switch: every call of the workloads that the policy applies to is refused with 403 suspended. Default false."""
    mode: Mode = Mode.ENFORCE
    """Mode of the rules that name none. Shadow decides, counts and logs, and lets calls pass. Default Enforce."""
    allow_models: (
        Annotated[tuple[ModelPattern, ...], Items(min_items=1, max_items=64, unique=True)] | None
    ) = None
    """Models that may be called, by name; `*` is any run of characters. A model must be allowed by every policy that applies. Default: all models of the pools."""
    rate_limits: Annotated[tuple[RateLimitRule, ...], Items(max_items=64, keys=("name",))] = ()
    """Limits on calls. Those of all policies that apply hold together."""
    identity: Identity | None = None
    """How a call says on whose behalf it is made. The most specific policy decides, but what a ClusterAIPolicy says stands."""
    timeouts: TimeoutOverrides | None = None
    """Deadlines that differ from the pool's; higher ones only up to its policyMaximum. The most specific policy decides."""
    retry: RetryOverrides | None = None
    """Attempts that differ from the pool's; more only up to its policyMaximum. The most specific policy decides."""
