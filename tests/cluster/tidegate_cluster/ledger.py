"""A record on disk of the processes that a control plane consists of, for ending what a killed owner left behind."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from tidegate_cluster.errors import ClusterError
from tidegate_cluster.proc import ProcessMark, mark_process


class Purpose(StrEnum):
    """Whom a control plane is for."""

    UP = "up"
    """A person: at most one at a time."""

    TESTS = "tests"
    """A test run: any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One control plane, as its owner wrote it down."""

    path: Path
    """The file that holds it."""
    purpose: Purpose
    owner: ProcessMark
    folder: Path
    """Where its certificates, data and logs are."""
    processes: tuple[ProcessMark, ...]
    """In the order of their start."""


class Ledger:
    """The owner's side: writes one entry, and rewrites it with every start and stop."""

    def __init__(self, cache: Path, purpose: Purpose) -> None:
        owner = mark_process("owner", os.getpid())
        if owner is None:
            raise ClusterError("This needs Linux: /proc tells nothing about this process")
        self._owner = owner
        self._purpose = purpose
        self._path = _folder(cache) / f"{purpose}-{os.getpid()}-{uuid4().hex[:8]}.json"

    def record(self, folder: Path, processes: Sequence[ProcessMark]) -> None:
        """Replace the entry; without processes, remove it."""
        if not processes:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "purpose": self._purpose,
            "owner": asdict(self._owner),
            "folder": str(folder),
            "processes": [asdict(process) for process in processes],
        }
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
        partial.replace(self._path)


def read_entries(cache: Path) -> list[Entry]:
    """Read what all owners of this user wrote down, living or not.

    Raises:
        ClusterError: a file is not as `Ledger` writes it.
    """
    entries = []
    for path in sorted(_folder(cache).glob("*.json")):
        with suppress(FileNotFoundError):  # its owner ended meanwhile
            entries.append(_parse(path))
    return entries


def _parse(path: Path) -> Entry:
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        return Entry(
            path=path,
            purpose=Purpose(content["purpose"]),
            owner=ProcessMark(**content["owner"]),
            folder=Path(content["folder"]),
            processes=tuple(ProcessMark(**process) for process in content["processes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"The record {path} cannot be read ({error!r}). End its processes by hand, if any, and remove it."
        ) from error


def _folder(cache: Path) -> Path:
    return cache / "running"
