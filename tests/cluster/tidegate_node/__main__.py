"""The command line: start a node (`up`), end one that runs or was left behind (`down`)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tidegate_cluster.errors import ClusterError
from tidegate_cluster.settings import settings_from_environment

from tidegate_node.node import Node
from tidegate_node.person import end_all, keep_up

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure that was told, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        settings = settings_from_environment()
        match options.command:
            case "up":
                keep_up(options.archives, settings, _report, _show)
            case "down":
                end_all(settings, _report)
    except ClusterError as error:
        _report(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _report("Interrupted")
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tidegate_node",
        description="A Kubernetes of one node, with real pods and without Docker.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a node and stay until Ctrl-C or SIGTERM; needs root")
    up.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE", help="images for the node: *.tar")
    commands.add_parser("down", help="end the node that `up` runs, or that a killed run left behind")
    return parser


def _show(node: Node, kubectl: Path) -> None:
    _print(f"export KUBECONFIG={node.kubeconfig}")
    _print(f"kubectl: {kubectl}")
    _print(f"logs: {node.folder}")
    _print("Ready. Ctrl-C ends it.")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command line prints


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command line prints


if __name__ == "__main__":
    sys.exit(main())
