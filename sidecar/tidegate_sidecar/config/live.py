"""The configuration in force, and the problem with a newer one if there is any."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.build import build
from tidegate_sidecar.config.egress import Egress
from tidegate_sidecar.config.pipeline import Pipeline, PoolState
from tidegate_sidecar.config.registry import DEFAULT, Registry
from tidegate_sidecar.config.source import ConfigSource, Loaded, Missing, Refused
from tidegate_sidecar.policies.breaker import CircuitBreaker, State
from tidegate_sidecar.policies.breakers import OTHERS, PROVIDER
from tidegate_sidecar.policies.rate import RateLimiter
from tidegate_sidecar.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_LEVELS = {State.CLOSED: 0.0, State.HALF_OPEN: 1.0, State.OPEN: 2.0}
"""Breaker states as the metric shows them: more is worse."""


class Live:
    """Swaps whole pipelines; a call keeps the one it started with.

    Attributes:
        pipeline: in force; None until the first configuration.
        problem: why the newest configuration is not in force; empty when it is.
        is_refused: whether there is one, and it is wrong.
        configured: set once there is a pipeline.
        registry: what pipelines are made of.
    """

    def __init__(
        self, clock: Clock, metrics: Metrics, registry: Registry = DEFAULT, egress: Egress | None = None
    ) -> None:
        """Have no configuration yet; build those that come from the kinds of `registry`."""
        self.registry = registry
        self._egress = egress or Egress()
        self.pipeline: Pipeline | None = None
        self.problem = ""
        self.is_refused = False
        self.configured = asyncio.Event()
        self._clock = clock
        self._metrics = metrics
        metrics.breaker_state.read = self._breaker_states
        metrics.breaker_transitions.read = self._breaker_transitions
        metrics.rate_keys.read = self._rate_keys
        metrics.cooldowns.read = self._cooldowns
        metrics.config_info.read = lambda: {(self.pipeline.digest,): 1} if self.pipeline else {}

    async def follow(self, source: ConfigSource) -> None:
        """Take what `source` yields, for ever."""
        async for update in source.updates():
            if isinstance(update, Missing):
                self.lack(update.problem)
            elif isinstance(update, Refused):
                self.refuse(update.problem)
            else:
                self.apply(update)

    def apply(self, loaded: Loaded) -> None:
        """Put a configuration in force, with what the former one has counted; or refuse it, and keep the former."""
        try:
            pipeline = build(
                loaded.config,
                loaded.identity,
                self.pipeline,
                self._clock.monotonic_ns(),
                registry=self.registry,
                egress=self._egress,
            )
        except ValueError as error:
            self._refuse_built(loaded, str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever a configuration does to `build`, the one in force goes on
            _log.exception("a configuration that was read could not be built")
            self._refuse_built(loaded, f"{type(error).__name__}: {error}")
            return
        self.pipeline = pipeline
        self.configured.set()
        self.problem, self.is_refused = "", False
        self._metrics.reloads.labels("applied").inc()
        self._metrics.config_refused.set(0)
        self._metrics.config_loaded_at.set(self._clock.wall_ns() / 1e9)
        _log.info("configuration %s is in force", self.pipeline.digest[:12])
        loaded.outcome("")

    def refuse(self, problem: str) -> None:
        """Keep what is in force; say why once."""
        self.problem, self.is_refused = problem, True
        self._metrics.reloads.labels("refused").inc()
        self._metrics.config_refused.set(1)
        kept = f"{self.pipeline.digest[:12]} stays in force" if self.pipeline else "there is none in force"
        _log.error("the new configuration is refused, %s:\n%s", kept, problem)

    def lack(self, problem: str) -> None:
        """Say once why there is no configuration yet."""
        self.problem, self.is_refused = problem, False
        _log.warning("there is no configuration yet: %s", problem)

    def _refuse_built(self, loaded: Loaded, why: str) -> None:
        problem = f"it cannot be built: {why}"
        self.refuse(problem)
        loaded.outcome(problem)

    def _breaker_states(self) -> dict[tuple[str, ...], float]:
        now_ns = self._clock.monotonic_ns()
        found: dict[tuple[str, ...], float] = {}
        for labels, breaker in self._breakers():
            found[labels] = max(found.get(labels, 0.0), _LEVELS[breaker.state_at(now_ns)])
        return found

    def _breaker_transitions(self) -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for labels, breaker in self._breakers():
            for to, count in breaker.transitions.items():
                key = (*labels, to.value)
                found[key] = found.get(key, 0.0) + count
        return found

    def _breakers(self) -> Iterator[tuple[tuple[str, str, str], CircuitBreaker]]:
        """Every breaker with its labels. Models that the configuration does not name are made up, and have one label."""
        for pool in self._pools():
            listed = {PROVIDER, *(model.name for it in pool.pool.providers for model in it.models)}
            for state in pool.providers:
                for model, breaker in state.breakers.each():
                    yield (pool.label, state.provider.name, model if model in listed else OTHERS), breaker

    def _cooldowns(self) -> dict[tuple[str, ...], float]:
        return {(): float(sum(len(pool.cooldowns) for pool in self._pools()))}

    def _rate_keys(self) -> dict[tuple[str, ...], float]:
        rules = self.pipeline.rules if self.pipeline else ()
        return {
            (str(rule.limit.source), rule.limit.name): float(rule.keys)
            for rule in rules
            if isinstance(rule, RateLimiter)
        }

    def _pools(self) -> tuple[PoolState, ...]:
        return self.pipeline.pools if self.pipeline else ()
