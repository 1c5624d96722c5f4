"""Findings: diagnostics as they come up, each kept once, with the workloads that it came up for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate_operator.compile.diagnostics import Diagnostic, FieldPath, Reason, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate_policy.model import ObjectRef


@dataclass(slots=True, repr=False)
class Findings:
    """Collects during one pass; the same finding about several classes of workloads becomes one diagnostic."""

    _workloads: dict[Diagnostic, set[str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Findings({len(self._workloads)})"

    def error(
        self, source: ObjectRef, path: FieldPath, reason: Reason, message: str, *, about: Iterable[str] = ()
    ) -> None:
        """A part of the object does not take effect; `about` names the workloads, where it depends on them."""
        found = Diagnostic(source=source, path=path, severity=Severity.ERROR, reason=reason, message=message)
        self._workloads.setdefault(found, set()).update(about)

    def warning(
        self, source: ObjectRef, path: FieldPath, reason: Reason, message: str, *, about: Iterable[str] = ()
    ) -> None:
        """The object takes effect, but perhaps not as meant."""
        found = Diagnostic(
            source=source, path=path, severity=Severity.WARNING, reason=reason, message=message
        )
        self._workloads.setdefault(found, set()).update(about)

    def take_in(self, others: Findings) -> None:
        """Add what came up elsewhere; `others` stays as it is."""
        for found, workloads in others._workloads.items():
            self._workloads.setdefault(found, set()).update(workloads)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All of them, by object, field and message."""
        found = [_about(diagnostic, workloads) for diagnostic, workloads in self._workloads.items()]
        return tuple(sorted(found, key=_order))


def _about(found: Diagnostic, workloads: set[str]) -> Diagnostic:
    """The finding with the workloads that it is about in its message."""
    if not workloads:
        return found
    more = f" and {len(workloads) - 1} more" if len(workloads) > 1 else ""
    return Diagnostic(
        source=found.source,
        path=found.path,
        severity=found.severity,
        reason=found.reason,
        message=f"{found.message} (for {min(workloads)}{more})",
    )


def _order(diagnostic: Diagnostic) -> tuple[object, ...]:
    source = diagnostic.source
    # Positions before names, so that a path through a list and one through a map compare.
    path = tuple((0, part, "") if isinstance(part, int) else (1, 0, part) for part in diagnostic.path)
    # Plain words: there can be thousands, and comparing references costs more than all the rest.
    return (
        source.kind,
        source.namespace,
        source.name,
        path,
        diagnostic.severity,
        diagnostic.reason,
        diagnostic.message,
    )
