"""The settings that can have one value: one table, from which the merge decides each of them by precedence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from tidegate_operator.compile.lookup import pool_references
from tidegate_operator.compile.overrides import timeout_words
from tidegate_operator.compile.precedence import Candidate, decide
from tidegate_policy.model import ConsumerIdentity, Mode, ObjectRef, OnMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tidegate_operator.api.traffic import RetryOverrides, TimeoutOverrides
    from tidegate_operator.compile.compilation import Setting
    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.precedence import Applying

ValueT = TypeVar("ValueT")


class Said(NamedTuple, Generic[ValueT]):
    """What a policy says: the value, and as a person would write it."""

    value: ValueT
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleValued(Generic[ValueT]):
    """A setting of which one policy decides.

    Attributes:
        name: of the setting, and of the field below `spec` that sets it.
        said: what a policy says of it; None: nothing.
        is_platforms: what a cluster-scoped policy says is not overridable.
        field: of the configuration, where the setting is one; empty where the merge puts it into others.
        compiled: what the field gets.
    """

    name: str
    said: Callable[[Applying], Said[ValueT] | None]
    is_platforms: bool = False
    field: str = ""
    compiled: Callable[[ValueT, ObjectRef], object] = lambda value, _: value


class Decisions:
    """Which policy decides each setting, and what it says."""

    def __init__(self, decided: Mapping[str, tuple[Candidate[Any] | None, Setting]]) -> None:
        """By name of the setting."""
        self._decided = decided

    def of(self, setting: SingleValued[ValueT]) -> Candidate[ValueT] | None:
        """What holds; None: nobody says anything."""
        return self._decided[setting.name][0]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All of them, with those that lost."""
        return tuple(setting for _, setting in self._decided.values())

    def fields(self, table: Sequence[SingleValued[Any]]) -> dict[str, Any]:
        """The fields of the configuration that settings decide by themselves."""
        return {
            row.field: row.compiled(winner.value, winner.applying.policy.ref)
            for row in table
            if row.field and (winner := self.of(row)) is not None
        }


def decide_all(
    table: Sequence[SingleValued[Any]],
    applying: Sequence[Applying],
    findings: Findings,
    about: Iterable[str],
) -> Decisions:
    """Decide each setting of the table; the arguments are those of `precedence.decide`."""
    decided = {}
    for row in table:
        candidates = [
            Candidate(applying=each, value=said.value, words=said.words)
            for each in applying
            if (said := row.said(each)) is not None
        ]
        decided[row.name] = decide(
            row.name, ("spec", row.name), candidates, findings, about, cluster_first=row.is_platforms
        )
    return Decisions(decided)


class Consumer(NamedTuple):
    """How a call says on whose behalf it is made."""

    header: str
    on_missing: OnMissing
    mode: Mode


def _pools(applying: Applying) -> Said[tuple[ObjectRef, ...]] | None:
    pools = pool_references(applying.policy)
    return Said(pools, ", ".join(f"{ref.namespace}/{ref.name}" for ref in pools)) if pools else None


def _timeouts(applying: Applying) -> Said[TimeoutOverrides] | None:
    timeouts = applying.policy.spec.timeouts if applying.policy.spec else None
    words = timeout_words(timeouts) if timeouts else ""
    return Said(timeouts, words) if timeouts and words else None


def _retry(applying: Applying) -> Said[RetryOverrides] | None:
    retry = applying.policy.spec.retry if applying.policy.spec else None
    if retry is None or retry.max_attempts is None:
        return None
    return Said(retry, f"maxAttempts {retry.max_attempts}")


def _identity(applying: Applying) -> Said[Consumer] | None:
    spec = applying.policy.spec
    header = spec.identity.consumer.header if spec and spec.identity else None
    if spec is None or header is None:
        return None
    consumer = Consumer(header.name.lower(), header.on_missing, spec.mode)
    words = f"consumer from header {consumer.header}, {consumer.on_missing} when it is missing ({spec.mode})"
    return Said(consumer, words)


def _consumer(consumer: Consumer, source: ObjectRef) -> ConsumerIdentity:
    return ConsumerIdentity(
        source=source, mode=consumer.mode, header=consumer.header, on_missing=consumer.on_missing
    )


POOLS: Final = SingleValued(name="poolRefs", said=_pools)
TIMEOUTS: Final = SingleValued(name="timeouts", said=_timeouts)
RETRY: Final = SingleValued(name="retry", said=_retry)
IDENTITY: Final = SingleValued(
    name="identity", said=_identity, is_platforms=True, field="consumer", compiled=_consumer
)

SINGLE_VALUED: Final[tuple[SingleValued[Any], ...]] = (POOLS, TIMEOUTS, RETRY, IDENTITY)
"""In the order in which people are told of them."""
