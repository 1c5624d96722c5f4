"""The command line: `build` the programs, start a control plane (`up`), end one left behind (`down`)."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tidegate_cluster.builder import provide
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.errors import ClusterError
from tidegate_cluster.person import Extent, end_leftovers, keep_up
from tidegate_cluster.programs import CONTROL_PLANE_PROGRAMS, PROGRAMS
from tidegate_cluster.settings import settings_from_environment

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure that was told, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that `build` ends its compiler then, too
    try:
        settings = settings_from_environment()
        match options.command:
            case "build":
                names = PROGRAMS if options.all else options.names or CONTROL_PLANE_PROGRAMS
                for name, path in provide(names, settings, _report).items():
                    _print(f"{name}: {path}")
            case "up":
                keep_up(options.extent, settings, _report, _show)
            case "down":
                end_leftovers(settings, _report)
    except ClusterError as error:
        _report(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _report("Interrupted")
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tidegate_cluster", description="A Kubernetes API for tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser(
        "build", help="build programs that are not in the cache, and print their paths"
    )
    build.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(PROGRAMS)}; default: {', '.join(CONTROL_PLANE_PROGRAMS)}",
    )
    build.add_argument("--all", action="store_true", help="all of them, those of a node with pods included")
    up = commands.add_parser("up", help="start a control plane and stay until Ctrl-C or SIGTERM")
    up.add_argument(
        "--api-server-only",
        dest="extent",
        action="store_const",
        const=Extent.API_SERVER,
        default=Extent.WITH_CONTROLLERS,
        help="without kube-controller-manager: Deployments make no pods, deleted namespaces stay",
    )
    commands.add_parser("down", help="end the control plane that `up` runs, or that a killed run left behind")
    return parser


def _show(control_plane: ControlPlane, kubectl: Path) -> None:
    _print(f"export KUBECONFIG={control_plane.kubeconfig}")
    _print(f"kubectl: {kubectl}")
    _print(f"logs: {control_plane.folder}")
    _print("Ready. Ctrl-C ends it.")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command line prints


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command line prints


if __name__ == "__main__":
    sys.exit(main())
