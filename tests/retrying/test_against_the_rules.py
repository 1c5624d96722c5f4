"""Any state of any call: the planner does what a slow reading of its rules does, and no call breaks one to its end."""

from dataclasses import dataclass, field

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tidegate_policy.model import Retry, RetryOn
from tidegate_sidecar.policies.choice import Candidate
from tidegate_sidecar.policies.failures import TRAITS, FailureKind
from tidegate_sidecar.policies.planner import (
    Ask,
    GiveUp,
    Step,
    WaitThenAsk,
    after_pause,
    backoff_ms,
    first_step,
    next_step,
)
from tidegate_sidecar.policies.retry_budget import RetryBudget
from tidegate_sidecar.policies.standing import Cause, Standing, Unavailable

MS = 1_000_000
chances = st.floats(0, 1, exclude_max=True)
candidates = st.builds(Candidate, id=st.just(0), priority=st.integers(0, 2), weight=st.integers(0, 2))
retries = st.builds(
    Retry,
    max_attempts=st.sampled_from([9, 9, 9, 3, 2, 1]),
    retry_on=st.one_of(st.just(tuple(RetryOn)), st.sets(st.sampled_from(RetryOn)).map(tuple)),
    backoff_base_ms=st.integers(1, 50),
    backoff_max_ms=st.integers(50, 500),
    budget_percent=st.sampled_from([20, 20, 0]),
)
failures = st.one_of(
    st.just(FailureKind.SERVER_ERROR), st.just(FailureKind.RATE_LIMITED), st.sampled_from(FailureKind)
)
waits = st.sampled_from([None, 1, 20, 60, 300, 1_000])


@st.composite
def any_standings(draw: st.DrawFn) -> list[Standing]:
    found = []
    for candidate in draw(st.lists(candidates, min_size=1, max_size=4)):
        standing = Standing(candidate)
        standing.asked = draw(st.sampled_from([1, 0, 2]))
        standing.is_refused = draw(st.sampled_from([False, False, False, True]))
        if draw(st.booleans()):
            standing.unavailable = Unavailable(draw(st.sampled_from(Cause)), "for a reason", draw(waits))
        standing.not_before_ns = draw(st.sampled_from([0, 0, 70, 700])) * MS if standing.asked else 0
        found.append(standing)
    return found


def usable_from(standing: Standing) -> int | None:
    """The first millisecond in which it can be asked, found by trying; None: there is none."""
    if standing.is_refused:
        return None
    rest_ms = 0 if standing.unavailable is None else standing.unavailable.retry_after_ms
    if rest_ms is None:
        return None
    return next(ms for ms in range(1_001) if ms >= rest_ms and ms * MS >= standing.not_before_ns)


def permits_another(retry: Retry, failure: FailureKind, attempts: int, left_ms: int) -> bool:
    if failure in (FailureKind.CALLER_ERROR, FailureKind.UNREADABLE, FailureKind.NOT_JUDGED):
        return False
    whatever_retry_on_says = (
        FailureKind.KEY_REFUSED,
        FailureKind.MODEL_UNAVAILABLE,
        FailureKind.NOT_ACCEPTED,
    )
    if failure not in whatever_retry_on_says and TRAITS[failure].retry_on not in retry.retry_on:
        return False
    return attempts < retry.max_attempts and left_ms > 0


@settings(max_examples=400)
@given(
    any_standings(),
    retries,
    failures,
    st.sampled_from([1_000, 1_000, 1_000, 1_000, 300, 70, 20, 1, 0]),
    chances,
    chances,
    st.integers(0, 3),
)
def test_the_planner_agrees_with_a_slow_reading_of_its_rules(
    standings: list[Standing],
    retry: Retry,
    failure: FailureKind,
    left_ms: int,
    chance: float,
    jitter: float,
    charged: int,
) -> None:
    attempts = sum(it.asked for it in standings)
    assume(attempts > 0)  # one has failed
    budget = RetryBudget(retry.budget_percent)
    for _ in range(charged):
        budget.take(0)
    has_room = budget.has_room(0)
    step = next_step(
        standings, failure, budget, retry=retry, left_ms=left_ms, chance=chance, jitter=jitter, now_ns=0
    )
    event(type(step).__name__)
    if not permits_another(retry, failure, attempts, left_ms):
        assert isinstance(step, GiveUp)
        return
    at_once = [it for it in standings if it.asked == 0 and usable_from(it) == 0]
    if at_once:
        assert isinstance(step, Ask)
        assert step.standing in at_once
        assert step.standing.priority == min(it.priority for it in at_once)
        return
    backoff = backoff_ms(attempts, retry.backoff_base_ms, retry.backoff_max_ms, jitter)
    pauses = []
    for it in standings:
        ready_ms = usable_from(it)
        if ready_ms is None or ready_ms > retry.backoff_max_ms or (it.asked and not has_room):
            continue
        pause_ms = ready_ms
        while pause_ms < min(ready_ms + backoff, retry.backoff_max_ms):
            pause_ms += 1
        if pause_ms < left_ms:
            pauses.append(pause_ms)
    if pauses:
        assert step == WaitThenAsk(min(pauses))
    else:
        assert isinstance(step, GiveUp)
        backs = [ms for it in standings if (ms := usable_from(it)) is not None]
        assert step.retry_after_ms == (min(backs) or None if backs else None)


@dataclass
class World:
    """Providers that are out between times known in advance, and fail as scripted; and the life of one call in it.

    Attributes:
        outages: of each provider, from and to, in ms.
        answers: how the attempts end, one after the other: the failure, the patience asked for, whether it may be retried.
        races: attempts, by number, that somebody else takes the last place of, although there was one a moment before.
    """

    candidates: list[Candidate]
    outages: list[list[tuple[int, int]]]
    answers: list[tuple[FailureKind | None, int | None, bool]]
    races: set[int]
    retry: Retry
    deadline_ms: int
    now_ms: int = 0
    asked: list[int] = field(default_factory=list)

    def look(self, standings: list[Standing]) -> None:
        for standing, outages in zip(standings, self.outages, strict=True):
            ends = [to for since, to in outages if since <= self.now_ms < to]
            standing.unavailable = None
            if ends:
                standing.unavailable = Unavailable(Cause.BREAKER, "it is out", max(ends) - self.now_ms)

    def live(self, chance: float, jitter: float) -> GiveUp | None:
        standings = [Standing(candidate) for candidate in self.candidates]
        budget = RetryBudget(self.retry.budget_percent)
        budget.on_call(0)
        failure: FailureKind | None = None
        paused_ms: int | None = None  # since when
        asks = 0
        self.look(standings)
        while True:
            now_ns, left_ms = self.now_ms * MS, self.deadline_ms - self.now_ms
            step: Step
            if failure is None:
                step = first_step(standings, chance, now_ns)
            elif paused_ms is not None:
                step = after_pause(standings, budget, left_ms=left_ms, chance=chance, now_ns=now_ns)
            else:
                step = next_step(
                    standings,
                    failure,
                    budget,
                    retry=self.retry,
                    left_ms=left_ms,
                    chance=chance,
                    jitter=jitter,
                    now_ns=now_ns,
                )
            if isinstance(step, GiveUp):
                self.check_end(standings, failure, left_ms)
                assert self.races or paused_ms is None or self.has_got_worse(paused_ms), "a pause in vain"
                return step
            if isinstance(step, WaitThenAsk):
                assert paused_ms is None
                assert step.wait_ms < left_ms
                assert step.wait_ms <= self.retry.backoff_max_ms
                paused_ms = self.now_ms
                self.now_ms += step.wait_ms
                self.look(standings)
                continue
            standing = step.standing
            asks += 1
            if asks in self.races:
                standing.unavailable = Unavailable(Cause.LIMIT, "somebody was quicker", 1)
                continue
            self.check_attempt(standing, is_paused=paused_ms is not None, left_ms=left_ms)
            if standing.asked:
                assert budget.take(now_ns)
            failure = self.attempt(standings, standing)
            paused_ms = None
            if failure is None:
                return None

    def has_got_worse(self, since_ms: int) -> bool:
        """Whether somebody has gone out since then, which nobody could know."""
        return any(since_ms < begins <= self.now_ms for outages in self.outages for begins, _ in outages)

    def attempt(self, standings: list[Standing], standing: Standing) -> FailureKind | None:
        standing.asked += 1
        self.asked.append(standings.index(standing))
        failure, patience_ms, may_retry = self.answers[(len(self.asked) - 1) % len(self.answers)]
        self.now_ms += 3
        if failure is not None:
            standing.failed(failure, self.now_ms * MS, retry_after_ms=patience_ms, may_retry=may_retry)
        self.look(standings)
        return failure

    def check_attempt(self, standing: Standing, *, is_paused: bool, left_ms: int) -> None:
        assert not standing.is_refused
        assert standing.unavailable is None
        assert standing.not_before_ns <= self.now_ms * MS
        assert len(self.asked) < self.retry.max_attempts
        assert is_paused or not standing.asked
        assert left_ms > 0

    def check_end(self, standings: list[Standing], failure: FailureKind | None, left_ms: int) -> None:
        """Nobody gives up while somebody is left who was not asked and can be."""
        if failure is None or permits_another(self.retry, failure, len(self.asked), left_ms):
            assert not [
                it for it in standings if not it.asked and not it.is_refused and it.unavailable is None
            ]


outages = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 300)).map(lambda it: (it[0], it[0] + it[1])), max_size=2
)
answers = st.tuples(
    st.one_of(failures, failures, st.none()),
    st.one_of(st.none(), st.none(), st.integers(0, 200)),
    st.sampled_from([True, True, True, False]),
)


@settings(max_examples=400)
@given(
    st.lists(st.tuples(candidates, outages), min_size=1, max_size=4),
    st.lists(answers, min_size=1, max_size=8),
    st.sets(st.integers(1, 6), max_size=2),
    retries,
    st.integers(1, 2_000),
    chances,
    chances,
)
def test_no_call_breaks_a_rule_to_its_end(
    providers: list[tuple[Candidate, list[tuple[int, int]]]],
    script: list[tuple[FailureKind | None, int | None, bool]],
    races: set[int],
    retry: Retry,
    deadline_ms: int,
    chance: float,
    jitter: float,
) -> None:
    world = World(
        candidates=[candidate for candidate, _ in providers],
        outages=[outage for _, outage in providers],
        answers=script,
        races=races,
        retry=retry,
        deadline_ms=deadline_ms,
    )
    given_up = world.live(chance, jitter)
    event(f"{len(world.asked)} attempts, {'given up' if given_up else 'served'}")
