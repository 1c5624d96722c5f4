"""Everything that may refuse a call before a provider is chosen (PURE)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tidegate_policy.model import Dialect, Mode
from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.policies.base import Call, Rejected
from tidegate_sidecar.proxy import identify
from tidegate_sidecar.routing.refusal import Refusal, rate_limited, suspended
from tidegate_sidecar.routing.router import Route, is_allowed, not_allowed
from tidegate_sidecar.telemetry.metrics import OTHER
from tidegate_sidecar.telemetry.records import CallRecord, Decision


class HasMode(Protocol):
    """A rule that may be only a shadow."""

    @property
    def mode(self) -> Mode:
        """Enforce or Shadow."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go; its rules have to be settled."""

    route: Route
    call: Call


def admit(
    pipeline: Pipeline,
    record: CallRecord,
    *,
    dialect: Dialect,
    model: str,
    headers: Mapping[str, str],
    now_ns: int,
) -> Admitted | Refusal:
    """Decide about one call and write into `record` what was found out; what reserves comes last."""
    config = pipeline.config
    consumer, missing = identify.consumer_of(config.consumer, headers)
    record.consumer = consumer
    if missing is not None and _is_final(record, missing, config.consumer):
        return missing
    route = pipeline.router.resolve(dialect, model)
    if isinstance(route, Refusal):
        return route
    pool = pipeline.pools[route.pool]
    record.model, record.pool = route.model, pool.label
    record.model_label = route.model if route.is_listed else OTHER
    for allowed in config.allow_models:
        if not is_allowed(route.model, allowed):
            refusal = not_allowed(route.model, allowed, pipeline.router.names(dialect))
            if _is_final(record, refusal, allowed):
                return refusal
    if pool.pool.suspended:
        return suspended(pool.pool.source)
    call = Call(model=route.model, consumer=consumer, headers=headers)
    verdict = pipeline.call_rules.admit(call, now_ns)
    note_shadows(record, verdict.would_reject)
    return Admitted(route, call) if verdict.rejected is None else rate_limited(verdict.rejected)


def note_shadows(record: CallRecord, would_reject: tuple[Rejected, ...]) -> None:
    """Write down limits in Shadow mode that would have refused."""
    for limit in would_reject:
        _note(record, rate_limited(limit))


def _is_final(record: CallRecord, refusal: Refusal, rule: HasMode | None) -> bool:
    """Whether a refusal counts; one of a rule in Shadow is only written down."""
    if rule is None or rule.mode is Mode.ENFORCE:
        return True
    _note(record, refusal)
    return False


def _note(record: CallRecord, refusal: Refusal) -> None:
    record.would_refuse.append(Decision(str(refusal.source or ""), refusal.rule, refusal.case.code))
