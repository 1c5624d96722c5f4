"""How providers are asked: breaker, retry and timeouts of a pool, and how far policies may change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tidegate_operator.api.durations import Duration
from tidegate_operator.api.fields import Items, Percent, Whole
from tidegate_operator.api.problems import Problem
from tidegate_operator.api.section import Section
from tidegate_policy.model import RetryOn

if TYPE_CHECKING:
    from collections.abc import Iterator

Attempts = Annotated[int, Whole(1, 10)]


class CircuitBreaker(Section):
    """When a provider is left alone, and for how long. It opens on whichever of the conditions comes first."""

    consecutive_failures: Annotated[int, Whole(1, 1000)] = 5
    """Opens after so many failed attempts in a row. Default 5."""
    failure_rate_percent: Percent = 50
    """Opens when this share of the attempts within the window failed. Default 50."""
    slow_call_percent: Percent = 80
    """Opens when this share of the streams within the window were slow. Default 80."""
    slow_first_token: Duration = Duration.of("30s")
    """A stream whose first event, of any kind, takes longer counts as slow. Default 30s."""
    minimum_requests: Annotated[int, Whole(1, 100_000)] = 20
    """The percentages count only from so many attempts within the window. Default 20."""
    window: Duration = Duration.of("10s")
    """How far back the percentages look. Default 10s."""
    open_for: Duration = Duration.of("60s")
    """How long the provider is left alone at first. Default 60s."""
    max_open_for: Duration = Duration.of("5m")
    """Each failed probe doubles the time that the provider is left alone, up to this. A provider that asks for patience (Retry-After) is left alone as long as it says, up to this too. Default 5m."""

    def problems(self) -> Iterator[Problem]:
        """CEL knows no days, so the comparison of durations is ours alone."""
        if self.max_open_for < self.open_for:
            yield Problem(
                ("maxOpenFor",),
                f"maxOpenFor {self.max_open_for} is shorter than openFor {self.open_for}; it must be as long or longer",
            )


class Backoff(Section):
    """The pause before a provider is asked again, doubled each time, with jitter."""

    base: Duration = Duration.of("1s")
    """The first pause. Default 1s."""
    max: Duration = Duration.of("60s")
    """The longest pause. A call does not wait for a provider that asks for a longer one. Default 60s."""

    def problems(self) -> Iterator[Problem]:
        """The longest pause cannot be shorter than the first."""
        if self.max < self.base:
            yield Problem(
                ("max",), f"max {self.max} is shorter than base {self.base}; it must be as long or longer"
            )


class Retry(Section):
    """After which failures a call asks again, how often and when."""

    max_attempts: Attempts = 3
    """All attempts of a call, the first included. Default 3."""
    retry_on: Annotated[tuple[RetryOn, ...], Items(max_items=5, unique=True)] = tuple(RetryOn)
    """Failures that are worth another attempt. Default: all of them."""
    backoff: Backoff = Backoff()
    """The pause before a provider is asked again."""
    budget_percent: Annotated[int, Whole(0, 100)] = 20
    """Attempts that ask the same provider again may be at most this share of the calls; moving on to another provider is not counted. 0: never ask the same one again. Default 20."""


class Timeouts(Section):
    """Deadlines of a call."""

    connect: Duration = Duration.of("5s")
    """How long connecting to the provider may take, in each attempt. Default 5s."""
    first_token: Duration = Duration.of("120s")
    """How long an attempt may wait for the first event with content: text, reasoning, a refusal, a tool call, audio. Streams only. Default 120s."""
    stream_idle: Duration = Duration.of("120s")
    """How long a stream may be silent; each event and each comment ends the silence. Streams only. Default 120s."""
    request: Duration = Duration.of("10m")
    """How long a call may wait for its answer: for the end of a whole answer, for the first content of a stream. All attempts and pauses count. Default 10m."""
    stream: Duration = Duration.of("60m")
    """How long a call may last from its start to the end of its stream. Streams only. Default 60m."""


class TimeoutOverrides(Section):
    """Deadlines of a call, where they differ from those of the pool."""

    connect: Duration | None = None
    """How long connecting to the provider may take, in each attempt."""
    first_token: Duration | None = None
    """How long an attempt may wait for the first event with content. Streams only."""
    stream_idle: Duration | None = None
    """How long a stream may be silent; each event and each comment ends the silence. Streams only."""
    request: Duration | None = None
    """How long a call may wait for its answer: for the end of a whole answer, for the first content of a stream. All attempts and pauses count."""
    stream: Duration | None = None
    """How long a call may last from its start to the end of its stream. Streams only."""


class RetryOverrides(Section):
    """The part of retrying that a policy may change."""

    max_attempts: Attempts | None = None
    """All attempts of a call, the first included."""


class PolicyMaximum(Section):
    """How far policies may raise what the pool says; what is not named here they may only lower."""

    timeouts: TimeoutOverrides = TimeoutOverrides()
    """Longest timeouts that a policy may set."""
    retry: RetryOverrides = RetryOverrides()
    """Most attempts that a policy may set."""
