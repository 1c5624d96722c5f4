"""A configuration and the pipeline before it become the next pipeline.

Live state is carried over by identity: a limit by the object and its name, a breaker by pool, provider and address, so
that a reload neither forgives what was used nor forgets what is broken. It is carried over when everything is built: a
build that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol, runtime_checkable

from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, KeyType, Pool, WorkloadIdentity
from tidegate_sidecar.config.egress import Egress
from tidegate_sidecar.config.pipeline import Pipeline, PoolState
from tidegate_sidecar.config.registry import DEFAULT, Phase, Registry
from tidegate_sidecar.config.targets import ProviderState, Target
from tidegate_sidecar.policies.base import Policy, PolicySet
from tidegate_sidecar.policies.breakers import Breakers
from tidegate_sidecar.policies.choice import Candidate
from tidegate_sidecar.policies.cooldowns import Cooldowns
from tidegate_sidecar.policies.retry_budget import RetryBudget
from tidegate_sidecar.proxy.decisions import decisions, decisions_before_the_body
from tidegate_sidecar.proxy.filters import AnswerRule, RequestFilter
from tidegate_sidecar.routing.router import Router


@runtime_checkable
class Carries(Protocol):
    """Live state that goes on in the next configuration."""

    def carry(self, previous: object, now_ns: int) -> None:
        """Go on from where `previous`, of the same identity and class, is now."""
        ...


def build(
    config: CompiledConfig,
    identity: WorkloadIdentity,
    previous: Pipeline | None,
    now_ns: int,
    *,
    registry: Registry = DEFAULT,
    egress: Egress | None = None,
) -> Pipeline:
    """The pipeline of `config`; whatever `previous` has counted under the same identity goes on.

    Raises:
        ValueError: a number of `config` makes no sense, which a compiler would not have written.
    """
    if config.pass_through and (len(config.pools) != 1 or config.denials):
        raise ValueError("calls are let through by one pool and past no denial")
    live: dict[Hashable, object] = {}
    rules = _rules(config, identity, registry, live)
    filters = _filters(config, identity, registry, live)
    pools = tuple(_pool(pool, config, registry, egress or Egress(), live) for pool in config.pools)
    router = Router(
        config,
        lambda provider: registry.dialects.of_provider_type(provider.type).name,
        lambda pool, at, model, upstream: Target(
            pools[pool].providers[at], model, upstream, pools[pool].pool.breaker.slow_first_token_ms
        ),
    )
    pipeline = Pipeline(
        config=config,
        identity=identity,
        digest=wire.digest(config),
        dialects=registry.dialects,
        decisions_before_the_body=decisions_before_the_body(config),
        decisions=decisions(config, router, pools),
        pass_through=pools[0] if config.pass_through else None,
        router=router,
        pools=pools,
        call_rules=PolicySet(tuple(rule for rule, phase in rules if phase is Phase.CALL)),
        attempt_rules=PolicySet(tuple(rule for rule, phase in rules if phase is Phase.ATTEMPT)),
        request_filters=tuple(it for it in filters if isinstance(it, RequestFilter)),
        answer_rules=tuple(it for it in filters if isinstance(it, AnswerRule)),
        told=(wire.digest(config)[:12], identity.namespace, identity.workload_name),
        live=live,
    )
    if previous is not None:
        _carry(live, previous, now_ns)
    return pipeline


def _carry(live: dict[Hashable, object], previous: Pipeline, now_ns: int) -> None:
    for key, state in live.items():
        before = previous.live.get(key)
        if isinstance(state, Carries) and type(before) is type(state):
            state.carry(before, now_ns)


def _rules(
    config: CompiledConfig, identity: WorkloadIdentity, registry: Registry, live: dict[Hashable, object]
) -> list[tuple[Policy, Phase]]:
    rules = []
    for number, kind in enumerate(registry.policies):
        for rule in kind.rules(config):
            policy = kind.make(rule, identity)
            live["rule", number, kind.identity(rule)] = policy
            rules.append((policy, kind.phase(rule)))
    return rules


def _filters(
    config: CompiledConfig, identity: WorkloadIdentity, registry: Registry, live: dict[Hashable, object]
) -> list[RequestFilter | AnswerRule]:
    filters = []
    for number, kind in enumerate(registry.filters):
        for rule in kind.rules(config):
            made = kind.make(rule, identity)
            live["filter", number, kind.identity(rule)] = made
            filters.append(made)
    return filters


def _pool(
    pool: Pool, config: CompiledConfig, registry: Registry, egress: Egress, live: dict[Hashable, object]
) -> PoolState:
    private = _private_headers(config)
    credentials = sorted(name.decode() for it in registry.dialects.all for name in it.credential_headers)
    states = []
    for index, provider in enumerate(pool.providers):
        breakers = Breakers(pool.breaker)
        # Another address under the same name is another provider: what was learned does not hold for it.
        live["breakers", pool.source, provider.name, provider.base_url] = breakers
        states.append(
            ProviderState(
                provider,
                registry.dialects.of_provider_type(provider.type),
                breakers,
                Candidate(id=index, priority=provider.priority, weight=provider.weight),
                private=private if provider.caller_credential else (*private, *credentials),
                egress=egress,
            )
        )
    budget = live["retries", pool.source] = RetryBudget(pool.retry.budget_percent)
    cooldowns = live["cooldowns", pool.source] = Cooldowns()
    return PoolState(
        pool=pool,
        label=f"{pool.source.namespace}/{pool.source.name}" if pool.source.namespace else pool.source.name,
        providers=tuple(states),
        retry_budget=budget,
        cooldowns=cooldowns,
    )


def _private_headers(config: CompiledConfig) -> tuple[str, ...]:
    """Headers between the application and us: they say who calls, or what a limit counts by."""
    names = {part.header for limit in config.rate_limits for part in limit.key if part.type is KeyType.HEADER}
    if config.consumer is not None:
        names.add(config.consumer.header)
    return tuple(sorted(names))
