"""A quota of calls by model, with a contract of its own: rights are leased from a store, or waited for, or refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tidegate_testing import configs

from tidegate_policy.model import CompiledConfig, Mode, ObjectRef, Pool, WorkloadIdentity, added
from tidegate_sidecar.config.registry import Phase, PolicyKind
from tidegate_sidecar.policies.base import Facts, Grant, Needs, Outcome, Rejected, Sent, Wait

SOURCE = ObjectRef(kind="Quotas", namespace="team-a", name="by-model")

KEPT = 1_000
"""Of what was seen, since not every test is over after a few calls."""


class When(StrEnum):
    """What becomes of a call for which there is no right at the moment."""

    REFUSE = "Refuse"
    LEASE = "Lease"
    QUEUE = "Queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many calls of one model at a time."""

    name: str
    model: str
    calls: int
    when_empty: When = When.REFUSE
    mode: Mode = Mode.ENFORCE
    phase: str = Phase.CALL.value
    max_wait_ms: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(CompiledConfig):
    """The contract with what is made up here."""

    quotas: tuple[Quota, ...] = added(())
    rules: tuple[str, ...] = added(())
    """Names of filters in force, see `filters`."""


@dataclass(slots=True)
class Rights:
    """What there is of a quota: the live state that goes on in the next configuration."""

    free: int
    waiting: list[Callable[[], None]] = field(default_factory=list)


class Store:
    """Where rights come from beyond those of a quota; a test says when."""

    def __init__(self) -> None:
        self.asked = 0
        self.gives = 0
        self.answer: Callable[[], Awaitable[None]] = _at_once
        self.outstanding = 0
        self.settled: deque[tuple[str, Outcome]] = deque(maxlen=KEPT)
        """By every grant of every quota, in order: what became of it."""

    @property
    def outcomes(self) -> list[tuple[str, Outcome]]:
        """The same without those that were given back at once, as where it was only looked whether there is a right."""
        return [it for it in self.settled if it[1].sent is not Sent.NOT_ADMITTED]

    async def lease(self, rights: Rights) -> None:
        self.asked += 1
        await self.answer()
        rights.free += self.gives
        self.gives = 0

    def kind(self) -> PolicyKind:
        """What a registry is told."""
        return PolicyKind(
            rules=quotas_of,
            make=lambda quota, identity: QuotaPolicy(quota, self, identity),
            phase=lambda quota: Phase(quota.phase),
            identity=lambda quota: quota.name,
        )


class QuotaPolicy:
    """One quota as it runs."""

    def __init__(self, quota: Quota, store: Store, _: WorkloadIdentity) -> None:
        if quota.calls < 0:
            raise ValueError(f"quota {quota.name}: calls must not be negative")
        self.quota = quota
        self.mode = quota.mode
        self.rights = Rights(quota.calls)
        self.store = store
        self.seen: deque[Facts] = deque(maxlen=KEPT)

    def admit(self, facts: Facts, now_ns: int) -> Grant | Rejected | Needs | Wait:  # noqa: ARG002 - time changes nothing
        self.seen.append(facts)
        if facts.model != self.quota.model:
            return _Nothing()
        if self.rights.free > 0:
            self.rights.free -= 1
            self.store.outstanding += 1
            return _Right(self)
        refusal = Rejected(self.quota.name, SOURCE, 1_000, f"{self.quota.calls} at a time", 0)
        if self.quota.when_empty is When.LEASE:
            return Needs(self.quota.name, lambda: self.store.lease(self.rights), refusal)
        if self.quota.when_empty is When.QUEUE:
            return Wait(self._join, self.quota.max_wait_ms, refusal)
        return refusal

    def carry(self, previous: QuotaPolicy, now_ns: int) -> None:  # noqa: ARG002 - time changes nothing
        """Go on with the rights that are left, and with those who wait for one."""
        previous.rights.free += self.quota.calls - previous.quota.calls
        self.rights = previous.rights

    def give_back(self) -> None:
        self.rights.free += 1
        if self.rights.waiting:
            self.rights.waiting[0]()

    def _join(self, on_turn: Callable[[], None]) -> Callable[[], None]:
        self.rights.waiting.append(on_turn)
        return lambda: self.rights.waiting.remove(on_turn)


class _Right:
    """Given back when it is settled: the quota counts what is under way."""

    def __init__(self, policy: QuotaPolicy) -> None:
        self._policy = policy
        self._is_settled = False

    def settle(self, outcome: Outcome, now_ns: int) -> None:  # noqa: ARG002 - time changes nothing
        assert not self._is_settled, "a grant is settled exactly once"
        self._is_settled = True
        self._policy.store.outstanding -= 1
        self._policy.store.settled.append((self._policy.quota.name, outcome))
        self._policy.give_back()


class _Nothing:
    """For a call that the quota does not count."""

    def settle(self, outcome: Outcome, now_ns: int) -> None:
        pass


def quotas_of(config: CompiledConfig) -> Iterable[Any]:
    return config.quotas if isinstance(config, Config) else ()


def config(*pools: Pool, **changes: Any) -> Config:
    return Config(sources=(configs.POLICY,), pools=pools, **changes)


async def _at_once() -> None:
    await asyncio.sleep(0)
