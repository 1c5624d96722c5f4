"""Files below the folders that a person names: which they are, what is in them, whether they have changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tidegate_cli.problems import Problem

SUFFIXES: Final = (".yaml", ".yml", ".json")

MAX_FILE_BYTES: Final = 4 * 2**20
"""Larger than any object that the API server takes (1.5 MiB), with room for several in a file."""

MAX_FILES: Final = 1_000
"""Files below all folders together: more is a wrong folder, not a policy."""

Signature = tuple[tuple[str, int, int, int], ...]
"""Path, inode, size and time of change of every file; differs when any of them may have changed."""


@dataclass(slots=True)
class Listing:
    """The files that the given paths stand for, sorted, each once."""

    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def find(paths: Sequence[Path]) -> Listing:
    """Files themselves, and in folders everything that is called like a manifest, at any depth."""
    listing = Listing()
    for path in paths:
        try:
            _add(listing, path)
        except OSError as error:
            listing.problems.append(_unreadable(path, error))
    listing.files = list(dict.fromkeys(listing.files))
    if len(listing.files) > MAX_FILES:
        message = f"more than {MAX_FILES} manifests in all; name the folder that has the policies"
        listing.problems.append(Problem(file=str(paths[0]), message=message))
        del listing.files[MAX_FILES:]
    return listing


def _add(listing: Listing, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        listing.problems.append(Problem(file=str(path), message="there is no such file or folder"))
        return
    if not stat.S_ISDIR(mode):
        listing.files.append(path)
        return
    known = len(listing.problems)
    found = sorted(_below(path, listing.problems))
    if not found and len(listing.problems) == known:
        expected = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
        listing.problems.append(Problem(file=str(path), message=f"no manifest ({expected}) in this folder"))
    listing.files += found


def read(path: Path) -> str | Problem:
    """The text of a file."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return _unreadable(path, error)
    if len(content) > MAX_FILE_BYTES:
        return Problem(file=str(path), message=f"larger than {MAX_FILE_BYTES // 2**20} MiB; split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem(file=str(path), line=line, message="not UTF-8 text; save the file in that encoding")
    # JSON may be indented with tabs, which YAML forbids; inside its strings a bare tab cannot stand.
    return text.replace("\t", " ") if path.suffix == ".json" else text


def signature(paths: Sequence[Path]) -> Signature:
    """What tells whether the files have changed, without reading them.

    Links are followed, so that a swapped link (how Kubernetes mounts a ConfigMap) shows as another inode.
    """
    found = []
    for path in find(paths).files:
        try:
            status = path.stat()
        except OSError:
            found.append((str(path), 0, 0, 0))
        else:
            found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _below(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """Manifests below `folder`. Names with a dot in front are left out: editors and mounts keep theirs there."""
    seen: set[tuple[int, int]] = set()
    count = 0

    def report(error: OSError) -> None:
        problems.append(_unreadable(Path(error.filename), error))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=report):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            # A link back to a folder above would be walked for ever.
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.endswith(SUFFIXES) and not name.startswith(".") and not _is_special(path):
                yield path
                count += 1
        if count > MAX_FILES:
            return


def _is_special(path: Path) -> bool:
    """Whether reading would wait for somebody else to write: pipes, sockets, devices. A dangling link is none."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(file=str(path), message=f"cannot be read: {error.strerror or error}")
