"""The compiler: a snapshot to a configuration for each class of workloads, in passes.

    look up   objects by name; those that are not in force
    resolve   pools and their credentials
    attach    the policies that apply to each workload, which makes the classes
    merge     the policies of each class, by precedence
    check     what is valid and yet not as meant: advice, for which configurations do not wait

No pass depends on the order of the objects, reads a clock or stops at the first problem. The costly ones go pool by
pool, namespace by namespace and class by class; a `Compiler` keeps what they made of the snapshot before, so that an
edit costs what it changes. What it has kept decides how long a compile takes, and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tidegate_operator.compile.attach import Place, attach, chosen, report_choices
from tidegate_operator.compile.checks import Checked, ModelChecks, report_patterns
from tidegate_operator.compile.compilation import ClassKey, Compilation, config_for, explain
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.implied import implied_workloads
from tidegate_operator.compile.lookup import look_up
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.merge import Merged, merge
from tidegate_operator.compile.pools import resolve_pools
from tidegate_operator.compile.precedence import Applying
from tidegate_operator.compile.resolve import PoolReferences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate_operator.compile.attach import Attached
    from tidegate_operator.compile.lookup import Lookup
    from tidegate_operator.compile.pools import PoolParts, ResolvedPool
    from tidegate_operator.compile.unmatched import PassThrough
    from tidegate_operator.index.snapshot import Snapshot, Workload
    from tidegate_policy.model import CompiledConfig

__all__ = ["Compiler", "compile_snapshot", "config_for", "explain", "implied_workloads"]


def compile_snapshot(snapshot: Snapshot, unmatched: PassThrough | None = None) -> Compilation:
    """Compile all objects; what is wrong with them is in the diagnostics, never raised."""
    return Compiler(unmatched).compile(snapshot)


class _Members(NamedTuple):
    """The workloads of a class, and a namespace that stands for all of theirs."""

    namespace: str
    names: list[str]


class _Parts(NamedTuple):
    """What a class is made of: the policies that apply, and the names of its workloads."""

    applying: tuple[Applying, ...]
    about: tuple[str, ...]
    is_let_through: bool
    """No policy applies, and the platform lets such calls go out as they are."""


class _Standing(NamedTuple):
    """The last snapshot, compiled, as far as advice goes by it."""

    findings: Findings
    parts: Mapping[ClassKey, _Parts]
    merged: Mapping[ClassKey, Merged]
    workloads: Mapping[Workload, ClassKey]
    checked: dict[ClassKey, Checked]
    """Grows while advice is worked out."""


class Compiler:
    """Compiles one snapshot after another; what an edit does not touch is not worked out again.

    A configuration that comes out as it was before is the same object, so `is` tells what has changed. Between two
    compiles it holds what belongs to the last snapshot, and nothing older.
    """

    def __init__(self, unmatched: PassThrough | None = None) -> None:
        """Start from nothing; workloads under no policy are denied, or let through where the platform says so."""
        self._unmatched = unmatched
        self._pools: Memo[PoolParts, ResolvedPool] = Memo()
        self._places: Memo[Place, Attached] = Memo()
        self._classes: Memo[_Parts, Merged] = Memo()
        self._checked: Memo[_Parts, Checked] = Memo()
        self._configs: Mapping[ClassKey, CompiledConfig] = {}
        self._standing = _Standing(Findings(), {}, {}, {}, {})

    def __repr__(self) -> str:
        return f"<Compiler {len(self._pools)} pools, {len(self._places)} namespaces, {len(self._classes)} classes>"

    def compile(self, snapshot: Snapshot) -> Compilation:
        """Compile all objects, with all advice; what is wrong with them is in the diagnostics, never raised."""
        self.begin(snapshot)
        for _ in self.advise():
            pass
        return self.compilation()

    def begin(self, snapshot: Snapshot) -> Compilation:
        """Compile all objects; of advice there is what was worked out before and still holds."""
        findings = Findings()
        lookup = look_up(snapshot, findings)
        references = PoolReferences(lookup, resolve_pools(lookup, self._pools, findings))
        workloads, members = self._attach(lookup, references, findings)
        parts = self._parts(references, members)
        merged = {key: self._classes.of(key, it, self._merged) for key, it in parts.items()}
        for standing in references.standing.values():
            standing.usable.report(standing.policy, findings)
        report_choices(lookup, findings)
        for it in merged.values():
            findings.take_in(it.findings)
        self._configs = {key: _unchanged(self._configs.get(key), it.config) for key, it in merged.items()}
        checked = {}
        for key, own in parts.items():
            if (known := self._checked.known(key, own)) is not None:
                checked[key] = known
        for memo in (self._pools, self._places, self._classes, self._checked):
            memo.forget()
        self._standing = _Standing(findings, parts, merged, workloads, checked)
        return self.compilation()

    def advise(self) -> Iterator[None]:
        """Work out what is valid and yet not as meant; each step is some milliseconds. Left off, it can be begun again."""
        standing, checks = self._standing, ModelChecks()
        for key, parts in standing.parts.items():
            if key in standing.checked:
                continue
            checked = yield from checks.look_at(standing.merged[key], parts.applying, parts.about)
            standing.checked[key] = checked
            self._checked.keep(key, parts, checked)
            yield

    def compilation(self) -> Compilation:
        """The last snapshot, compiled, with the advice that there is by now."""
        standing = self._standing
        findings = Findings()
        findings.take_in(standing.findings)
        unadvised = {ref for key in standing.parts.keys() - standing.checked.keys() for ref in key.policies}
        report_patterns(tuple(standing.checked.values()), findings, leave_out=unadvised)
        for checked in standing.checked.values():
            findings.take_in(checked.findings)
        return Compilation(
            configs=self._configs,
            workloads=standing.workloads,
            diagnostics=findings.diagnostics(),
            settings={key: it.settings for key, it in standing.merged.items()},
            unadvised=frozenset(unadvised),
        )

    def _attach(
        self, lookup: Lookup, references: PoolReferences, findings: Findings
    ) -> tuple[Mapping[Workload, ClassKey], Mapping[ClassKey, _Members]]:
        """The class of each workload, and the workloads of each class."""
        workloads: dict[Workload, ClassKey] = {}
        members: dict[ClassKey, _Members] = {}
        special = {ref for ref, standing in references.standing.items() if standing.varies}
        namespaces = sorted(lookup.workloads.keys() | lookup.policies_in.keys() - {""})
        for namespace, cluster in chosen(namespaces, lookup).items():
            place = Place(
                namespace=namespace,
                workloads=lookup.workloads.get(namespace, ()),
                policies=lookup.policies_in.get(namespace, ()),
                cluster=cluster,
                is_special=not special.isdisjoint(cluster) or self._is_undecided(namespace, lookup),
            )
            attached = self._places.of(namespace, place, attach)
            findings.take_in(attached.findings)
            workloads |= attached.classes
            for key, names in attached.members.items():
                members.setdefault(key, _Members(namespace, [])).names.extend(names)
        return workloads, members

    def _is_undecided(self, namespace: str, lookup: Lookup) -> bool:
        """Whether nobody can say yet that no policy applies: the namespace is not known, by whose labels one may."""
        return (
            self._unmatched is not None
            and namespace not in lookup.namespace_labels
            and bool(lookup.policies_in.get(""))
        )

    def _parts(
        self, references: PoolReferences, members: Mapping[ClassKey, _Members]
    ) -> Mapping[ClassKey, _Parts]:
        """What each class is made of."""
        found = {}
        for key, (namespace, names) in sorted(members.items(), key=_order):
            applying = []
            for ref, level in zip(key.policies, key.levels, strict=True):
                standing = references.standing[ref]
                applying.append(Applying(standing.policy, level, references.usable(standing, namespace)))
            # a class of no policies that is one namespace's own is of an undecided one
            is_let_through = self._unmatched is not None and not applying and not key.namespace
            found[key] = _Parts(tuple(applying), tuple(names), is_let_through)
        return found

    def _merged(self, parts: _Parts) -> Merged:
        merged = merge(parts.applying, parts.about)
        if parts.is_let_through and self._unmatched is not None:
            return replace(merged, config=self._unmatched.config)
        return merged


def _order(item: tuple[ClassKey, _Members]) -> tuple[object, ...]:
    """The order of the keys, in words that compare faster than references."""
    key = item[0]
    return ([(it.kind, it.namespace, it.name) for it in key.policies], key.levels, key.namespace)


def _unchanged(former: CompiledConfig | None, config: CompiledConfig) -> CompiledConfig:
    return former if former is not None and former == config else config
