"""The models that pools have, by name, as far as policies speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from tidegate_policy.patterns import matches, matches_any
from tidegate_policy.provider_types import PROVIDER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate_policy.model import Dialect, ModelAllowList, ObjectRef, Pool

_SHOWN: Final = 20
"""Model names in a message; more would hide the sentence."""


class Match(IntEnum):
    """What a pattern matches; the best of several counts."""

    NOTHING = 0
    ALIAS = 1
    NAME = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolModels:
    """The models of one pool.

    Attributes:
        names: the models' own names.
        aliases: alias to the model's own name.
        served: names and aliases that may be asked for, by the dialects that the pool's providers speak.
        open_to: dialects in which a provider serves whatever is asked for.
    """

    names: frozenset[str]
    aliases: Mapping[str, str]
    served: Mapping[Dialect, frozenset[str]]
    open_to: frozenset[Dialect]


class Matched(NamedTuple):
    """What a pattern matches; where that is an alias alone, also which models' own names it stands for."""

    match: Match
    owners: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    """The models of several pools together; `is_open` when a provider serves whatever is asked for."""

    names: frozenset[str]
    aliases: Mapping[str, str]
    is_open: bool

    @property
    def comparisons(self) -> int:
        """What matching one pattern may cost."""
        return 0 if self.is_open else len(self.names) + len(self.aliases)

    def match(self, pattern: str) -> Matched:
        """What a pattern matches."""
        if self.is_open or any(matches(pattern, name) for name in self.names):
            return Matched(Match.NAME)
        owners = sorted({name for alias, name in self.aliases.items() if matches(pattern, alias)})
        return Matched(Match.ALIAS, listed(owners)) if owners else Matched(Match.NOTHING)

    def allowed_by(self, rule: ModelAllowList) -> frozenset[str]:
        """The names that an allow-list lets through."""
        return frozenset(name for name in self.names if matches_any(rule.patterns, name))


def models_of(pool: Pool) -> PoolModels:
    """The models of a pool."""
    names: set[str] = set()
    aliases: dict[str, str] = {}
    served: dict[Dialect, set[str]] = {}
    open_to: set[Dialect] = set()
    for provider in pool.providers:
        dialect = PROVIDER_TYPES[provider.type].dialect
        if not provider.models:
            open_to.add(dialect)
        own = {model.name for model in provider.models}
        others = {alias: model.name for model in provider.models for alias in model.aliases}
        names |= own
        aliases |= others
        served.setdefault(dialect, set()).update(own, others)
    return PoolModels(
        names=frozenset(names),
        aliases=aliases,
        served={dialect: frozenset(found) for dialect, found in served.items()},
        open_to=frozenset(open_to),
    )


def names_of(pools: Sequence[PoolModels]) -> ModelNames:
    """The models of several pools together."""
    return ModelNames(
        names=frozenset().union(*(pool.names for pool in pools)),
        aliases={alias: name for pool in pools for alias, name in pool.aliases.items()},
        is_open=any(pool.open_to for pool in pools),
    )


def left_without(pools: Sequence[tuple[ObjectRef, PoolModels]]) -> Iterator[tuple[ObjectRef, str]]:
    """The pools, in the order of a policy, that those before them leave less than they have; and what it is."""
    first: dict[Dialect, dict[str, ObjectRef]] = {}
    open_to: dict[Dialect, ObjectRef] = {}
    for ref, models in pools:
        taken: dict[ObjectRef, set[str]] = {}
        for dialect, served in sorted(models.served.items()):
            if dialect in open_to:
                message = (
                    f"{open_to[dialect]} stands before {ref} and serves any model of the {dialect} "
                    "dialect, since one of its providers lists none: this pool serves none of them"
                )
                yield ref, message
                continue
            owners = first.setdefault(dialect, {})
            for name in served & owners.keys():
                taken.setdefault(owners[name], set()).add(name)
            first[dialect] = dict.fromkeys(served, ref) | owners
        for winner, names in sorted(taken.items()):
            both = listed(sorted(names))
            yield ref, f"{winner} stands before {ref} and serves what both have: {both}"
        open_to = dict.fromkeys(models.open_to, ref) | open_to


def listed(names: list[str]) -> str:
    """Names in a sentence, not more than one can read."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "none"
