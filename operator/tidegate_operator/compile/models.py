"""The models that pools have, by name, as far as policies speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate_policy.model import Dialect, ModelAllowList, Pool


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
        served: names and aliases with the dialect that they are asked for in.
        dialects: those that the pool's providers speak.
        open_to: dialects in which a provider serves whatever is asked for.
    """

    names: frozenset[str]
    aliases: Mapping[str, str]
    served: frozenset[tuple[Dialect, str]]
    dialects: frozenset[Dialect]
    open_to: frozenset[Dialect]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    """The models of several pools together; `is_open` when a provider serves whatever is asked for."""

    names: frozenset[str]
    aliases: Mapping[str, str]
    is_open: bool

    def match(self, pattern: str) -> Match:
        """What a pattern matches."""
        if self.is_open or any(matches(pattern, name) for name in self.names):
            return Match.NAME
        return Match.ALIAS if any(matches(pattern, alias) for alias in self.aliases) else Match.NOTHING

    def allowed_by(self, rule: ModelAllowList) -> frozenset[str]:
        """The names that an allow-list lets through."""
        return frozenset(
            name for name in self.names if any(matches(pattern, name) for pattern in rule.patterns)
        )


def models_of(pool: Pool) -> PoolModels:
    """The models of a pool."""
    models = [model for provider in pool.providers for model in provider.models]
    return PoolModels(
        names=frozenset(model.name for model in models),
        aliases={alias: model.name for model in models for alias in model.aliases},
        served=frozenset(
            (provider.type.dialect, name)
            for provider in pool.providers
            for model in provider.models
            for name in (model.name, *model.aliases)
        ),
        dialects=frozenset(provider.type.dialect for provider in pool.providers),
        open_to=frozenset(provider.type.dialect for provider in pool.providers if not provider.models),
    )


def names_of(pools: Sequence[PoolModels]) -> ModelNames:
    """The models of several pools together."""
    return ModelNames(
        names=frozenset().union(*(pool.names for pool in pools)),
        aliases={alias: name for pool in pools for alias, name in pool.aliases.items()},
        is_open=any(pool.open_to for pool in pools),
    )


def matches(pattern: str, model: str) -> bool:
    """Whether a model name matches a pattern, in which `*` alone is special."""
    if "*" not in pattern:
        return pattern == model
    return fnmatchcase(model, pattern.replace("[", "[[]").replace("?", "[?]"))
