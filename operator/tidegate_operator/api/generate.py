"""Writes the CRDs from the API models: ``python -m tidegate_operator.api.generate [--check] DIR``.

With ``--check`` nothing is written; the exit code is 1 when a file differs from what would be written, or when one is
there that no kind accounts for.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.kinds import GROUP, KINDS
from tidegate_operator.api.yamltext import to_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER: Final = "# Made by `make crds` from operator/tidegate_operator/api; changes belong there.\n"


def crd_files() -> Mapping[str, str]:
    """File name to content."""
    return {
        f"{GROUP}_{kind.plural}.yaml": HEADER + to_yaml(custom_resource_definition(kind))
        for kind in KINDS.values()
    }


def differences(folder: Path) -> list[str]:
    """What in a folder is not as it would be written, in words."""
    files = crd_files()
    found = [f"{path.name} is of no kind" for path in sorted(folder.glob("*.yaml")) if path.name not in files]
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != content:
            found.append(f"{name} differs")
    return found


def write(folder: Path) -> None:
    """Write all files and remove those of kinds that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    files = crd_files()
    for path in folder.glob(f"{GROUP}_*.yaml"):
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="generate", description="Write the CRDs from the API models.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file would change")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the files are")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.folder)
        return 0
    found = differences(options.folder)
    for line in found:
        sys.stderr.write(f"{options.folder}: {line}; run `make crds`\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
