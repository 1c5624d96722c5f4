"""What is valid and yet probably not as meant: patterns that match no model, pools that never get their turn.

A typing error in an allow-list or in a limit's models is noticed by nobody until a call is refused, or a limit never
counts. A pattern is told only when it matches nothing in any class of workloads, since a platform's list may speak of
pools that only some of them use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.lookup import pool_references
from tidegate_operator.compile.models import Match, matches, models_of, names_of
from tidegate_policy.model import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.findings import Findings
    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.models import ModelNames, PoolModels
    from tidegate_policy.model import CompiledConfig, Dialect, ModelAllowList, ObjectRef, Pool

PoolKey = tuple["ObjectRef", ...]

_SHOWN: Final = 20
"""Model names in a message; more would hide the sentence."""


class ModelChecks:
    """Looks at one class of workloads after another, and says at the end what matched nowhere."""

    def __init__(self, policies: Mapping[ObjectRef, Policy], findings: Findings) -> None:
        self._policies = policies
        self._findings = findings
        # What depends on pools, patterns and lists alone is worked out once, however many classes have them.
        self._models: dict[ObjectRef, PoolModels] = {}
        self._names: dict[PoolKey, ModelNames] = {}
        self._matches: dict[tuple[PoolKey, str], Match] = {}
        self._allowed: dict[tuple[PoolKey, tuple[str, ...]], frozenset[str]] = {}
        self._in_order: set[tuple[ObjectRef, PoolKey]] = set()
        self._best: dict[tuple[ObjectRef, FieldPath, str], tuple[Match, ModelNames]] = {}

    def look_at(self, config: CompiledConfig, pools_from: ObjectRef | None, about: tuple[str, ...]) -> None:
        """Take in one class; `pools_from` is the policy whose pools it uses, `about` names the workloads."""
        if pools_from is None or not config.pools:
            return
        pools = tuple(pool.source for pool in config.pools)
        if pools not in self._names:
            self._names[pools] = names_of([self._models_of(pool) for pool in config.pools])
        for ref in config.sources:
            self._take_in_patterns(ref, pools)
        self._check_lists(config, pools, about)
        if (pools_from, pools) not in self._in_order:
            self._in_order.add((pools_from, pools))
            self._check_order(config.pools, self._policies[pools_from])

    def report(self) -> None:
        """Say which patterns matched no model, or only an alias, in every class."""
        for (ref, path, pattern), (match, names) in self._best.items():
            if match is Match.NOTHING:
                there = _listed(sorted(names.names))
                message = f"{pattern!r} matches no model of the pools in use; they have {there}"
                self._findings.warning(ref, path, Reason.NOT_ENFORCED, message)
            elif match is Match.ALIAS:
                owners = sorted({name for alias, name in names.aliases.items() if matches(pattern, alias)})
                message = (
                    f"{pattern!r} matches an alias alone; rules see a model's own name: {_listed(owners)}"
                )
                self._findings.warning(ref, path, Reason.NOT_ENFORCED, message)

    def _models_of(self, pool: Pool) -> PoolModels:
        if pool.source not in self._models:
            self._models[pool.source] = models_of(pool)
        return self._models[pool.source]

    def _take_in_patterns(self, ref: ObjectRef, pools: PoolKey) -> None:
        names = self._names[pools]
        for path, pattern in _patterns_of(self._policies[ref]):
            if (pools, pattern) not in self._matches:
                self._matches[pools, pattern] = names.match(pattern)
            match = self._matches[pools, pattern]
            best = self._best.get((ref, path, pattern))
            if best is None or match > best[0]:
                self._best[ref, path, pattern] = (match, names)

    def _check_lists(self, config: CompiledConfig, pools: PoolKey, about: tuple[str, ...]) -> None:
        """Two lists that are sensible each by itself can leave nothing together."""
        lists = [rule for rule in config.allow_models if rule.mode is Mode.ENFORCE]
        if self._names[pools].is_open:
            return
        allowed = [self._allowed_by(rule, pools) for rule in lists]
        # a list that allows nothing by itself is told by its patterns
        if not lists or not all(allowed) or frozenset.intersection(*allowed):
            return
        for rule in lists:
            others = ", ".join(str(other.source) for other in lists if other is not rule)
            message = f"together with {others} no model of the pools is allowed: every call is refused"
            path = ("spec", "allowModels")
            self._findings.warning(rule.source, path, Reason.NOT_ENFORCED, message, about=about)

    def _allowed_by(self, rule: ModelAllowList, pools: PoolKey) -> frozenset[str]:
        key = (pools, rule.patterns)
        if key not in self._allowed:
            self._allowed[key] = self._names[pools].allowed_by(rule)
        return self._allowed[key]

    def _check_order(self, pools: tuple[Pool, ...], policy: Policy) -> None:
        """The first pool that has a model serves it; one that takes any model leaves none to those after it."""
        positions = {ref: index for index, ref in reversed([*enumerate(pool_references(policy))])}
        first: dict[tuple[Dialect, str], ObjectRef] = {}
        open_to: dict[Dialect, ObjectRef] = {}
        for pool in pools:
            models = self._models_of(pool)
            path = ("spec", "providerPools", positions[pool.source])
            for dialect in sorted(models.dialects & open_to.keys()):
                message = (
                    f"{open_to[dialect]} stands before {pool.source} and serves any model of the {dialect} "
                    "dialect, since one of its providers lists none: this pool serves none of them"
                )
                self._findings.warning(policy.ref, path, Reason.OVERRIDDEN, message)
            taken: dict[ObjectRef, set[str]] = {}
            for served in models.served & first.keys():
                if served[0] not in open_to:
                    taken.setdefault(first[served], set()).add(served[1])
            for winner, names in sorted(taken.items()):
                both = _listed(sorted(names))
                message = f"{winner} stands before {pool.source} and serves what both have: {both}"
                self._findings.warning(policy.ref, path, Reason.OVERRIDDEN, message)
            first = dict.fromkeys(models.served, pool.source) | first
            open_to = dict.fromkeys(models.open_to, pool.source) | open_to


def _patterns_of(policy: Policy) -> Iterator[tuple[FieldPath, str]]:
    if policy.spec is None:
        return
    for index, pattern in enumerate(policy.spec.allow_models or ()):
        yield ("spec", "allowModels", index), pattern
    for position, limit in enumerate(policy.spec.rate_limits):
        for index, pattern in enumerate(limit.models):
            yield ("spec", "rateLimits", position, "models", index), pattern


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "none"
