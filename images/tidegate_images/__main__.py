"""The command line: `build` images, write their `locks`, bring them to `kind`, print `names` and tags."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tidegate_images.building import build_images, version
from tidegate_images.catalogue import IMAGES, ROOT
from tidegate_images.errors import ImageError
from tidegate_images.kind import kind_up
from tidegate_images.locks import write_locks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure that was told, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "build":
                images = [it for it in IMAGES if not options.names or it.name in options.names]
                build_images(images, options.output.resolve(), _cache(), _print)
            case "locks":
                write_locks(upgrade=options.upgrade, report=_print)
            case "kind":
                kind_up(ROOT / "build" / "kind.kubeconfig", _print)
            case "names":
                for image in IMAGES:
                    _print(f"{image.repository}:{version()}")
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tidegate_images", description="Tidegate's images.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser(
        "build", help="build images as OCI archives and print their sizes; needs root"
    )
    names = [image.name for image in IMAGES]
    build.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; default: all")
    build.add_argument("--output", type=Path, default=ROOT / "build" / "images", help="default: build/images")
    locks = commands.add_parser("locks", help="write the lock files from pyproject.toml")
    locks.add_argument(
        "--upgrade", action="store_true", help="newest versions instead of those that still fit"
    )
    commands.add_parser("kind", help="build with Docker, make a kind cluster and load the images")
    commands.add_parser("names", help="print what the images are called")
    return parser


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or "")  # noqa: TID251 - the one place that reads it
    return (home if home.is_absolute() else Path.home() / ".cache") / "tidegate" / "images"


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
