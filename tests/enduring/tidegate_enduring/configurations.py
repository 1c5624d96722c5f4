"""Configurations to change between: limits, breakers, several providers, rules that hold, judge, and ask again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from made_up.filters import BLOCKED, Answers, Requests, Stream, Whole, kind, raw
from made_up.quotas import Config, Quota, Store, When
from tidegate_testing.configs import (
    BREAKER,
    POLICY,
    RETRY,
    allow,
    anthropic,
    consumer,
    limit,
    model,
    pool,
    provider,
)

from tidegate_policy.model import KeyPart, KeyType, Mode, OnMissing, Timeouts
from tidegate_sidecar.config.registry import DEFAULT, Phase, Registry
from tidegate_sidecar.dialects.base import Event
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.proxy.filters import AskAgain, Emit, End, Hold
from tidegate_sidecar.routing.refusal import Refusal

TIMEOUTS: Final = Timeouts(
    connect_ms=1_000, first_token_ms=300, stream_idle_ms=300, request_ms=600, stream_ms=1_500
)
RULES: Final = ("holding", "judging", "looking")
NOWHERE: Final = "http://127.0.0.1:9/v1"
"""Where nobody listens."""


class Rules:
    """Made-up rules, and what they have given: nothing of it may be left."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.store = Store()
        self.store.answer = self._lease

    @property
    def registry(self) -> Registry:
        random = self.random
        return replace(
            DEFAULT,
            policies=(*DEFAULT.policies, self.store.kind()),
            filters=(
                kind("looking", lambda: Requests(lambda _: looked(random))),
                kind("holding", lambda: Answers(lambda _: Holding(random))),
                kind("judging", lambda: Answers(lambda _: Whole(lambda answer: judged(random, answer)))),
            ),
        )

    async def _lease(self) -> None:
        await asyncio.sleep(self.random.choice([0, 0, 0.001, 0.01, 0.2]))


class Holding(Stream):
    """Has it decided now and then what becomes of events; ends an answer now and then."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def feed(self, events: Sequence[Event]) -> Emit | Hold | End:
        data, drawn = raw(events), self._random.random()
        if drawn < 0.1:
            return Hold(lambda: self._decide(data))
        return End(data, BLOCKED) if drawn < 0.11 else Emit(data)

    async def _decide(self, data: bytes) -> Emit | End:
        await asyncio.sleep(self._random.choice([0, 0, 0.001, 0.01]))
        return Emit(data) if self._random.random() < 0.95 else End(data, None)


async def looked(random: Random) -> Refusal | Answer | None:
    await asyncio.sleep(0)
    drawn = random.random()
    if drawn < 0.02:
        return BLOCKED
    return Answer(200, [(b"content-type", b"application/json")], b'{"fixed":true}') if drawn < 0.04 else None


async def judged(random: Random, answer: Answer) -> Answer | Refusal | AskAgain:
    await asyncio.sleep(random.choice([0, 0.001]))
    drawn = random.random()
    if drawn < 0.02:
        return BLOCKED
    return AskAgain(BLOCKED) if drawn < 0.07 else answer


def configuration(random: Random, url: str) -> Config:
    """One of very many."""
    models = (model("gpt-test"), model("gpt-renamed", "up-there"), model("gpt-denied"))
    first = provider("first", url, models=models, weight=random.randrange(1, 4))
    second = provider("second", url.replace("/v1", "/second/v1"), models=models, priority=random.randrange(2))
    backup = provider("backup", url, models=(model("gpt-backup"),), priority=1)
    dead = provider(
        "dead", NOWHERE, models=(model("gpt-backup"), model("gpt-lonely")), priority=random.randrange(2)
    )
    claude = anthropic("claude", url.replace("/v1", "/anthropic/v1"))
    providers = [first, backup, dead, claude] + [second] * (random.random() < 0.7)
    easily = replace(
        BREAKER,
        consecutive_failures=3,
        minimum_requests=5,
        window_ms=1_000,
        open_for_ms=20,
        max_open_for_ms=60,
    )
    hardly = replace(
        BREAKER, consecutive_failures=10**6, minimum_requests=10**6, open_for_ms=20, max_open_for_ms=60
    )
    served = pool(
        *providers,
        breaker=random.choice([easily, hardly, hardly]),
        retry=replace(RETRY, max_attempts=random.randrange(1, 5), budget_percent=random.choice([0, 20, 100])),
        timeouts=TIMEOUTS,
    )
    by_provider = KeyPart(type=KeyType.PROVIDER)
    return Config(
        sources=(POLICY,),
        pools=(served,),
        allow_models=(allow("gpt-[!d]*", "gpt-test", "gpt-renamed", "gpt-backup", "gpt-lonely", "claude-*"),),
        consumer=replace(consumer("x-user", OnMissing.ANONYMOUS)),
        rate_limits=(
            limit("calls", requests=10**6, burst=10**6),
            limit("consumers", requests=500, per_ms=1_000, burst=500, key=(KeyPart(type=KeyType.CONSUMER),)),
            limit(
                "attempts",
                requests=5_000,
                per_ms=1_000,
                burst=500,
                key=(by_provider,),
                mode=random.choice(list(Mode)),
            ),
        ),
        quotas=tuple(quota for quota in quotas(random) if random.random() < 0.5),
        rules=tuple(rule for rule in RULES if random.random() < 0.3),
    )


def quotas(random: Random) -> tuple[Quota, ...]:
    return (
        Quota(
            name="queued",
            model="gpt-test",
            calls=random.randrange(10, 60),
            when_empty=When.QUEUE,
            max_wait_ms=50,
        ),
        Quota(name="leased", model="gpt-renamed", calls=random.randrange(1, 9), when_empty=When.LEASE),
        Quota(name="refused", model="gpt-test", calls=random.randrange(30, 60), phase=Phase.ATTEMPT.value),
        Quota(
            name="queued-attempts",
            model="claude-test",
            calls=4,
            when_empty=When.QUEUE,
            phase=Phase.ATTEMPT.value,
        ),
    )
