"""What is valid and yet probably not as meant: patterns that match no model, pools that never get their turn.

A typing error in an allow-list or in a limit's models is noticed by nobody until a call is refused, or a limit never
counts. A pattern is told only when it matches nothing in any class of workloads, since a platform's list may speak of
pools that only some of them use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.lookup import pool_references
from tidegate_operator.compile.models import Match, left_without, listed, names_of
from tidegate_policy.model import Mode
from tidegate_policy.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.merge import Merged
    from tidegate_operator.compile.models import ModelNames
    from tidegate_operator.compile.precedence import Applying
    from tidegate_policy.model import CompiledConfig, ModelAllowList, ObjectRef

PoolKey = tuple["ObjectRef", ...]
PatternKey = tuple["ObjectRef", "FieldPath", str]
"""A pattern, and where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What there is to say about one class of workloads.

    Attributes:
        matches: what each pattern of its policies matches, and among which models.
        doubtful: the patterns that match no model's own name.
        findings: what can be said without the other classes.
    """

    matches: Mapping[PatternKey, tuple[Match, ModelNames]]
    doubtful: tuple[PatternKey, ...]
    findings: Findings


class ModelChecks:
    """Looks at one class of workloads after another; `report_patterns` says what matched in none of them."""

    def __init__(self) -> None:
        # What depends on pools, patterns and lists alone is worked out once, however many classes have them.
        self._names: dict[PoolKey, ModelNames] = {}
        self._matches: dict[tuple[PoolKey, str], Match] = {}
        self._allowed: dict[tuple[PoolKey, tuple[str, ...]], frozenset[str]] = {}
        self._left_without: dict[PoolKey, tuple[tuple[ObjectRef, str], ...]] = {}

    def look_at(self, merged: Merged, applying: Sequence[Applying], about: tuple[str, ...]) -> Checked:
        """Check one class; `about` names the workloads."""
        findings = Findings()
        deciding = next((it for it in applying if it.policy.ref == merged.pools_from), None)
        if deciding is None or not deciding.usable.pools:
            return Checked(matches={}, doubtful=(), findings=findings)
        models = [(it.pool.source, it.models) for it in deciding.usable.pools]
        pools = tuple(ref for ref, _ in models)
        if pools not in self._names:
            self._names[pools] = names_of([it for _, it in models])
            self._left_without[pools] = tuple(left_without(models))
        self._check_lists(merged.config, pools, about, findings)
        self._check_order(deciding.policy, pools, findings)
        found = self._patterns(applying, pools)
        doubtful = tuple(key for key, (match, _) in found.items() if match is not Match.NAME)
        return Checked(matches=found, doubtful=doubtful, findings=findings)

    def _patterns(
        self, applying: Iterable[Applying], pools: PoolKey
    ) -> Mapping[PatternKey, tuple[Match, ModelNames]]:
        names = self._names[pools]
        found = {}
        for it in applying:
            for path, pattern in _patterns_of(it.policy):
                if (pools, pattern) not in self._matches:
                    self._matches[pools, pattern] = names.match(pattern)
                found[it.policy.ref, path, pattern] = (self._matches[pools, pattern], names)
        return found

    def _check_lists(
        self, config: CompiledConfig, pools: PoolKey, about: tuple[str, ...], findings: Findings
    ) -> None:
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
            findings.warning(rule.source, path, Reason.NOT_ENFORCED, message, about=about)

    def _allowed_by(self, rule: ModelAllowList, pools: PoolKey) -> frozenset[str]:
        key = (pools, rule.patterns)
        if key not in self._allowed:
            self._allowed[key] = self._names[pools].allowed_by(rule)
        return self._allowed[key]

    def _check_order(self, policy: Policy, pools: PoolKey, findings: Findings) -> None:
        # of a pool that is named twice the first place counts
        positions = {ref: index for index, ref in reversed([*enumerate(pool_references(policy))])}
        for ref, message in self._left_without[pools]:
            path = ("spec", "providerPools", positions[ref])
            findings.warning(policy.ref, path, Reason.OVERRIDDEN, message)


def report_patterns(classes: Collection[Checked], findings: Findings) -> None:
    """Say which patterns matched no model, or only an alias, in every class."""
    doubtful = {key for checked in classes for key in checked.doubtful}
    best: dict[PatternKey, tuple[Match, ModelNames]] = {}
    for checked in classes if doubtful else ():
        for key in checked.matches.keys() & doubtful:
            found, known = checked.matches[key], best.get(key)
            if known is None or found[0] > known[0]:
                best[key] = found
    for (ref, path, pattern), (match, names) in best.items():
        if match is Match.NOTHING:
            there = listed(sorted(names.names))
            message = f"{pattern!r} matches no model of the pools in use; they have {there}"
            findings.warning(ref, path, Reason.NOT_ENFORCED, message)
        elif match is Match.ALIAS:
            owners = sorted({name for alias, name in names.aliases.items() if matches(pattern, alias)})
            message = f"{pattern!r} matches an alias alone; rules see a model's own name: {listed(owners)}"
            findings.warning(ref, path, Reason.NOT_ENFORCED, message)


def _patterns_of(policy: Policy) -> Iterator[tuple[FieldPath, str]]:
    if policy.spec is None:
        return
    for index, pattern in enumerate(policy.spec.allow_models or ()):
        yield ("spec", "allowModels", index), pattern
    for position, limit in enumerate(policy.spec.rate_limits):
        for index, pattern in enumerate(limit.models):
            yield ("spec", "rateLimits", position, "models", index), pattern
