"""Who can be asked for one call: how every provider of its route stands, and what an attempt takes of each.

The planner decides; this module looks at keys, cool-downs, breakers and rules for it, and takes what an attempt needs when its
provider, its model and its body are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_sidecar.config.pipeline import Pipeline
from tidegate_sidecar.config.targets import Target
from tidegate_sidecar.credentials.keyring import Key, NoKeyError
from tidegate_sidecar.messages.message import Message
from tidegate_sidecar.policies.base import (
    NOT_ADMITTED,
    NOT_SENT,
    NOTHING_ADMITTED,
    Admitted,
    Facts,
    Rejected,
    settle_all,
)
from tidegate_sidecar.policies.choice import choose
from tidegate_sidecar.policies.cooldowns import WHOLE_ACCOUNT, credential_of_caller
from tidegate_sidecar.policies.failures import TRAITS
from tidegate_sidecar.policies.planner import Ask, GiveUp, Step, after_pause, first_step, next_step
from tidegate_sidecar.policies.standing import Cause, Standing, Unavailable
from tidegate_sidecar.proxy.admission import Acquisitions, admit
from tidegate_sidecar.proxy.call import Call
from tidegate_sidecar.proxy.decisions import note_shadows
from tidegate_sidecar.proxy.failure import Failure
from tidegate_sidecar.proxy.headers import value_of
from tidegate_sidecar.proxy.turn import Turn

if TYPE_CHECKING:
    from tidegate_sidecar.proxy.exchange import Services

_MS_NS: Final = 1_000_000


class Candidates:
    """The providers of one call's route."""

    __slots__ = ("_acquisitions", "_call", "_deadline_ns", "_missed", "_pipeline", "_pool", "_services", "_standings", "_targets")  # fmt: skip

    def __init__(
        self, services: Services, acquisitions: Acquisitions, call: Call, pipeline: Pipeline, deadline_ns: int
    ) -> None:
        """Nobody has been asked yet."""
        self._services = services
        self._acquisitions = acquisitions
        self._call = call
        self._pipeline = pipeline
        self._pool = pipeline.pools[call.route.pool]
        self._targets = call.route.targets
        self._deadline_ns = deadline_ns
        self._standings: list[Standing] | None = None
        self._missed: dict[Target, Unavailable] = {}

    def first(self) -> Target:
        """Whom to ask first, as long as nothing is known against anybody."""
        targets = self._call.route.first
        target = targets[0] if len(targets) == 1 else choose(targets, self._services.random())
        assert target is not None, "a route has targets"  # noqa: S101 - a programming error
        return target

    def missed(self, target: Target, obstacle: Unavailable) -> None:
        """It was to be asked, and could not be; that holds until somebody was asked, or a pause is over."""
        self._missed[target] = obstacle

    def forget_missed(self) -> None:
        """Look at everybody again."""
        self._missed.clear()

    def target(self, standing: Standing) -> Target:
        """Whose standing it is."""
        return self._targets[next(at for at, it in enumerate(self._all()) if it is standing)]

    def asked(self, target: Target) -> Standing:
        """Take note that it was asked; its standing."""
        standing = self._all()[next(at for at, it in enumerate(self._targets) if it is target)]
        standing.asked += 1
        return standing

    def failed(self, turn: Turn, failure: Failure, now_ns: int) -> None:
        """Take note that an attempt failed: for this call, and where the provider asked for patience for others too."""
        self.asked(turn.target).failed(
            failure.kind,
            now_ns,
            retry_after_ms=failure.retry_after_ms,
            may_retry=not failure.forbids_retry,
        )
        if failure.retry_after_ms and TRAITS[failure.kind].cools:
            self._pool.cooldowns.cool(
                self._credential(turn.target, turn.key),
                WHOLE_ACCOUNT if failure.whole_account else turn.target.model,
                failure.retry_after_ms,
                at_most_ms=self._pool.pool.breaker.max_open_for_ms,
                now_ns=now_ns,
            )

    def out(self) -> dict[str, Unavailable]:
        """Who cannot be asked, and why."""
        return {
            target.state.provider.name: standing.unavailable
            for target, standing in zip(self._targets, self._all(), strict=True)
            if standing.unavailable is not None
        }

    # whom to ask

    def next(self, failure: Failure | None, now_ns: int) -> Step:
        """Whom to ask next, and after which pause."""
        services, pool = self._services, self._pool
        standings = self._looked(now_ns)
        if failure is None:
            return first_step(standings, services.random(), now_ns)
        return next_step(
            standings,
            failure.kind,
            pool.retry_budget,
            retry=pool.pool.retry,
            left_ms=(self._deadline_ns - now_ns) // _MS_NS,
            chance=services.random(),
            jitter=services.random(),
            now_ns=now_ns,
        )

    def after_pause(self, now_ns: int) -> Ask | GiveUp:
        """Whom to ask now that the pause is over."""
        return after_pause(
            self._looked(now_ns),
            self._pool.retry_budget,
            left_ms=(self._deadline_ns - now_ns) // _MS_NS,
            chance=self._services.random(),
            now_ns=now_ns,
        )

    def _looked(self, now_ns: int) -> list[Standing]:
        """How everybody stands, looked at now."""
        standings, missed = self._all(), self._missed
        for standing, target in zip(standings, self._targets, strict=True):
            if standing.is_refused:
                standing.unavailable = None
            else:
                standing.unavailable = missed.get(target) or self._obstacle(target, now_ns)
        return standings

    def _all(self) -> list[Standing]:
        if self._standings is None:
            self._standings = [Standing(target.candidate) for target in self._targets]
        return self._standings

    def _obstacle(self, target: Target, now_ns: int) -> Unavailable | None:
        """Why a provider cannot be asked now; changes nothing."""
        key = self._key(target, now_ns)
        if isinstance(key, Unavailable):
            return key
        broken = target.state.breakers.standing(target.model, now_ns)
        rules = self._pipeline.attempt_rules
        if broken is not None or not rules.policies:
            return broken
        admitted = rules.admit(self.facts(target, self._call.message), now_ns)
        if isinstance(admitted, Rejected):
            return _limited(admitted)
        if isinstance(admitted, Admitted):
            settle_all(admitted.grants, NOT_ADMITTED, now_ns)
        return None

    # what an attempt takes

    def take(self, target: Target, now_ns: int) -> Turn | Unavailable | None:
        """Take all that an attempt needs, or say what is in its way; None: rules have to be waited for, see `obtain`."""
        call = self._call
        key = self._key(target, now_ns)
        if isinstance(key, Unavailable):
            return key
        message = call.message
        if target.upstream_model != call.model:
            message = message.with_string("model", target.upstream_model)
        rules = self._pipeline.attempt_rules
        if not rules.policies:
            return self._turn_with(target, key, message, NOTHING_ADMITTED, now_ns)
        broken = target.state.breakers.standing(target.model, now_ns)
        if broken is not None:
            return broken
        admitted = rules.admit(self.facts(target, message), now_ns)
        if isinstance(admitted, Rejected):
            return _limited(admitted)
        if not isinstance(admitted, Admitted):
            return None
        return self._turn_with(target, key, message, admitted, now_ns)

    async def obtain(self, target: Target) -> Turn | Unavailable:
        """The same where rights have to be got, or a turn in a queue awaited."""
        call = self._call
        message = call.message
        if target.upstream_model != call.model:
            message = message.with_string("model", target.upstream_model)
        admitted = await admit(
            self._pipeline.attempt_rules,
            self.facts(target, message),
            self._services.clock.monotonic_ns,
            self._acquisitions,
            due_ns=self._deadline_ns,
        )
        if isinstance(admitted, Rejected):
            return _limited(admitted)
        now_ns = self._services.clock.monotonic_ns()
        key = self._key(target, now_ns)  # the key of this moment
        if isinstance(key, Unavailable):
            settle_all(admitted.grants, NOT_SENT, now_ns)
            return key
        return self._turn_with(target, key, message, admitted, now_ns)

    def _key(self, target: Target, now_ns: int) -> Key | Unavailable | None:
        """The key to ask with, or what is in the way of asking with it."""
        try:
            key = self._services.keyring.find(target.state.provider)
        except NoKeyError as error:
            return Unavailable(Cause.KEY, str(error))
        cooling = self._cooling(target, key, now_ns) if self._pool.cooldowns else None
        return key if cooling is None else cooling

    def _turn_with(
        self, target: Target, key: Key | None, message: Message, admitted: Admitted, now_ns: int
    ) -> Turn | Unavailable:
        """The turn of an attempt that rules have admitted, if the breakers admit it too."""
        breakers = target.state.breakers
        tickets = breakers.admit(target.model, now_ns)
        if tickets is None:
            settle_all(admitted.grants, NOT_SENT, now_ns)
            broken = breakers.standing(target.model, now_ns)
            return broken or Unavailable(Cause.BREAKER, "its circuit breaker is open")
        if admitted.would_reject:
            note_shadows(self._call.record, admitted.would_reject)
        return Turn(target, key, message.body, tickets, grants=admitted.grants, now_ns=now_ns)

    def facts(self, target: Target, message: Message) -> Facts:
        return self._call.facts._replace(
            provider=target.state.provider.name, body_bytes=len(message.body), message=message
        )

    def _cooling(self, target: Target, key: Key | None, now_ns: int) -> Unavailable | None:
        return self._pool.cooldowns.standing(self._credential(target, key), target.model, now_ns)

    def _credential(self, target: Target, key: Key | None) -> str:
        """The name under which a provider's patience with this key is kept."""
        name = target.state.provider.name
        if key is not None:
            return f"{name}/{key.credential.source}"
        if not target.state.provider.caller_credential:
            return name
        headers = self._call.request.headers
        carried = b"\0".join(value_of(headers, it) for it in sorted(target.state.dialect.credential_headers))
        return f"{name}/{credential_of_caller(carried.decode('latin-1'))}"


def _limited(rejected: Rejected) -> Unavailable:
    return Unavailable(
        Cause.LIMIT,
        f"its limit {rejected.rule} is reached ({rejected.limit})",
        rejected.retry_after_ms,
        rejected,
    )
