"""What is decided about a call before anything is taken or sent: identify, access, resolve (PURE).

Each phase is made once per configuration, and one without rules is not made at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tidegate_policy.model import CompiledConfig, ConsumerIdentity, Mode, ModelAllowList, Provider
from tidegate_sidecar.dialects.base import Dialect, RawHeaders
from tidegate_sidecar.policies.base import Facts, Rejected
from tidegate_sidecar.proxy.headers import HeaderView
from tidegate_sidecar.proxy.identify import Fields, consumer_of
from tidegate_sidecar.routing.refusal import FAULTS, Refusal, denied, of_one_account, rate_limited, suspended
from tidegate_sidecar.routing.router import Route, Router, is_allowed, not_allowed
from tidegate_sidecar.telemetry.records import OTHER, CallRecord, Ending, ShadowRefusal

if TYPE_CHECKING:
    from tidegate_sidecar.config.pipeline import PoolState
    from tidegate_sidecar.config.targets import Target


class Head(Protocol):
    """The request of a call, as far as decisions look at it."""

    @property
    def headers(self) -> RawHeaders: ...

    @property
    def fields(self) -> Fields: ...


class Subject(Protocol):
    """What is decided about: a call under way, or one that somebody asks about and nobody makes."""

    consumer: str
    route: Route[Target]
    facts: Facts

    @property
    def request(self) -> Head: ...

    @property
    def dialect(self) -> Dialect: ...

    @property
    def model(self) -> str:
        """As the application wrote it."""
        ...

    @property
    def state(self) -> str:
        """The member that names something which only one account of a provider knows; empty where there is none."""
        ...

    @property
    def record(self) -> CallRecord: ...


Decide = Callable[[Subject], Refusal | None]
"""One phase: it writes into the call what it finds out, and may refuse it."""

MODELS_REMEMBERED: Final = 1_024
"""The application may make up names without end."""

_ENFORCE: Final = Mode.ENFORCE  # members of an enum are slow to look up


def decisions_before_the_body(config: CompiledConfig) -> tuple[Decide, ...]:
    """Phases that need no more than the head of a request."""
    return (_Deny(denied(config.denials[0])),) if config.denials else ()


def decisions(
    config: CompiledConfig, router: Router[Target], pools: tuple[PoolState, ...]
) -> tuple[Decide, ...]:
    """Phases that need the body."""
    phases: list[Decide] = []
    if config.consumer is not None:
        phases.append(_Identify(config.consumer))
    phases.append(_Resolve(router, pools))
    phases.extend(_Allow(allowed, router) for allowed in config.allow_models)
    if any(pool.pool.suspended for pool in pools):
        phases.append(_Suspend(pools))
    if any(_accounts(pool.pool.providers) > 1 for pool in pools):
        phases.append(_KeepState(pools))
    return tuple(phases)


class _Deny:
    """Every call is refused."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def __call__(self, call: Subject) -> Refusal | None:  # noqa: ARG002 - every call
        return self._refusal


class _Identify:
    """On whose behalf the call is made."""

    def __init__(self, identity: ConsumerIdentity) -> None:
        self._identity = identity

    def __call__(self, call: Subject) -> Refusal | None:
        call.consumer, missing = consumer_of(self._identity, call.request.fields)
        call.record.consumer = call.consumer
        return missing if missing is None else final(call.record, missing, self._identity.mode)


class _Resolve:
    """Where the call may go, and the facts that rules see."""

    def __init__(self, router: Router[Target], pools: tuple[PoolState, ...]) -> None:
        self._resolve = router.resolve
        self._pools = pools

    def __call__(self, call: Subject) -> Refusal | None:
        route = self._resolve(call.dialect.name, call.model)
        if isinstance(route, Refusal):
            return route
        call.route = route
        record = call.record
        record.model, record.pool = route.model, self._pools[route.pool].label
        record.model_label = route.model if route.is_listed else OTHER
        call.facts = Facts(route.model, call.consumer, HeaderView(call.request.headers))
        return None


class _Allow:
    """A list of models that one object allows."""

    def __init__(self, allowed: ModelAllowList, router: Router[Target]) -> None:
        self._allowed = allowed
        self._names = router.names
        self._known: set[str] = set()
        """Models of the last calls that are allowed."""

    def __call__(self, call: Subject) -> Refusal | None:
        model = call.route.model
        if model in self._known:
            return None
        if is_allowed(model, self._allowed):
            if len(self._known) >= MODELS_REMEMBERED:
                self._known.clear()
            self._known.add(model)
            return None
        refusal = not_allowed(model, self._allowed, self._names(call.dialect.name))
        return final(call.record, refusal, self._allowed.mode)


class _Suspend:
    """Pools that are switched off."""

    def __init__(self, pools: tuple[PoolState, ...]) -> None:
        self._pools = pools

    def __call__(self, call: Subject) -> Refusal | None:
        pool = self._pools[call.route.pool].pool
        return suspended(pool.source) if pool.suspended else None


class _KeepState:
    """What one account knows is asked of no other, which would know nothing of it."""

    def __init__(self, pools: tuple[PoolState, ...]) -> None:
        self._pools = pools

    def __call__(self, call: Subject) -> Refusal | None:
        if not call.state:
            return None
        accounts = _accounts([target.state.provider for target in call.route.targets])
        if accounts == 1:
            return None
        return of_one_account(call.state, self._pools[call.route.pool].pool.source, accounts)


def _accounts(providers: Sequence[Provider]) -> int:
    """How many accounts are asked: one for each credential; a provider without one of ours gets the caller's key or none."""
    return sum(max(1, len(provider.credentials)) for provider in providers)


def note_shadows(record: CallRecord, would_reject: tuple[Rejected, ...]) -> None:
    """Write down limits in Shadow mode that would have refused, each once a call."""
    for limit in would_reject:
        note_shadow(record, rate_limited(limit))


def final(record: CallRecord, refusal: Refusal, mode: Mode) -> Refusal | None:
    """The refusal if it counts; one of a rule in Shadow is only written down."""
    if mode is _ENFORCE:
        return refusal
    note_shadow(record, refusal)
    return None


def note_shadow(record: CallRecord, refusal: Refusal) -> None:
    """Write down what a rule in Shadow mode would have refused, once a call."""
    would_be = ShadowRefusal(str(refusal.source or ""), refusal.rule, refusal.case.code)
    if would_be not in record.would_refuse:
        record.would_refuse = (*record.would_refuse, would_be)


def note_refusal(record: CallRecord, refusal: Refusal) -> None:
    """Write down what the call is refused for."""
    record.ending = Ending.FAILED if refusal.case in FAULTS else Ending.REFUSED
    record.status, record.code = refusal.case.status, refusal.case.code
    record.object = str(refusal.source) if refusal.source is not None else ""
    record.rule, record.reason = refusal.rule, refusal.message
