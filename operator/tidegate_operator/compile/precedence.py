"""Precedence: which policy decides a setting that can have one value, and what the others are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from tidegate_operator.compile.compilation import Level, Lost, Setting
from tidegate_operator.compile.diagnostics import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.resolve import UsablePools

ValueT = TypeVar("ValueT")


class Applying(NamedTuple):
    """A policy that applies, how closely it is attached, and what it makes of the pools that it names."""

    policy: Policy
    level: Level
    usable: UsablePools


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[ValueT]):
    """What one policy says about one setting; `words` is the value as a person would write it."""

    applying: Applying
    value: ValueT
    words: str


def by_precedence(applying: Iterable[Applying]) -> tuple[Applying, ...]:
    """The closest first; among equals the older object, then the one whose namespace and name sort first."""
    return tuple(sorted(applying, key=_rank))


def decide(
    name: str,
    path: FieldPath,
    candidates: Sequence[Candidate[ValueT]],
    findings: Findings,
    about: Iterable[str],
    *,
    cluster_first: bool = False,
) -> tuple[Candidate[ValueT] | None, Setting]:
    """The candidate that holds, and the setting with those that lost.

    Args:
        name: of the setting.
        path: of the field that sets it, the same in every policy.
        candidates: by precedence.
        findings: where a loser is told when it could not have known: an equal that says otherwise, or a policy in
            a namespace against the platform.
        about: the workloads that are decided for.
        cluster_first: what a cluster-scoped policy says is not overridable.
    """
    if cluster_first:
        # sorting is stable: within each half the precedence stays
        candidates = sorted(candidates, key=lambda it: it.applying.level is not Level.CLUSTER)
    if not candidates:
        return None, Setting(name=name)
    winner, *losers = candidates
    lost = []
    for loser in losers:
        why = _why(winner.applying, loser.applying)
        ref, against = loser.applying.policy.ref, winner.applying.policy.ref
        lost.append(Lost(source=ref, path=path, value=loser.words, why=why))
        if loser.value == winner.value:
            continue
        if loser.applying.level is winner.applying.level:
            message = f"{against} says otherwise ({winner.words}) and decides, since {why}"
            findings.error(ref, path, Reason.CONFLICTED, message, about=about)
        elif cluster_first and winner.applying.level is Level.CLUSTER:
            message = f"{against} says otherwise ({winner.words}) and decides, since {why}"
            findings.warning(ref, path, Reason.OVERRIDDEN, message, about=about)
    setting = Setting(
        name=name, value=winner.words, source=winner.applying.policy.ref, path=path, lost=tuple(lost)
    )
    return winner, setting


def _rank(applying: Applying) -> tuple[int, str, str, str]:
    ref = applying.policy.ref
    return (-applying.level, applying.policy.created, ref.namespace, ref.name)


def _why(winner: Applying, loser: Applying) -> str:
    if winner.level is not loser.level:
        if winner.level is Level.CLUSTER:
            return "what the platform says here is not overridable"
        return f"it is attached to {winner.level.words}, this one to {loser.level.words}"
    if winner.policy.created != loser.policy.created:
        return "it is older"
    return "its namespace and name sort first"
