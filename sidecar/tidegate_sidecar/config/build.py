"""A configuration and the pipeline before it become the next pipeline (PURE).

Live state is carried over by identity: a limit by the object and its name, a breaker by pool and provider, so that
a reload neither forgives what was used nor forgets what is broken.
"""

from __future__ import annotations

from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, Pool, WorkloadIdentity
from tidegate_sidecar.config.pipeline import Pipeline, PoolState, ProviderState
from tidegate_sidecar.policies.base import PolicySet
from tidegate_sidecar.policies.breaker import CircuitBreaker
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.policies.retry import RetryBudget
from tidegate_sidecar.policies.select import Candidate
from tidegate_sidecar.providers.registry import ADAPTERS
from tidegate_sidecar.routing.refusal import denied
from tidegate_sidecar.routing.router import Router


def build(
    config: CompiledConfig, identity: WorkloadIdentity, previous: Pipeline | None, now_ns: int
) -> Pipeline:
    """The pipeline of `config`; whatever `previous` has counted under the same identity goes on.

    Raises:
        ValueError: a number of `config` makes no sense, which a compiler would not have written.
    """
    if config.pass_through and (len(config.pools) != 1 or config.denials):
        raise ValueError("calls are let through by one pool and past no denial")
    rules = _rate_rules(config, identity, previous, now_ns)
    pools = _pools(config, previous, now_ns)
    return Pipeline(
        config=config,
        identity=identity,
        digest=wire.digest(config),
        denial=denied(config.denials[0]) if config.denials else None,
        router=Router(config),
        pass_through=pools[0] if config.pass_through else None,
        pools=pools,
        call_rules=PolicySet([rule for rule in rules if not rule.per_attempt]),
        attempt_rules=PolicySet([rule for rule in rules if rule.per_attempt]),
        rate_rules=rules,
    )


def _rate_rules(
    config: CompiledConfig, identity: WorkloadIdentity, previous: Pipeline | None, now_ns: int
) -> tuple[RateLimiter, ...]:
    former = {(rule.limit.source, rule.limit.name): rule for rule in previous.rate_rules} if previous else {}
    # All of them first: carrying over changes the former ones, and nothing may fail after that has begun.
    rules = tuple(RateLimiter(limit, identity) for limit in config.rate_limits)
    for rule in rules:
        before = former.get((rule.limit.source, rule.limit.name))
        if before is not None:
            rule.carry(before, now_ns)
    return rules


def _pools(config: CompiledConfig, previous: Pipeline | None, now_ns: int) -> tuple[PoolState, ...]:
    former = {pool.pool.source: pool for pool in previous.pools} if previous else {}
    return tuple(_pool(pool, former.get(pool.source), now_ns) for pool in config.pools)


def _pool(pool: Pool, former: PoolState | None, now_ns: int) -> PoolState:
    known = {state.provider.name: state for state in former.providers} if former else {}
    states = []
    for index, provider in enumerate(pool.providers):
        breaker = CircuitBreaker(pool.breaker)
        before = known.get(provider.name)
        # Another address under the same name is another provider: what was learned does not hold for it.
        if before is not None and before.provider.base_url == provider.base_url:
            breaker.carry(before.breaker, now_ns)
        states.append(
            ProviderState(
                provider=provider,
                adapter=ADAPTERS[provider.type.dialect],
                breaker=breaker,
                candidate=Candidate(id=index, priority=provider.priority, weight=provider.weight),
            )
        )
    budget = RetryBudget(pool.retry.budget_percent)
    if former is not None:
        budget.carry(former.retry_budget)
    return PoolState(
        pool=pool,
        label=f"{pool.source.namespace}/{pool.source.name}" if pool.source.namespace else pool.source.name,
        providers=tuple(states),
        retry_budget=budget,
    )
