"""What a call does next: ask somebody, wait and ask, or give up. Looks at everybody who could be asked.

The rules, in their order:

1. How the last attempt failed decides whether there is another: by the table of failures and by `retryOn`.
2. A provider that this call has not asked and that can be asked now is asked at once, the lowest priority first, by
   weight. That costs no pause and no budget; `maxAttempts` bounds it.
3. Otherwise the call pauses, with jitter, until the first of all can be asked that may be. After the pause those come
   first that were asked least often, by priority and weight. To ask one again takes from the retry budget as it is asked.
4. It gives up where the next attempt could not be made: nobody comes back within the longest pause, the deadline comes
   first, or the budget is used up. Nobody waits in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tidegate_policy.model import Retry
from tidegate_sidecar.policies.choice import choose
from tidegate_sidecar.policies.failures import TRAITS, FailureKind
from tidegate_sidecar.policies.retry_budget import RetryBudget
from tidegate_sidecar.policies.standing import Cause, Standing

MAX_DOUBLINGS: Final = 32
"""From here on every pause is the maximum anyway; keeps the integers small."""


class Ask(NamedTuple):
    """Ask this one, now. If it was asked before, the budget is charged as the attempt is made."""

    standing: Standing


class WaitThenAsk(NamedTuple):
    """Pause, see anew how everybody stands, and ask whom `after_pause` names."""

    wait_ms: int


class GiveUp(NamedTuple):
    """No other attempt.

    Attributes:
        why: in words.
        retry_after_ms: when the first of the providers can be asked again; None: nobody knows.
        is_busy: everybody who is left has a limit that is reached or asked for patience: too many requests, and no fault.
    """

    why: str
    retry_after_ms: int | None
    is_busy: bool


Step = Ask | WaitThenAsk | GiveUp

_OVERDUE: Final = "the deadline is over"


def first_step(standings: Sequence[Standing], chance: float, now_ns: int) -> Ask | GiveUp:
    """Whom a call asks first. Nobody is waited for: who has not failed yet is told at once when to come back.

    Args:
        standings: of everybody who serves the model, in an order that stays the same.
        chance: even in [0, 1).
        now_ns: the time.
    """
    chosen = choose(_unasked(standings), chance)
    return _give_up("no provider can be asked now", standings, now_ns) if chosen is None else Ask(chosen)


def next_step(
    standings: Sequence[Standing],
    failure: FailureKind,
    budget: RetryBudget,
    *,
    retry: Retry,
    left_ms: int,
    chance: float,
    jitter: float,
    now_ns: int,
) -> Step:
    """What follows a failed attempt. Charges nothing.

    Args:
        standings: of everybody who serves the model, as they are now; the one that failed was told so (`failed`).
        failure: how the last attempt failed.
        budget: of the pool.
        retry: of the pool.
        left_ms: until the call's deadline.
        chance: even in [0, 1), for the choice.
        jitter: even in [0, 1), for the pause.
        now_ns: the time.
    """
    attempts = sum([standing.asked for standing in standings])
    if why := _final(retry, failure, attempts, left_ms):
        return _give_up(why, standings, now_ns)
    chosen = choose(_unasked(standings), chance)
    if chosen is not None:
        return Ask(chosen)
    return _pause(
        standings, budget, retry=retry, attempts=attempts, left_ms=left_ms, jitter=jitter, now_ns=now_ns
    )


def after_pause(
    standings: Sequence[Standing], budget: RetryBudget, *, left_ms: int, chance: float, now_ns: int
) -> Ask | GiveUp:
    """Whom a call asks when its pause is over; it does not pause twice for one attempt.

    Args:
        standings: as they are now.
        budget: of the pool.
        left_ms: until the call's deadline.
        chance: even in [0, 1), for the choice.
        now_ns: the time.
    """
    if left_ms <= 0:
        return _give_up(_OVERDUE, standings, now_ns)
    usable = [standing for standing in standings if standing.wait_ms(now_ns) == 0]
    least = min([standing.asked for standing in usable], default=0)
    chosen = choose([standing for standing in usable if standing.asked == least], chance)
    if chosen is None:
        return _give_up("no provider came back during the pause", standings, now_ns)
    if chosen.asked and not budget.has_room(now_ns):
        return _give_up(_no_budget(budget), standings, now_ns)
    return Ask(chosen)


def backoff_ms(attempts: int, base_ms: int, max_ms: int, jitter: float) -> int:
    """The pause after so many attempts, where nobody needs a longer one.

    Full jitter: evenly spread over zero to base * 2**(attempts - 1), at most `max_ms`. Callers that failed together
    come back apart, which spreads a provider's load better than a long pause that is the same for all.

    Args:
        attempts: how many were made, at least 1.
        base_ms: the longest first pause.
        max_ms: the longest pause of all.
        jitter: even in [0, 1).
    """
    ceiling_ms = min(max_ms, base_ms << min(attempts - 1, MAX_DOUBLINGS))
    return int(jitter * (ceiling_ms + 1))


def _unasked(standings: Sequence[Standing]) -> list[Standing]:
    """Whom this call has not asked, and can ask at once."""
    return [it for it in standings if not it.asked and it.unavailable is None and not it.is_refused]


def _final(retry: Retry, failure: FailureKind, attempts: int, left_ms: int) -> str:
    """Why no attempt of any kind follows, in words; empty when one may."""
    traits = TRAITS[failure]
    if not (traits.again_here or traits.elsewhere):
        return f"{failure} is not helped by another attempt"
    if traits.retry_on is not None and traits.retry_on not in retry.retry_on:
        return f"{failure} is not retried (retry.retryOn has no {traits.retry_on})"
    if attempts >= retry.max_attempts:
        return f"{_count(attempts)} made, the most allowed (retry.maxAttempts)"
    return _OVERDUE if left_ms <= 0 else ""


def _pause(
    standings: Sequence[Standing],
    budget: RetryBudget,
    *,
    retry: Retry,
    attempts: int,
    left_ms: int,
    jitter: float,
    now_ns: int,
) -> WaitThenAsk | GiveUp:
    """The shortest pause after which somebody can be asked, if it is worth it.

    A provider that asks for more patience than the longest pause is not waited for. One that asks for less is never
    asked before its time; jitter comes on top, for it told everybody the same time.
    """
    backoff = backoff_ms(attempts, retry.backoff_base_ms, retry.backoff_max_ms, jitter)
    waits = [(wait_ms, it.asked) for it in standings if (wait_ms := it.wait_ms(now_ns)) is not None]
    obstacle = ""
    for wait_ms, asked in sorted(waits):
        pause_ms = max(min(wait_ms + backoff, retry.backoff_max_ms), wait_ms)
        why = ""
        if wait_ms > retry.backoff_max_ms:
            why = f"the next provider can be asked in {wait_ms} ms, the longest pause is {retry.backoff_max_ms} ms"
        elif pause_ms >= left_ms:
            why = "the deadline comes before the next attempt"
        elif asked and not budget.has_room(now_ns):
            why = _no_budget(budget)
        if not why:
            return WaitThenAsk(pause_ms)
        obstacle = obstacle or why
    return _give_up(obstacle or "no provider can be asked again", standings, now_ns)


def _give_up(why: str, standings: Sequence[Standing], now_ns: int) -> GiveUp:
    waits = [wait_ms for it in standings if (wait_ms := it.wait_ms(now_ns)) is not None]
    left = [it for it in standings if not it.is_refused and not _has_no_key(it)]
    is_busy = bool(left) and all(_is_busy(it, now_ns) for it in left)
    return GiveUp(why, min(waits, default=None) or None, is_busy)


def _has_no_key(standing: Standing) -> bool:
    return standing.unavailable is not None and standing.unavailable.cause is Cause.KEY


def _is_busy(standing: Standing, now_ns: int) -> bool:
    unavailable = standing.unavailable
    if unavailable is None:
        return standing.not_before_ns > now_ns
    return unavailable.cause in (Cause.LIMIT, Cause.COOLING)


def _no_budget(budget: RetryBudget) -> str:
    return (
        f"attempts that ask a provider again are limited to {budget.percent} % of calls (retry.budgetPercent)"
    )


def _count(attempts: int) -> str:
    return "1 attempt was" if attempts == 1 else f"{attempts} attempts were"
