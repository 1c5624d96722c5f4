"""What images are built from, as one number: equal numbers make equal images."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

_WHEELS = "build"
"""Follows from the lock files, which are hashed with the rest."""


def context_digest(root: Path) -> str:
    """Hash all that `.dockerignore` lets through to a build, names and modes included; in hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(_files(root)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_mode:o}\0{content}\n".encode())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line.startswith("!") or line[1:].partition("/")[0] == _WHEELS:
            continue
        path = root / line[1:]
        found = path.rglob("*") if path.is_dir() else [path]
        yield from (it for it in found if it.is_file() and "__pycache__" not in it.parts)
