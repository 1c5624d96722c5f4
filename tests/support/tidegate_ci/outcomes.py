"""What a run of pytest tells CI, as a file: which tests failed, and how many were run at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

CLUSTER_TIER: Final = "cluster_tier"
"""pytest's marker of tests of the cluster tiers. A conftest.py says which these are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A test that failed.

    Attributes:
        test: its node id.
        uses_cluster: it belongs to the cluster tiers.
        why: phase and reason, in one line.
    """

    test: str
    uses_cluster: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """A run of pytest that came to its end.

    Attributes:
        exit_status: pytest's own; make has another one.
        run: tests that were run, whatever came of it.
        run_with_cluster: those of the cluster tiers among them.
        failures: tests that failed.
        not_collected: files in which pytest could not find its tests.
    """

    exit_status: int
    run: int
    run_with_cluster: int
    failures: tuple[Failure, ...] = ()
    not_collected: tuple[str, ...] = ()


def write(outcomes: Outcomes, path: Path) -> None:
    """Make the file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(outcomes), indent=1), encoding="utf-8")


def read(path: Path) -> Outcomes | None:
    """The file's content; None without a file: pytest was not begun or did not come to its end."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    failures = tuple(Failure(**failure) for failure in document.pop("failures"))
    return Outcomes(failures=failures, not_collected=tuple(document.pop("not_collected")), **document)
