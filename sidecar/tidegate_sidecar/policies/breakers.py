"""The circuit breakers of one provider: one for getting a connection, and one for each of its models.

That a provider cannot be connected to (DNS, TCP, TLS) holds for all its models, and only an attempt that made a new
connection can say anything about it. Everything else that goes wrong, goes wrong for a model: another may be well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidegate_policy.model import Breaker
from tidegate_sidecar.policies.breaker import CircuitBreaker, Result, State, Ticket
from tidegate_sidecar.policies.standing import Cause, Unavailable

MAX_MODELS: Final = 64
"""Models of a provider that have a breaker of their own; further ones share one."""

PROVIDER: Final = ""
"""Stands in place of a model for the breaker of the provider as a whole."""

OTHERS: Final = "other"
"""Stands in place of a model for the breaker that is shared."""

LEAST_WAIT_MS: Final = 1_000
"""Who leaves earlier has changed their mind or was stopped, and says nothing about the provider (docs/decisions/0005)."""

Tickets = tuple[Ticket, Ticket]
"""Under which an attempt was admitted: the one of the provider's breaker, and the one of the model's."""

_CLOSED: Final = State.CLOSED
_NEUTRAL: Final = Result.NEUTRAL


class Breakers:
    """All breakers of one provider.

    An attempt is admitted by both or by none. `connected` tells how it came to its connection, `answered` that a stream
    has begun, `settle` how it went; they are settled exactly once.
    """

    __slots__ = ("_live",)

    def __init__(self, config: Breaker, *, max_models: int = MAX_MODELS) -> None:
        """Start closed with nothing counted."""
        self._live = _Live(config, max_models)

    def __repr__(self) -> str:
        return f"<Breakers {dict(self.each())}>"

    def admit(self, model: str, now_ns: int) -> Tickets | None:
        """Tickets for one attempt, or None: leave the provider alone, as `standing` explains."""
        live = self._live
        provider, its_model = live.provider, live.models.get(model, live.others)
        if provider.state is _CLOSED and its_model.state is _CLOSED:
            return provider.period, its_model.period
        # Both are looked at first, or the one would be left with a probe that is not made.
        if not (provider.would_admit(now_ns) and its_model.would_admit(now_ns)):
            return None
        return provider.ticket(now_ns), its_model.ticket(now_ns)

    def standing(self, model: str, now_ns: int) -> Unavailable | None:
        """Why `admit` would give none; None: it would. Changes nothing."""
        live = self._live
        its_model = live.models.get(model, live.others)
        refusing = [it for it in (live.provider, its_model) if not it.would_admit(now_ns)]
        if not refusing:
            return None
        which = "its circuit breaker for connections" if live.provider in refusing else "its circuit breaker"
        return Unavailable(
            Cause.BREAKER,
            f"{which} is open ({refusing[0].reason})",
            max(it.retry_after_ms(now_ns) for it in refusing),
        )

    def connected(self, tickets: Tickets, result: Result, now_ns: int) -> None:
        """Take note of how an admitted attempt came to its connection.

        Success: a new one was made. Failure: none could be made, by DNS, TCP or TLS. Neutral: one that was there is
        used, which says nothing; if this attempt was to be the probe, the next is.
        """
        self._live.provider.settle(tickets[0], result, slow=None, now_ns=now_ns)

    def answered(self, model: str, tickets: Tickets, *, slow: bool, now_ns: int) -> Tickets:
        """Take note of the first event of a stream; the tickets under which the rest of it is to be settled."""
        return tickets[0], self._live.counting(model).answered(tickets[1], slow=slow, now_ns=now_ns)

    def settle(self, model: str, tickets: Tickets, result: Result, *, slow: bool | None, now_ns: int) -> None:
        """Take note of how an admitted attempt went, as far as that is the model's.

        A failure that was told to `connected` is neutral here. An attempt that `connected` was never told about leaves
        no probe behind.

        Args:
            model: that the tickets were given for.
            tickets: from `admit`, or from `answered` where that was called.
            result: what the attempt says.
            slow: whether the first event of a stream took too long; None where that says nothing.
            now_ns: the time.
        """
        live = self._live
        if live.provider.state is not _CLOSED:
            live.provider.settle(tickets[0], _NEUTRAL, slow=None, now_ns=now_ns)
        its_model = live.models.get(model)
        if its_model is None:
            its_model = live.others if result is _NEUTRAL else live.counting(model)
        its_model.settle(tickets[1], result, slow=slow, now_ns=now_ns)

    def answered_since(self, model: str, since_ns: int) -> bool:
        """Whether any call for `model` was answered at `since_ns` or later: a stream began, or an answer was whole."""
        live = self._live
        answered_ns = live.models.get(model, live.others).answered_ns
        return answered_ns is not None and answered_ns >= since_ns

    def is_probe(self, model: str, tickets: Tickets) -> bool:
        """Whether an attempt is the one by which the breaker of `model` finds out: nobody else is asked meanwhile."""
        live = self._live
        its_model = live.models.get(model, live.others)
        return its_model.state is State.HALF_OPEN and tickets[1] == its_model.period

    def each(self) -> Iterator[tuple[str, CircuitBreaker]]:
        """Every breaker that has anything to say: `PROVIDER`, the models by name, and `OTHERS` once no place is left."""
        live = self._live
        yield PROVIDER, live.provider
        yield from sorted(live.models.items())
        if live.is_full:
            yield OTHERS, live.others

    def carry(self, previous: Breakers, now_ns: int) -> None:
        """Go on from where `previous`, the breakers of the same provider before a reload, are now.

        Both are one from here on, with the numbers of this one: attempts that are under way settle with `previous`,
        and one of them may be a probe.
        """
        config = self._live.config
        self._live = previous._live
        self._live.reconfigure(config, now_ns)


def result_of_leaving(*, waited_ms: int, slow_first_token_ms: int, answered_meanwhile: bool) -> Result:
    """What it says about a provider that a caller left before any byte of an answer came.

    Callers leave for reasons of their own. That one did is held against the provider only where it had time enough to
    begin, or where the caller waited for a while and nobody else was answered since the call was sent.
    """
    if waited_ms > slow_first_token_ms or (waited_ms >= LEAST_WAIT_MS and not answered_meanwhile):
        return Result.FAILURE
    return Result.NEUTRAL


class _Live:
    """The state behind `Breakers`; what two of them share after a reload.

    A model has a breaker of its own from its first result that counts. Until then it is admitted by the shared one,
    which has nothing counted as long as there is room: so names that nobody serves take no place.
    """

    __slots__ = ("_max_models", "config", "models", "others", "provider")

    def __init__(self, config: Breaker, max_models: int) -> None:
        self._max_models = max_models
        self.config = config
        self.provider = CircuitBreaker(config)
        self.models: dict[str, CircuitBreaker] = {}
        self.others = CircuitBreaker(config)

    @property
    def is_full(self) -> bool:
        return len(self.models) >= self._max_models

    def counting(self, model: str) -> CircuitBreaker:
        """The breaker that a result for `model` counts on."""
        known = self.models.get(model)
        if known is not None:
            return known
        if self.is_full:
            return self.others
        # Tickets that the shared one gave meanwhile are of its first period, and so of this one's.
        created = self.models[model] = CircuitBreaker(self.config)
        return created

    def reconfigure(self, config: Breaker, now_ns: int) -> None:
        self.config = config
        for each in (self.provider, self.others, *self.models.values()):
            each.reconfigure(config, now_ns)
