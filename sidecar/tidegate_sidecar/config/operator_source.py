"""The operator as a source of configurations: polled, acknowledged, kept on disk, never taken backwards."""

from __future__ import annotations

import asyncio
import logging
import random as chance
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp

from tidegate_policy.envelope import NO_GENERATION, AsOf, Envelope, Tag
from tidegate_policy.keys import KeyReport
from tidegate_policy.model import CompiledConfig
from tidegate_policy.poll import Nack
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.config.last_known_good import Kept, LastKnownGood
from tidegate_sidecar.config.operator_poll import (
    Answer,
    Failed,
    Fresh,
    NotModified,
    OperatorPoll,
    Standing,
    Unusable,
)
from tidegate_sidecar.config.operator_trust import OperatorTrust
from tidegate_sidecar.config.source import Loaded, Missing, Refused
from tidegate_sidecar.settings import OperatorSettings
from tidegate_sidecar.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

EAGER_MS: Final = 500
"""In the place of `reconnect_ms` while there is no configuration: calls are refused, so it is worth asking sooner."""

SOON_NS: Final = 1_000_000_000
"""A poll that says `nothing new` sooner than this has not waited: another at once would be a busy loop."""

PATIENCE: Final = 3
"""Failures in a row after which a sidecar without configuration says why in its health."""

DNS_S: Final = 10
"""How long addresses of the operator are remembered: replicas come and go."""


class OperatorSource:
    """A `ConfigSource`. The next poll acknowledges what is in force, or says what could not be used and why."""

    def __init__(
        self,
        settings: OperatorSettings,
        metrics: Metrics,
        *,
        keys: Callable[[CompiledConfig], KeyReport] = lambda _: KeyReport(),
        clock: Clock | None = None,
        random: Callable[[], float] = chance.random,
    ) -> None:
        """Ask nobody yet.

        Args:
            settings: whom to ask, and how.
            metrics: where to count.
            keys: which keys are lacking for a configuration; the operator is told with each poll.
            clock: time; the system's by default.
            random: numbers in [0, 1) for jitter.
        """
        self._settings = settings
        self._metrics = metrics
        self._keys = keys
        self._clock = clock or Clock()
        self._random = random
        self._copy = LastKnownGood(
            settings.state_dir, lambda operation: metrics.last_known_good_failures.labels(operation).inc()
        )
        self._trust = OperatorTrust(settings.ca, settings.state_dir)
        self._current: Loaded | None = None
        self._written: Loaded | None = None
        self._has: Tag | None = None
        self._as_of: AsOf | None = None
        self._refused: Nack | None = None
        self._problem = ""
        self._said = ""
        self._failures = 0
        self._in_vain = 0
        self._confirmed_ns: int | None = None
        metrics.config_age.read = self._age

    def at_hand(self) -> Loaded | None:
        """The last known good configuration: a sidecar that was killed goes on with what it had, from the first call on."""
        kept = self._copy.read()
        if kept is None:
            return None

        def outcome(problem: str) -> None:
            if not problem:
                self._resume(kept)

        return Loaded(config=kept.envelope.config, identity=kept.envelope.identity, outcome=outcome)

    async def updates(self) -> AsyncIterator[Loaded | Refused]:
        """Whatever the operator has that is new."""
        connector = aiohttp.TCPConnector(limit=2, ttl_dns_cache=DNS_S)
        async with aiohttp.ClientSession(connector=connector) as session:
            poll = OperatorPoll(
                session, self._settings, self._trust, lambda _: self._metrics.unknown_fields.inc()
            )
            while True:
                begun_ns = self._clock.monotonic_ns()
                answer = await poll(self._standing())
                outcome = _Outcome()
                update = self._judge(answer, outcome)
                if update is not None:
                    yield update
                if isinstance(answer, Fresh) and not self._failures:
                    await self._settle(answer, outcome.problem)
                await self._pause(answer, self._clock.monotonic_ns() - begun_ns)

    def _standing(self) -> Standing:
        keys = self._keys(self._current.config) if self._current is not None else KeyReport()
        return Standing(has=self._has, as_of=self._as_of, refused=self._refused, keys=keys)

    def _resume(self, kept: Kept) -> None:
        """What was kept is in force. Its tag asks for the rest of the envelope, which is on no disk."""
        _log.info("the last known good configuration is in force until the operator answers")
        self._accept(kept.envelope, Tag(kept.digest, NO_GENERATION))
        self._written = self._current
        age_ns = max(0, self._clock.wall_ns() - kept.kept_ns)
        self._confirmed_ns = self._clock.monotonic_ns() - age_ns

    def _judge(self, answer: Answer, outcome: _Outcome) -> Loaded | Refused | None:
        """What an answer means for those who follow."""
        match answer:
            case Fresh(envelope):
                return self._judge_envelope(envelope, outcome)
            case NotModified():
                return self._mended() if self._is_confirmed_by(answer) else None
            case Unusable(nack):
                self._answered()
                self._refused = nack
                return self._new_problem(nack.why)
            case Failed():
                self._fail(answer.problem, is_cheap=answer.is_nobody_there)
                if answer.is_final:
                    return self._new_problem(answer.problem)
                is_worth_saying = self._current is None and self._failures >= PATIENCE
                return self._new_problem(answer.problem, Missing) if is_worth_saying else None

    def _judge_envelope(self, envelope: Envelope, outcome: _Outcome) -> Loaded | None:
        if self._as_of is not None and (lacks := envelope.as_of.lacks(self._as_of)):
            self._fail(
                f"the operator sent a configuration that is older than what is in force ({lacks}): ignored"
            )
            return None
        self._answered()
        loaded = outcome.of(envelope)
        if loaded == self._current and not self._problem:
            # The same for this pod with another rest, such as announced authorities.
            return None
        self._problem = ""
        return loaded

    async def _settle(self, fresh: Fresh, problem: str) -> None:
        """After an envelope was offered: note what became of it; the next poll says so to the operator."""
        # In a thread: whoever waits for the disk must not keep calls waiting.
        await asyncio.to_thread(self._trust.announce, fresh.envelope.trust)
        if problem:
            self._problem = problem
            self._refused = Nack(fresh.tag, problem)
            return
        self._accept(fresh.envelope, fresh.tag)
        self._confirmed_ns = self._clock.monotonic_ns()
        if self._written != self._current and await asyncio.to_thread(self._copy.write, fresh.envelope):
            self._written = self._current

    def _accept(self, envelope: Envelope, tag: Tag) -> None:
        """It is in force."""
        self._current = Loaded(config=envelope.config, identity=envelope.identity)
        self._has, self._as_of, self._refused = tag, envelope.as_of, None

    def _is_confirmed_by(self, answer: NotModified) -> bool:
        """Whether the replica says that what is in force is what there is; if so, it is now of a later moment."""
        behind = answer.as_of.lacks(self._as_of) if answer.as_of and self._as_of else ""
        self._answered(
            f"this replica of the operator has seen less ({behind}): what is in force stays" if behind else ""
        )
        if behind or answer.tag is None or answer.tag != self._has:
            return False
        # Not only the moment of the envelope: a replica that lags could otherwise bring back what was in between.
        self._as_of = answer.as_of or self._as_of
        self._refused = None
        self._confirmed_ns = self._clock.monotonic_ns()
        return True

    def _mended(self) -> Loaded | None:
        """The configuration in force once more, where something newer was refused and is not published any more."""
        if not self._problem:
            return None
        self._problem = ""
        return self._current

    def _answered(self, but: str = "") -> None:
        """The operator is there; `but` says what is odd about its answer all the same."""
        self._failures = self._in_vain = 0
        self._metrics.operator_connected.set(1)
        self._say(but)

    def _fail(self, problem: str, *, is_cheap: bool = False) -> None:
        self._failures += 1
        self._in_vain += not is_cheap
        self._metrics.operator_connected.set(0)
        self._say(problem)

    def _say(self, problem: str) -> None:
        """Log a problem when it begins, and its end."""
        if problem and problem != self._said:
            _log.warning("%s", problem)
        elif self._said and not problem:
            _log.info("the operator answers as it should again")
        self._said = problem

    def _new_problem(self, problem: str, kind: type[Refused] = Refused) -> Refused | None:
        if problem == self._problem:
            return None
        self._problem = problem
        return kind(problem=problem)

    async def _pause(self, answer: Answer, took_ns: int) -> None:
        """Between two polls: at any moment within a time, so that sidecars who lost an operator do not come as one."""
        limit_ms = self._pause_limit_ms(answer, took_ns)
        if limit_ms:
            await asyncio.sleep(self._random() * limit_ms / 1_000)

    def _pause_limit_ms(self, answer: Answer, took_ns: int) -> int:
        """Nothing after an answer that was worth the poll; otherwise longer with each failure."""
        first_ms = self._settings.reconnect_ms
        if self._current is None:
            first_ms = min(first_ms, EAGER_MS)
        if isinstance(answer, Failed) and answer.retry_s:
            first_ms = answer.retry_s * 1_000
        if isinstance(answer, Failed) and answer.is_nobody_there:
            # A replica that starts, or one of two that is gone, is back soon, and trying it is a burden for nobody.
            return min(first_ms << min(self._failures - 1, 20), self._settings.reconnect_ms)
        if self._failures:
            return min(first_ms << min(max(0, self._in_vain - 1), 20), self._settings.reconnect_max_ms)
        return first_ms if isinstance(answer, NotModified) and took_ns < SOON_NS else 0

    def _age(self) -> dict[tuple[str, ...], float]:
        if self._confirmed_ns is None:
            return {}
        return {(): (self._clock.monotonic_ns() - self._confirmed_ns) / 1e9}


class _Outcome:
    """What became of one configuration; in force unless said otherwise."""

    def __init__(self) -> None:
        self.problem = ""

    def of(self, envelope: Envelope) -> Loaded:
        return Loaded(config=envelope.config, identity=envelope.identity, outcome=self._set)

    def _set(self, problem: str) -> None:
        self.problem = problem
