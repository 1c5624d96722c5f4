"""What a configuration can be made of: dialects, kinds of policies, kinds of filters.

A kind says which rules of the contract are its own, how one of them becomes something that runs, where in a call it has
its place, and by what a rule is known again after a reload. The builder goes through the kinds and names none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from tidegate_policy.model import CompiledConfig, KeyType, RateLimit, WorkloadIdentity
from tidegate_sidecar.dialects.registry import DEFAULT as DEFAULT_DIALECTS
from tidegate_sidecar.dialects.registry import Dialects
from tidegate_sidecar.policies.base import Policy
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.proxy.filters import AnswerRule, RequestFilter


class Phase(Enum):
    """When a policy is asked."""

    CALL = "call"
    """Once, before anything else is done for the call."""
    ATTEMPT = "attempt"
    """For each attempt, when its provider and its body are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyKind:
    """One kind of admission rule.

    Attributes:
        rules: the rules of this kind in a configuration, in the order in which they are asked.
        make: a rule as it runs. What it makes may have `carry(previous, now_ns)`, by which it goes on with what the same
            rule of the configuration before has counted; it is called once the new pipeline is whole.
        phase: when the rule is asked.
        identity: what makes a rule the same one in another configuration.
    """

    rules: Callable[[CompiledConfig], Iterable[Any]]
    make: Callable[[Any, WorkloadIdentity], Policy]
    phase: Callable[[Any], Phase]
    identity: Callable[[Any], Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterKind:
    """One kind of filter: of requests, of answers, or of both.

    Attributes:
        rules: the rules of this kind in a configuration, in the order in which they see a call.
        make: a rule as it runs: with `on_request`, `on_answer` or both, which may share what the rule remembers. It may
            have `carry`, as policies may.
        identity: what makes a rule the same one in another configuration.
    """

    rules: Callable[[CompiledConfig], Iterable[Any]]
    make: Callable[[Any, WorkloadIdentity], RequestFilter | AnswerRule]
    identity: Callable[[Any], Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All that there is."""

    dialects: Dialects = DEFAULT_DIALECTS
    policies: tuple[PolicyKind, ...] = ()
    filters: tuple[FilterKind, ...] = ()


def _rate_limits(config: CompiledConfig) -> Iterable[RateLimit]:
    return config.rate_limits


def _phase_of_limit(limit: RateLimit) -> Phase:
    """A limit that counts by provider counts attempts."""
    by_provider = any(part.type is KeyType.PROVIDER for part in limit.key)
    return Phase.ATTEMPT if by_provider else Phase.CALL


DEFAULT: Final = Registry(
    policies=(
        PolicyKind(
            rules=_rate_limits,
            make=RateLimiter,
            phase=_phase_of_limit,
            identity=lambda limit: (limit.source, limit.name),
        ),
    ),
)
"""What a sidecar runs with."""
