"""Files that are written from code: telling whether a folder has them, writing them, and the command line for both."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """What in a folder is not as it would be written, in words.

    Args:
        folder: has these YAML files and no others.
        files: path below `folder` to content.
    """
    found = [f"{name} is made from nothing" for name in _present(folder) if name not in files]
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != content:
            found.append(f"{name} differs")
    return found


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files and remove those that nothing makes any more."""
    for name in _present(folder):
        if name not in files:
            (folder / name).unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def run(arguments: Sequence[str], files: Mapping[str, str], *, description: str, command: str) -> int:
    """Run the command line `[--check] DIR`; the result is the exit code: 1 when `--check` found a difference.

    Args:
        arguments: without the program's name.
        files: path below DIR to content.
        description: what is written from what.
        command: what a person runs to write them.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file would change")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the files are")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.folder, files)
        return 0
    found = differences(options.folder, files)
    for line in found:
        sys.stderr.write(f"{options.folder}: {line}; run `{command}`\n")
    return 1 if found else 0


def _present(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))
