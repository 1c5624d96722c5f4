"""Any schedule of overlapping attempts: the breaker does what a slow and simple model of it does."""

from dataclasses import dataclass, field

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tidegate_policy.model import Breaker
from tidegate_sidecar.policies.breaker import CircuitBreaker, Result, State, Ticket

MS = 1_000_000
BUCKET_MS = 100


@dataclass
class Model:
    """Keeps every result of the period it is in, and looks through all of them each time."""

    config: Breaker
    state: State = State.CLOSED
    period: int = 0
    until_ms: int = 0
    open_ms: int = 0
    probing: bool = False
    results: list[tuple[int, bool, bool | None]] = field(default_factory=list)

    def admit(self, now_ms: int) -> int | None:
        if self.state is State.OPEN and now_ms >= self.until_ms:
            self._go(State.HALF_OPEN)
        if self.state is State.CLOSED:
            return self.period
        if self.state is State.HALF_OPEN and not self.probing:
            self.probing = True
            return self.period
        return None

    def answered(self, period: int, slow: bool, now_ms: int) -> int:
        if period != self.period or self.state is not State.HALF_OPEN:
            return period
        self.settle(period, Result.SUCCESS, slow, now_ms)
        return period if slow else self.period

    def settle(self, period: int, result: Result, slow: bool | None, now_ms: int) -> None:
        if period != self.period:
            return
        bad = result is Result.FAILURE
        if self.state is State.HALF_OPEN:
            if result is Result.NEUTRAL:
                self._go(State.HALF_OPEN)
            elif bad or slow:
                self._open(min(2 * self.open_ms, self.config.max_open_for_ms), now_ms)
            else:
                self._go(State.CLOSED)
        elif self.state is State.CLOSED and result is not Result.NEUTRAL:
            self.results.append((now_ms, bad, slow))
            if self._is_bad(now_ms):
                self._open(self.config.open_for_ms, now_ms)

    def _is_bad(self, now_ms: int) -> bool:
        config = self.config
        row = [bad for _, bad, _ in self.results][-config.consecutive_failures :]
        if len(row) == config.consecutive_failures and all(row):
            return True
        recent = [it for it in self.results if now_ms // BUCKET_MS - it[0] // BUCKET_MS < 10]
        failed = sum(bad for _, bad, _ in recent)
        timed = [slow for _, _, slow in recent if slow is not None]
        return (
            len(recent) >= config.minimum_requests
            and failed * 100 >= len(recent) * config.failure_rate_percent
        ) or (
            len(timed) >= config.minimum_requests
            and sum(timed) * 100 >= len(timed) * config.slow_call_percent
        )

    def _open(self, open_ms: int, now_ms: int) -> None:
        self._go(State.OPEN)
        self.open_ms = open_ms
        self.until_ms = now_ms + open_ms

    def _go(self, state: State) -> None:
        self.state = state
        self.period += 1
        self.probing = False
        self.results.clear()


configs = st.builds(
    Breaker,
    consecutive_failures=st.integers(1, 6),
    failure_rate_percent=st.integers(1, 100),
    slow_call_percent=st.integers(1, 100),
    slow_first_token_ms=st.just(1),
    minimum_requests=st.integers(1, 6),
    window_ms=st.just(10 * BUCKET_MS),
    open_for_ms=st.integers(1, 300),
    max_open_for_ms=st.integers(300, 1_000),
)

steps = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 50, 99, 100, 300, 1_000, 5_000]),
        st.sampled_from([Result.SUCCESS, Result.SUCCESS, Result.FAILURE, Result.NEUTRAL]),
        st.sampled_from([None, False, True]),
        st.integers(0, 3),
        st.integers(0, 6),
    ),
    max_size=80,
)
"""How much time passes; how the attempt that then begins ends, how soon it is answered, and how soon it ends: after so many
steps. One that is no stream (None) is not answered before its end."""


@dataclass
class Attempt:
    ticket: Ticket
    period: int
    result: Result
    slow: bool | None
    answered_at: int
    ends_at: int


@settings(deadline=None, max_examples=400)
@given(configs, steps)
def test_a_breaker_agrees_with_a_simple_model_of_it(
    config: Breaker, schedule: list[tuple[int, Result, bool | None, int, int]]
) -> None:
    """Late results come from any period."""
    breaker, model = CircuitBreaker(config), Model(config)
    under_way: list[Attempt] = []
    now_ms = 0
    for index, (gap, result, slow, answered, later) in enumerate(schedule):
        now_ms += gap
        expected = breaker.would_admit(now_ms * MS)
        ticket, period = breaker.admit(now_ms * MS), model.admit(now_ms)
        assert (ticket is not None) == (period is not None) == expected
        if ticket is not None and period is not None:
            under_way.append(
                Attempt(ticket, period, result, slow, index + answered, index + answered + later)
            )
        for each in list(under_way):
            if each.answered_at == index and each.slow is not None:
                each.ticket = breaker.answered(each.ticket, slow=each.slow, now_ns=now_ms * MS)
                each.period = model.answered(each.period, each.slow, now_ms)
            if each.ends_at == index:
                under_way.remove(each)
                breaker.settle(each.ticket, each.result, slow=each.slow, now_ns=now_ms * MS)
                model.settle(each.period, each.result, each.slow, now_ms)
            state = model.state
            if state is State.OPEN and now_ms >= model.until_ms:
                state = State.HALF_OPEN
            assert breaker.state_at(now_ms * MS) is state
        event(f"ends in {model.state}")
        if model.state is State.OPEN:
            assert breaker.retry_after_ms(now_ms * MS) == max(0, model.until_ms - now_ms)


@settings(deadline=None)
@given(configs, steps)
def test_there_is_never_more_than_one_probe(
    config: Breaker, schedule: list[tuple[int, Result, bool | None, int, int]]
) -> None:
    """Whatever streams of earlier periods do meanwhile."""
    breaker = CircuitBreaker(config)
    probes: list[Ticket] = []
    streams: list[Ticket] = []
    now_ns = 0
    for gap, result, slow, begin, asked in schedule:
        now_ns += gap * MS
        for ticket in streams[:begin]:
            before = breaker.state
            breaker.answered(ticket, slow=bool(slow), now_ns=now_ns)
            assert breaker.state is before
        for _ in range(asked):
            was_closed = breaker.state is State.CLOSED
            admitted = breaker.admit(now_ns)
            if admitted is None:
                continue
            if was_closed:
                streams.append(admitted)
                breaker.settle(admitted, result, slow=slow, now_ns=now_ns)
            else:
                probes.append(admitted)
        assert len(probes) <= 1
        if probes and asked % 2:
            breaker.settle(probes.pop(), result, slow=slow, now_ns=now_ns)
