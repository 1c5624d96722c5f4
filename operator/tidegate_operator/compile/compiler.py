"""The compiler: a snapshot to a configuration for each class of workloads, in passes.

    look up   objects by name; those that are not in force
    resolve   pools and their credentials
    attach    the policies that apply to each workload, which makes the classes
    merge     the policies of each class, by precedence
    check     what is valid and yet not as meant

No pass depends on the order of the objects, reads a clock or stops at the first problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate_operator.compile.attach import Attachments, report_targets
from tidegate_operator.compile.checks import ModelChecks
from tidegate_operator.compile.compilation import ClassKey, Compilation, Level, config_for, explain
from tidegate_operator.compile.findings import Findings
from tidegate_operator.compile.implied import implied_workloads
from tidegate_operator.compile.lookup import look_up
from tidegate_operator.compile.merge import Merger
from tidegate_operator.compile.pools import resolve_pools
from tidegate_operator.compile.precedence import Applying, by_precedence
from tidegate_operator.compile.resolve import PoolReferences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.compile.lookup import Lookup
    from tidegate_operator.compile.merge import Merged
    from tidegate_operator.index.snapshot import Snapshot, Workload

__all__ = ["compile_snapshot", "config_for", "explain", "implied_workloads"]


def compile_snapshot(snapshot: Snapshot) -> Compilation:
    """Compile all objects; what is wrong with them is in the diagnostics, never raised."""
    findings = Findings()
    lookup = look_up(snapshot, findings)
    references = PoolReferences(lookup, resolve_pools(lookup, findings))
    workloads = _classify(lookup, Attachments(lookup), references)
    members: dict[ClassKey, list[Workload]] = {}
    for workload, key in workloads.items():
        members.setdefault(key, []).append(workload)
    merged = {key: _merge(key, found, lookup, references, findings) for key, found in sorted(members.items())}
    report_targets(lookup, findings)
    for policy in lookup.policies.values():
        references.report(policy, policy.ref.namespace, findings)
    checks = ModelChecks(lookup.policies, findings)
    for key, result in merged.items():
        checks.look_at(result.config, result.pools_from, _names(members[key]))
    checks.report()
    return Compilation(
        configs={key: result.config for key, result in merged.items()},
        workloads=workloads,
        diagnostics=findings.diagnostics(),
        settings={key: result.settings for key, result in merged.items()},
    )


def _classify(
    lookup: Lookup, attachments: Attachments, references: PoolReferences
) -> Mapping[Workload, ClassKey]:
    """The class of each workload."""
    classes = {}
    for namespace, workloads in sorted(lookup.workloads.items()):
        for workload in workloads:
            levels = attachments.of(workload)
            # policies of a namespace tell which one it is; those of the cluster do not
            depends = all(level is Level.CLUSTER for level in levels.values()) and any(
                references.depend_on_namespace(lookup.policies[ref]) for ref in levels
            )
            classes[workload] = ClassKey(
                policies=tuple(levels), levels=tuple(levels.values()), namespace=namespace if depends else ""
            )
    return classes


def _merge(
    key: ClassKey,
    members: list[Workload],
    lookup: Lookup,
    references: PoolReferences,
    findings: Findings,
) -> Merged:
    applying = by_precedence(
        Applying(policy=lookup.policies[ref], level=level)
        for ref, level in zip(key.policies, key.levels, strict=True)
    )
    merger = Merger(
        applying=applying,
        namespace=members[0].namespace,
        about=_names(members),
        references=references,
        findings=findings,
    )
    return merger.merge()


def _names(workloads: list[Workload]) -> tuple[str, ...]:
    return tuple(str(workload) for workload in workloads)
