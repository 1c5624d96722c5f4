"""What the circuit breakers of a running sidecar say, beside its records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tidegate_policy.units import format_duration
from tidegate_sidecar.app import Listening
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.targets import ProviderState
from tidegate_sidecar.policies.breaker import State
from tidegate_sidecar.telemetry.records import CallRecord, Ending


@dataclass(slots=True)
class BreakerWatch:
    """Looks at the breakers of one sidecar and remembers what it has told."""

    listening: Listening
    clock: Clock = field(default_factory=Clock)
    _told: dict[tuple[str, str, str, State], int] = field(default_factory=dict)

    def changes(self) -> Iterator[str]:
        """What breakers have done since the last time, a sentence for each."""
        for pool, state in self._all():
            name = state.provider.name
            for model, breaker in state.breakers.each():
                which = f"the breaker of {name} for {model}" if model else f"the breaker of {name}"
                if self._is_new(pool, name, model, State.OPEN, breaker.transitions[State.OPEN]):
                    wait = format_duration(breaker.opened_for_ms)
                    yield f"{which} has opened ({breaker.reason}): it is left alone for {wait}"
                if self._is_new(pool, name, model, State.CLOSED, breaker.transitions[State.CLOSED]):
                    yield f"{which} has closed: the probe succeeded"

    def skipped(self, record: CallRecord) -> tuple[str, ...]:
        """Providers that would have come before the one that served a call, had their breakers not been open."""
        if record.ending is not Ending.SERVED:
            return ()
        now_ns = self.clock.monotonic_ns()
        states = [state for pool, state in self._all() if pool == record.pool]
        served = next((state for state in states if state.provider.name == record.provider), None)
        if served is None:
            return ()
        asked = {attempt.provider for attempt in record.attempts}
        before = [
            state
            for state in states
            if state.provider.name not in asked
            and state.dialect is served.dialect
            and state.provider.priority < served.provider.priority
        ]
        return tuple(
            f"{state.provider.name} left alone: {standing.reason}"
            for state in before
            if (standing := state.breakers.standing(record.model, now_ns)) is not None
        )

    def wait_ms(self, provider: str) -> int:
        """How long until `provider` may be asked for every model, at best."""
        now_ns = self.clock.monotonic_ns()
        waits = [
            breaker.retry_after_ms(now_ns)
            for _, state in self._all()
            if state.provider.name == provider
            for _, breaker in state.breakers.each()
        ]
        return max(waits, default=0)

    def _is_new(self, pool: str, provider: str, model: str, to: State, count: int) -> bool:
        key = (pool, provider, model, to)
        is_new = count > self._told.get(key, 0)
        self._told[key] = count
        return is_new

    def _all(self) -> Iterator[tuple[str, ProviderState]]:
        pipeline = self.listening.live.pipeline
        for pool in pipeline.pools if pipeline is not None else ():
            for state in pool.providers:
                yield pool.label, state
