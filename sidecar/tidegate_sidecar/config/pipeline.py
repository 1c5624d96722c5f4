"""A configuration as it runs: tables for the look-ups of a call, and the live state of its rules."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from tidegate_policy.model import CompiledConfig, Pool, WorkloadIdentity
from tidegate_sidecar.config.targets import ProviderState, Target
from tidegate_sidecar.dialects.registry import Dialects
from tidegate_sidecar.policies.base import Policy, PolicySet
from tidegate_sidecar.policies.cooldowns import Cooldowns
from tidegate_sidecar.policies.retry_budget import RetryBudget
from tidegate_sidecar.proxy.decisions import Decide
from tidegate_sidecar.proxy.filters import AnswerRule, RequestFilter
from tidegate_sidecar.routing.router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool and its providers, in the configuration's order."""

    pool: Pool
    label: str
    """`namespace/name`, as metrics and records name it; the name alone where it stands in no object."""
    providers: tuple[ProviderState, ...]
    retry_budget: RetryBudget
    cooldowns: Cooldowns


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Everything that a call needs, for its whole life.

    Attributes:
        decisions_before_the_body: phases that need the head of a request alone.
        decisions: phases that decide about a call once its body is there.
        pass_through: not None when calls go out as they are, through this pool and past all rules.
        call_rules: asked once per call.
        attempt_rules: asked for each attempt.
        request_filters: see a request once the call is admitted.
        answer_rules: make what sees the answer to an attempt, in the order in which it passes them.
        told: what every record has: digest (its beginning), namespace, workload.
        live: everything that goes on in the next configuration, by its identity.
    """

    config: CompiledConfig
    identity: WorkloadIdentity
    digest: str
    dialects: Dialects
    decisions_before_the_body: tuple[Decide, ...]
    decisions: tuple[Decide, ...]
    pass_through: PoolState | None
    router: Router[Target]
    pools: tuple[PoolState, ...]
    call_rules: PolicySet
    attempt_rules: PolicySet
    request_filters: tuple[RequestFilter, ...]
    answer_rules: tuple[AnswerRule, ...]
    told: tuple[str, str, str]
    live: Mapping[Hashable, object]

    @property
    def rules(self) -> tuple[Policy, ...]:
        """All admission rules."""
        return (*self.call_rules.policies, *self.attempt_rules.policies)
