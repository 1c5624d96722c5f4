"""Writes what the chart takes from code: ``python -m tidegate_operator.chart [--check] charts/tidegate/files``.

The definitions of our kinds, the rights of our accounts and the webhook configuration have one source each, here in the
operator. The chart's templates add what only a release knows: its namespace, its labels, an injector's URL. With
``--check`` nothing is written; the exit code is 1 when a file differs or is not ours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tidegate_operator.api.generate import crd_files
from tidegate_operator.api.yamltext import to_yaml
from tidegate_operator.cluster import rights
from tidegate_operator.inject.configuration import Service, webhook_configuration

NAMESPACE: Final = rights.NAMESPACE
"""Stands in the files where the release's namespace comes to stand; no name of ours contains it."""

HEADER: Final = "# Made by `make chart`; changes belong to {}.\n"


def chart_files() -> Mapping[str, str]:
    """Path below the chart's folder `files` to content."""
    webhook = webhook_configuration(Service(namespace=NAMESPACE), excluded=[NAMESPACE])
    return {
        **{f"crds/{name}": content for name, content in crd_files().items()},
        **{f"rbac/{name}": content for name, content in rights.files(NAMESPACE).items()},
        "webhook.yaml": HEADER.format("operator/tidegate_operator/inject/configuration.py")
        + to_yaml(webhook),
    }


def differences(folder: Path) -> list[str]:
    """What in a folder is not as it would be written, in words."""
    files = chart_files()
    found = [f"{name} is made from nothing" for name in _present(folder) if name not in files]
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != content:
            found.append(f"{name} differs")
    return found


def write(folder: Path) -> None:
    """Write all files and remove those that nothing makes any more."""
    files = chart_files()
    for name in _present(folder):
        if name not in files:
            (folder / name).unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _present(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the result is the exit code."""
    parser = argparse.ArgumentParser(
        prog="chart", description="Write the files that the chart takes from code."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file would change")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the chart's folder `files`")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.folder)
        return 0
    found = differences(options.folder)
    for line in found:
        sys.stderr.write(f"{options.folder}: {line}; run `make chart`\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
