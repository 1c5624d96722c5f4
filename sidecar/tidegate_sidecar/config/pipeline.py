"""A configuration as it runs: tables for the lookups of a request, and the live state of its rules."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate_policy.model import CompiledConfig, Pool, Provider, WorkloadIdentity
from tidegate_sidecar.policies.base import PolicySet
from tidegate_sidecar.policies.breaker import CircuitBreaker
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.policies.retry import RetryBudget
from tidegate_sidecar.policies.select import Candidate
from tidegate_sidecar.providers.base import DialectAdapter
from tidegate_sidecar.routing.refusal import Refusal
from tidegate_sidecar.routing.router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderState:
    """A provider and what is known of it."""

    provider: Provider
    adapter: DialectAdapter
    breaker: CircuitBreaker
    candidate: Candidate
    """Its place in the choice; the id is its position in the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool and its providers, in the configuration's order."""

    pool: Pool
    label: str
    """`namespace/name`, as metrics and records name it; the name alone where it stands in no object."""
    providers: tuple[ProviderState, ...]
    retry_budget: RetryBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Everything a request needs, for its whole life.

    Attributes:
        denial: not None when every call is refused.
        pass_through: not None when calls go out as they are, through this pool and past all rules.
        call_rules: admitted once per call.
        attempt_rules: admitted once per try; they count by provider.
    """

    config: CompiledConfig
    identity: WorkloadIdentity
    digest: str
    denial: Refusal | None
    pass_through: PoolState | None
    router: Router
    pools: tuple[PoolState, ...]
    call_rules: PolicySet
    attempt_rules: PolicySet
    rate_rules: tuple[RateLimiter, ...]
