"""What is valid and yet probably not as meant: patterns that match no model, pools that never get their turn.

A typing error in an allow-list or in a limit's models is noticed by nobody until a call is refused, or a limit never
counts. A pattern is told only when it matches nothing in any class of workloads, since a platform's list may speak of
pools that only some of them use.

All of it is advice: configurations do not wait for it. It is worked out in slices, and of one policy no more than a budget:
patterns times names of models can be hundreds of millions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate_operator.compile.diagnostics import Reason
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.lookup import pool_references
from tidegate_operator.compile.models import Match, left_without, listed, names_of
from tidegate_policy.model import Mode

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence

    from tidegate_operator.compile.diagnostics import FieldPath
    from tidegate_operator.compile.lookup import Policy
    from tidegate_operator.compile.merge import Merged
    from tidegate_operator.compile.models import Matched, ModelNames
    from tidegate_operator.compile.precedence import Applying
    from tidegate_policy.model import CompiledConfig, ModelAllowList, ObjectRef

SLICE_COMPARISONS: Final = 20_000
"""Of a pattern with a name, between two yields: some ten milliseconds."""

MAX_COMPARISONS: Final = 500_000
"""Of one policy and the pools that it uses; what is beyond is not checked, and that is told."""

MAX_TOLD: Final = 16
"""Patterns of one policy that are told one by one."""

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

    matches: Mapping[PatternKey, tuple[Matched, ModelNames]]
    doubtful: tuple[PatternKey, ...]
    findings: Findings


class ModelChecks:
    """Looks at one class of workloads after another; `report_patterns` says what matched in none of them."""

    def __init__(self) -> None:
        # What depends on pools, patterns and lists alone is worked out once, however many classes have them.
        self._names: dict[PoolKey, ModelNames] = {}
        self._matches: dict[tuple[PoolKey, str], Matched] = {}
        self._allowed: dict[tuple[PoolKey, tuple[str, ...]], frozenset[str]] = {}
        self._left_without: dict[PoolKey, tuple[tuple[ObjectRef, str], ...]] = {}

    def look_at(
        self, merged: Merged, applying: Sequence[Applying], about: tuple[str, ...]
    ) -> Generator[None, None, Checked]:
        """Check one class; `about` names the workloads. Each yield ends a slice of the work."""
        findings = Findings()
        deciding = next((it for it in applying if it.policy.ref == merged.pools_from), None)
        if deciding is None or not deciding.usable.pools:
            return Checked(matches={}, doubtful=(), findings=findings)
        models = [(it.pool.source, it.models) for it in deciding.usable.pools]
        pools = tuple(ref for ref, _ in models)
        if pools not in self._names:
            self._names[pools] = names_of([it for _, it in models])
            self._left_without[pools] = tuple(left_without(models))
        yield from self._check_lists(merged.config, pools, about, findings)
        self._check_order(deciding.policy, pools, findings)
        found = yield from self._patterns(applying, pools, findings)
        doubtful = tuple(key for key, (matched, _) in found.items() if matched.match is not Match.NAME)
        return Checked(matches=found, doubtful=doubtful, findings=findings)

    def _patterns(
        self, applying: Iterable[Applying], pools: PoolKey, findings: Findings
    ) -> Generator[None, None, Mapping[PatternKey, tuple[Matched, ModelNames]]]:
        names = self._names[pools]
        found = {}
        compared = 0
        for it in applying:
            budget = MAX_COMPARISONS
            for path, pattern in _patterns_of(it.policy):
                key = (pools, pattern)
                if key not in self._matches:
                    budget -= names.comparisons
                    if budget < 0:
                        message = "it has more patterns than are compared with all the models of its pools: the others are not checked"
                        findings.warning(it.policy.ref, ("spec",), Reason.NOT_ENFORCED, message)
                        break
                    self._matches[key] = names.match(pattern)
                    compared += names.comparisons
                    if compared >= SLICE_COMPARISONS:
                        compared = 0
                        yield
                found[it.policy.ref, path, pattern] = (self._matches[key], names)
        return found

    def _check_lists(
        self, config: CompiledConfig, pools: PoolKey, about: tuple[str, ...], findings: Findings
    ) -> Generator[None, None, None]:
        """Two lists that are sensible each by itself can leave nothing together."""
        lists = [rule for rule in config.allow_models if rule.mode is Mode.ENFORCE]
        if self._names[pools].is_open:
            return
        allowed = []
        for rule in lists:
            allowed.append(self._allowed_by(rule, pools))
            yield
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
            path = ("spec", "poolRefs", positions[ref])
            findings.warning(policy.ref, path, Reason.OVERRIDDEN, message)


def report_patterns(
    classes: Collection[Checked], findings: Findings, *, leave_out: Collection[ObjectRef] = ()
) -> None:
    """Say which patterns matched no model, or only an alias, in every class; of policies in `leave_out` nothing."""
    doubtful = {key for checked in classes for key in checked.doubtful}
    best: dict[PatternKey, tuple[Matched, ModelNames]] = {}
    for checked in classes if doubtful else ():
        for key in checked.matches.keys() & doubtful:
            found, known = checked.matches[key], best.get(key)
            if known is None or found[0].match > known[0].match:
                best[key] = found
    told: Counter[ObjectRef] = Counter()
    there: dict[int, str] = {}
    for (ref, path, pattern), (matched, names) in sorted(best.items(), key=_place):
        if matched.match is Match.NAME or ref in leave_out:
            continue
        told[ref] += 1
        if told[ref] > MAX_TOLD:
            continue
        if matched.match is Match.ALIAS:
            message = f"{pattern!r} matches an alias alone; rules see a model's own name: {matched.owners}"
        else:
            # sorted once: a pool can have thousands of names, and a policy thousands of patterns
            listing = there.setdefault(id(names), "") or listed(sorted(names.names))
            there[id(names)] = listing
            message = f"{pattern!r} matches no model of the pools in use; they have {listing}"
        findings.warning(ref, path, Reason.NOT_ENFORCED, message)
    for ref, count in told.items():
        if count > MAX_TOLD:
            message = (
                f"{count - MAX_TOLD} more patterns match no model of the pools in use, or an alias alone"
            )
            findings.warning(ref, ("spec",), Reason.NOT_ENFORCED, message)


def _place(item: tuple[PatternKey, object]) -> tuple[object, ...]:
    ref, path, pattern = item[0]
    return (ref.kind, ref.namespace, ref.name, [str(part).zfill(3) for part in path], pattern)


def _patterns_of(policy: Policy) -> Iterator[tuple[FieldPath, str]]:
    if policy.spec is None:
        return
    for index, pattern in enumerate(policy.spec.allow_models or ()):
        yield ("spec", "allowModels", index), pattern
    for position, limit in enumerate(policy.spec.rate_limits):
        for index, pattern in enumerate(limit.models):
            yield ("spec", "rateLimits", position, "models", index), pattern
